"""Tables that map the concepts of UMLS (CUIs) to codes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from cielo.errors import TableError
from cielo.knowledge.codes import System, canonical_code
from cielo.workbench.evaluation.corpora.lines import NOT_UTF8, in_order, read_lines, split_records, twice
from cielo.workbench.evaluation.records import Skipped

CUI = re.compile(r"C\d{7}")
_EXPECTED = (
    "two columns `cui` and `code` (and `kind`, if wanted), or columns CUI and ICD10CM…, ICD10PCS… or SAB and CODE, "
    "with tabs, commas, semicolons or `|` between them"
)
_DELIMITERS = "\t,;|"
# The vocabularies of UMLS and of ClinIDMap that hold ICD-10 codes, by the beginnings of their names.
_VOCABULARIES: dict[str, tuple[str, System]] = {
    "ICD10CM": ("diagnosis", "icd-10-cm"),
    "ICD10PCS": ("procedure", "icd-10-pcs"),
}
# As codes are written: ``A00-B99`` is a range, ``B24.`` is cut off.
_WRITTEN = re.compile(r"[^\W_]{3,7}|[^\W_]{3}\.[^\W_]{1,4}")
_BETWEEN_CODES = re.compile(r"[\s,;|]+")


@dataclass(frozen=True, slots=True)
class CodeOfCui:
    """A code that a concept is mapped to, and the code's kind; None where the table names none."""

    code: str
    kind: str | None = None


@dataclass(frozen=True, slots=True)
class CuiMap(Mapping[str, tuple[CodeOfCui, ...]]):
    """The codes of each CUI, and the lines of the table that could not be read."""

    codes: Mapping[str, tuple[CodeOfCui, ...]]
    skipped: tuple[Skipped, ...] = ()

    def __getitem__(self, cui: str) -> tuple[CodeOfCui, ...]:
        return self.codes[cui]

    def __iter__(self) -> Iterator[str]:
        return iter(self.codes)

    def __len__(self) -> int:
        return len(self.codes)


@dataclass(frozen=True, slots=True)
class _Column:
    """Where codes stand: which cell, of which kind, and the system that its codes belong to (None: any text is one)."""

    cell: int
    kind: str | None
    system: System | None = None


@dataclass(frozen=True, slots=True)
class _Layout:
    """Where a table's CUIs, codes and kinds stand; `vocabulary` and `code` are the cells of SAB and CODE."""

    width: int
    cui: int
    columns: tuple[_Column, ...]
    kind: int | None = None
    vocabulary: int | None = None
    code: int | None = None


def read_cui_map(path: Path, columns: Mapping[str, str | None] | None = None) -> CuiMap:
    """Read a table that maps CUIs to codes.

    Either ``cui, code`` and, if wanted, ``kind``, with or without a header, or the layout of ClinIDMap
    (https://github.com/Vicomtech/ClinIDMap): the columns of UMLS's MRCONSO and more. There a code is the ``CODE`` of
    a row whose ``SAB`` begins with ``ICD10CM`` or ``ICD10PCS``, and any cell of a column of such a name that looks
    like a code; in published tables these columns hold Spanish titles, which are no codes and are passed over. Codes
    stay as they are written.

    Args:
        path: the table.
        columns: the columns to take codes from and the kinds of their codes, in the place of those named above.

    Raises:
        TableError: where the table cannot be read, or maps nothing.
    """
    numbered = read_lines(path)
    first = next(((number, line) for number, line in numbered if line is None or line.strip()), None)
    if first is None:
        raise TableError(f"{path}: the table is empty; expected {_EXPECTED}")
    delimiter, header = _first_line(path, first[1])
    if columns is not None and header is None:
        raise TableError(f"{path}: the table has no header that names the columns; expected {', '.join(columns)}")
    layout = _layout(path, header, columns)
    lines = numbered if header else chain([first], numbered)
    return _mapped(path, layout, split_records(lines, delimiter))


