"""Tables that map concepts, CUIs of UMLS or identifiers of SNOMED CT, to codes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from cielo.errors import TableError
from cielo.knowledge.code_columns import CODE, looks_like_code
from cielo.knowledge.codes import System, canonical_code
from cielo.said import Said
from cielo.tables import Cell, RejectedRow, Role, Table, TableFormat, TableRow, format_of, read_table
from cielo.tables.columns import refuse_twice
from cielo.tables.rows import UnfitError, text_of
from cielo.text.kinds import kind_of
from cielo.workbench.evaluation.corpora.lines import in_order, line_of, split_codes
from cielo.workbench.evaluation.records import Skipped

CUI = re.compile(r"C\d{7}")
CONCEPT = re.compile(r"C[0-9]{7}|[1-9][0-9]{5,17}")  # a CUI, or an identifier of SNOMED CT
CONCEPT_EXPECTED = Said("expected a CUI (`C` and seven digits) or an identifier of SNOMED CT (6 to 18 digits)")
_EXPECTED = (
    "two columns `cui` or `snomed`, and `code` (and `kind`, if wanted), or columns CUI and ICD10CM…, ICD10PCS… or SAB "
    "and CODE, with tabs, commas, semicolons or `|` between them"
)
_CONCEPT = Role(
    "concept",
    ("cui", "snomed", "snomedct", "snomedid", "snomedctid", "snomedcode", "sctid", "conceptid", "concept",
     "codigosnomed", "codigosnomedct", "conceptosnomed", "conceptosnomedct", "concepto", "referencedcomponentid"),
)  # fmt: skip
_ROLES = (
    _CONCEPT, Role("code", (*CODE.usual, "codes", "codigos", "maptarget")), Role("kind", ("kind", "tipo")),
    Role("vocabulary", ("sab",)),
)  # fmt: skip
_MOST = 0.8  # of the cells of a column that is known by what it holds
_SAMPLE = 200
# The vocabularies of UMLS and of ClinIDMap that hold ICD-10 codes, by the beginnings of their names.
_VOCABULARIES: dict[str, tuple[str, System]] = {
    "ICD10CM": ("diagnosis", "icd-10-cm"),
    "ICD10PCS": ("procedure", "icd-10-pcs"),
}
# As codes are written: ``A00-B99`` is a range, ``B24.`` is cut off.
_WRITTEN = re.compile(r"[^\W_]{3,7}|[^\W_]{3}\.[^\W_]{1,4}")
_BETWEEN_CODES = re.compile(r"[\s,;|]+")


@dataclass(frozen=True, slots=True)
class MappedCode:
    """A code that a concept is mapped to, and the code's kind; None where the table names none."""

    code: str
    kind: str | None = None


@dataclass(frozen=True, slots=True)
class CodeMap(Mapping[str, tuple[MappedCode, ...]]):
    """The codes of each concept, and the lines of the table that could not be read."""

    codes: Mapping[str, tuple[MappedCode, ...]]
    skipped: tuple[Skipped, ...] = ()

    def __getitem__(self, concept: str) -> tuple[MappedCode, ...]:
        return self.codes[concept]

    def __iter__(self) -> Iterator[str]:
        return iter(self.codes)

    def __len__(self) -> int:
        return len(self.codes)


@dataclass(frozen=True, slots=True)
class _CodeColumn:
    """Where codes stand: the column's name, their kind, and the system that they belong to (None: any text is one)."""

    name: str
    kind: str | None
    system: System | None = None


@dataclass(frozen=True, slots=True)
class _Layout:
    """Where a table's concepts, codes and kinds stand; `vocabulary` and `code` are the columns SAB and CODE."""

    width: int
    concept: str
    columns: tuple[_CodeColumn, ...]
    kind: str | None = None
    vocabulary: str | None = None
    code: str | None = None


def read_code_map(path: Path, columns: Mapping[str, str | None] | None = None) -> CodeMap:
    """Read a table that maps concepts to codes.

    Either ``cui, code`` or ``snomed, code`` and, if wanted, ``kind``, with or without a header, or ClinIDMap's layout
    (https://github.com/Vicomtech/ClinIDMap): the columns of UMLS's MRCONSO and more. There a code is the ``CODE`` of
    a row whose ``SAB`` begins with ``ICD10CM`` or ``ICD10PCS``, and any cell of a column of such a name that looks
    like a code; in published tables these columns hold Spanish titles, which are no codes and are passed over. Codes
    stay as they are written. Where columns are called otherwise, those are read that plainly hold concepts and codes.

    Args:
        path: the table.
        columns: the columns to take codes from and the kinds of their codes, instead of those named above.

    Raises:
        TableError: where the table cannot be read, or maps nothing.
    """
    form = format_of(path, default="csv")
    flat = TableFormat(format="csv", quoting="lenient")
    table = read_table(path, flat if form in ("csv", "tsv") else TableFormat(format=form), (_CONCEPT,))
    rows = iter(table)
    first = next(rows, None)
    if first is None and table.header is None:
        raise TableError(f"{path}: the table is empty; expected {_EXPECTED}")
    read = rows if first is None else chain([first], rows)
    try:
        layout = _layout(path, table, first, columns)
    except TableError:
        listed = list(read)
        guessed = _guessed(listed) if columns is None else None
        if guessed is None:
            raise
        layout, above = guessed
        read = iter(listed[above:])
    return _mapped(path, layout, read)


def _guessed(rows: Sequence[TableRow | RejectedRow]) -> tuple[_Layout, int] | None:
    """Return the layout of a table whose columns are called otherwise, by what they hold, and how many rows are names.

    There must be one column of concepts and one of codes, and no other that may be either.
    """
    sample = [{name: _concept(cell) for name, cell in row.values.items()} for row in rows if isinstance(row, TableRow)]
    first = next((place for place, row in enumerate(sample) if any(map(CONCEPT.fullmatch, row.values()))), 0)
    below = sample[first : first + _SAMPLE]

    def of(test: Callable[[str], object]) -> list[str]:
        filled = {name: [row[name] for row in below if row.get(name)] for name in dict.fromkeys(chain(*below))}
        return [
            name
            for name, cells in filled.items()
            if cells and sum(bool(test(cell)) for cell in cells) >= _MOST * len(cells)
        ]

    concepts, codes = of(CONCEPT.fullmatch), of(lambda cell: all(map(looks_like_code, split_codes(cell))))
    codes = [name for name in codes if name not in concepts]
    if len(concepts) != 1 or len(codes) != 1:
        return None
    return _Layout(1, concepts[0], (_CodeColumn(codes[0], None),), kind="kind"), first


def _mapped(path: Path, layout: _Layout, rows: Iterable[TableRow | RejectedRow]) -> CodeMap:
    found: dict[str, dict[MappedCode, None]] = {}
    skipped: list[Skipped] = []
    for row in rows:
        reason = _reason(row, layout)
        if isinstance(row, RejectedRow) or reason is not None:
            number = row.line if isinstance(row, RejectedRow) else row.number
            skipped.append(Skipped(line_of(path.name, number), reason or ""))
            continue
        cells = {name: _concept(cell) for name, cell in row.values.items()}
        if codes := dict.fromkeys(_codes(cells, layout)):
            found.setdefault(_concept(row.values.get(layout.concept)), {}).update(codes)
    if not found:
        raise TableError(f"{path}: no code of any concept could be read of it; expected {_EXPECTED}")
    return CodeMap({concept: tuple(codes) for concept, codes in found.items()}, tuple(skipped))


def _concept(cell: Cell) -> str:
    """Return what a cell has in a concept's place: identifiers of SNOMED CT may have been kept as numbers."""
    if isinstance(cell, int) and not isinstance(cell, bool):
        return str(cell)
    try:
        return text_of(cell, "concept", digits=True).strip()
    except UnfitError:
        return ""