def _mapped(path: Path, layout: _Layout, records: Iterable[tuple[int, str, list[str] | None]]) -> CuiMap:
    found: dict[str, dict[CodeOfCui, None]] = {}
    skipped: list[Skipped] = []
    for number, line, cells in records:
        reason = _reason(cells, layout) if cells is None or line.strip() else None
        if reason is not None:
            skipped.append(Skipped(f"{path.name}, line {number}", reason))
        elif cells is not None and line.strip() and (codes := dict.fromkeys(_codes(cells, layout))):
            found.setdefault(cells[layout.cui].strip(), {}).update(codes)
    if not found:
        raise TableError(f"{path}: no code of any CUI could be read of it; expected {_EXPECTED}")
    return CuiMap({cui: tuple(codes) for cui, codes in found.items()}, tuple(skipped))


def _reason(cells: list[str] | None, layout: _Layout) -> str | None:
    if cells is None:
        return NOT_UTF8
    if not layout.width <= len(cells) <= max(layout.width, (layout.kind or 0) + 1):
        return f"the line has {len(cells)} columns; expected {layout.width}"
    if not CUI.fullmatch(cells[layout.cui].strip()):
        return "the line's CUI is none; expected `C` and seven digits"
    return None


def _first_line(path: Path, line: str | None) -> tuple[str, list[str] | None]:
    """Return what stands between the columns, and their names where the first line holds such."""
    for delimiter in _DELIMITERS if line is not None else "":
        _, _, cells = next(split_records([(1, line)], delimiter))
        names = [cell.strip() for cell in cells or ()]
        if any(name.casefold() == "cui" for name in names):
            return delimiter, names
        if len(names) > 1 and CUI.fullmatch(names[0]):
            return delimiter, None
    raise TableError(f"{path}: the first line names no column `cui` and begins with no CUI; expected {_EXPECTED}")


def _layout(path: Path, header: list[str] | None, columns: Mapping[str, str | None] | None) -> _Layout:
    if header is None:
        return _Layout(2, 0, (_Column(1, None),), kind=2)
    if twice(header):
        raise TableError(f"{path}: a column's name occurs more than once; name each column once")
    folded = [name.casefold() for name in header]
    width, cui = len(header), folded.index("cui")
    if columns is not None:
        if missing := [name for name in columns if name not in header]:
            raise TableError(f"{path}: the table has no column {', '.join(missing)}")
        return _Layout(width, cui, tuple(_Column(header.index(name), kind) for name, kind in columns.items()))
    named = tuple(_Column(at, *found) for at, name in enumerate(header) if (found := _vocabulary(name)))
    if "sab" in folded and "code" in folded:
        return _Layout(width, cui, named, vocabulary=folded.index("sab"), code=folded.index("code"))
    if not named and "code" in folded:
        kind = folded.index("kind") if "kind" in folded else None
        return _Layout(width, cui, (_Column(folded.index("code"), None),), kind=kind)
    if not named:
        raise TableError(f"{path}: the table has no column of codes; expected {_EXPECTED}")
    return _Layout(width, cui, named)


def _vocabulary(name: str) -> tuple[str, System] | None:
    return next((found for prefix, found in _VOCABULARIES.items() if name.upper().startswith(prefix)), None)


def _codes(cells: list[str], layout: _Layout) -> Iterator[CodeOfCui]:
    own = cells[layout.kind].strip() if layout.kind is not None and layout.kind < len(cells) else ""
    for column in layout.columns:
        for code in _codes_of(cells[column.cell], column.system):
            yield CodeOfCui(code, own or column.kind)
    if layout.vocabulary is None or layout.code is None:
        return
    if found := _vocabulary(cells[layout.vocabulary].strip()):
        kind, system = found
        yield from (CodeOfCui(code, kind) for code in _codes_of(cells[layout.code], system))


def _codes_of(cell: str, system: System | None) -> tuple[str, ...]:
    """Return the codes of a cell; none where it holds anything else."""
    if system is None:
        return in_order(cell.split("|"))
    codes = in_order(_BETWEEN_CODES.split(cell))
    return codes if all(_is_code(code, system) for code in codes) else ()


def _is_code(text: str, system: System) -> bool:
    try:
        return bool(_WRITTEN.fullmatch(text) and canonical_code(text, system))
    except ValueError:
        return False