def _reason(row: TableRow | RejectedRow, layout: _Layout) -> str | None:
    if isinstance(row, RejectedRow):
        return row.reason
    count = len(row.values)
    if count < layout.width or (count > layout.width and layout.kind is None):
        return Said("the row has {count} columns; expected {width}", count=count, width=layout.width)
    if not CONCEPT.fullmatch(_concept(row.values.get(layout.concept))):
        return Said("the line's concept is none; {expected}", expected=CONCEPT_EXPECTED)
    return None


def _layout(
    path: Path, table: Table, first: TableRow | RejectedRow | None, columns: Mapping[str, str | None] | None
) -> _Layout:
    headless = table.header is None
    json = headless and table.format in ("json", "jsonl")
    names = list(first.values) if json and isinstance(first, TableRow) else list(table.columns)
    if headless and not json:
        cell = _concept(first.values.get("1")) if isinstance(first, TableRow) else ""
        if columns is not None:
            raise TableError(f"{path}: the table has no header that names the columns; expected {', '.join(columns)}")
        if not CONCEPT.fullmatch(cell):
            raise TableError(
                f"{path}: the first line names no column `cui` or `snomed` and begins with no concept; "
                f"expected {_EXPECTED}"
            )
        return _Layout(2, "1", (_CodeColumn("2", None),), kind="3")
    refuse_twice(str(path), table.raw_columns)
    return _named(path, names, columns)


def _named(path: Path, names: list[str], columns: Mapping[str, str | None] | None) -> _Layout:
    width = len(names)
    found = {role: names[place] for role in _ROLES if (place := role.find(names)) is not None}
    concept, code, kind, vocabulary = (found.get(role) for role in _ROLES)
    if concept is None:
        raise TableError(f"{path}: the table has no column `cui` or `snomed`; expected {_EXPECTED}")
    if columns is not None:
        if missing := [name for name in columns if name not in names]:
            raise TableError(f"{path}: the table has no column {', '.join(missing)}")
        return _Layout(width, concept, tuple(_CodeColumn(name, kind) for name, kind in columns.items()))
    titled = tuple(_CodeColumn(name, *known) for name in names if (known := _vocabulary(name)))
    if vocabulary is not None and code is not None:
        return _Layout(width, concept, titled, vocabulary=vocabulary, code=code)
    if not titled and code is not None:
        return _Layout(width, concept, (_CodeColumn(code, None),), kind=kind)
    if not titled:
        raise TableError(f"{path}: the table has no column of codes; expected {_EXPECTED}")
    return _Layout(width, concept, titled)


def _vocabulary(name: str) -> tuple[str, System] | None:
    return next((found for prefix, found in _VOCABULARIES.items() if name.upper().startswith(prefix)), None)


def _codes(cells: Mapping[str, str], layout: _Layout) -> Iterator[MappedCode]:
    own = cells.get(layout.kind, "").strip() if layout.kind is not None else ""
    for column in layout.columns:
        for code in _codes_of(cells.get(column.name, ""), column.system):
            yield MappedCode(code, (kind_of(own) or own) or column.kind)
    if layout.vocabulary is None or layout.code is None:
        return
    if found := _vocabulary(cells[layout.vocabulary].strip()):
        kind, system = found
        yield from (MappedCode(code, kind) for code in _codes_of(cells[layout.code], system))


def _codes_of(cell: str, system: System | None) -> tuple[str, ...]:
    """Return the codes of a cell; none where it holds anything else."""
    if system is None:
        return split_codes(cell)
    codes = in_order(_BETWEEN_CODES.split(cell))
    return codes if all(_is_code(code, system) for code in codes) else ()


def _is_code(text: str, system: System) -> bool:
    try:
        return bool(_WRITTEN.fullmatch(text) and canonical_code(text, system))
    except ValueError:
        return False
