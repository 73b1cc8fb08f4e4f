"""Which columns of a table hold the codes and the descriptions: by their names, and by what they hold.

A name says what a column is meant to be, its cells what it is. Where they contradict each other, and one other column
is plainly what is looked for, that one is read, with a warning; where it is not clear, the table is refused with the
reasons, and the caller names the columns.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from cielo.errors import TableError
from cielo.tables import Cell, RejectedRow, Role, Table, TableRow
from cielo.tables.columns import show_names
from cielo.tables.rows import NotText
from cielo.text.normal import fold_name

CODE = Role(
    "code",
    ("code", "codigo", "cod", "cie10", "cie10es", "icd10", "codigocie10", "codigocie10es", "codcie10", "codigocie",
     "codcie", "icd10es", "icd10code", "codigoicd10", "cie", "icd"),
)  # fmt: skip
DESCRIPTION = Role(
    "description",
    ("description", "descripcion", "desc", "literal", "titulo", "title", "termino", "term", "nombre", "name"),
)
PREFERRED = Role("mark of preference", ("preferred", "preferente", "preferido"), text=False)

# Cells that only a header holds.
_HEADER_CELLS = frozenset(
    {*CODE.usual, *DESCRIPTION.usual[:3], "id", "key", "clave", "label", "version", "type", "tipo", "text", "texto"}
)
_ICD = re.compile(r"[A-Z][0-9][0-9A-Z](?:\.?[0-9A-Z]{1,4})?|(?=.*[0-9])(?:[0-9A-HJ-NP-Z]{4}|[0-9A-HJ-NP-Z]{7})")
_AROUND = " .-–†*+#¶"  # signs that tables set around codes
_WORD = re.compile(r"[^\W\d_]{3}")
_SAMPLE = 2000
_TITLES = 50  # so many rows above the first code may be titles
_MOST, _HALF, _FEW = 0.8, 0.5, 0.1
# A column is finer than another where it has so many times as many distinct values.
_FINER = 1.05


@dataclass(frozen=True, slots=True)
class Chosen:
    """The columns to read.

    Attributes:
        names: of the columns of codes, descriptions and marks of preference; None: each row has its own (JSON).
        roles: to find them by in each row; empty: by those that were asked for.
        above: how many of the rows are titles and a header, and no codes.
        needed: how many cells a row must have.
        warnings: what a person should look at.
    """

    names: tuple[str | None, str | None, str | None] | None = None
    roles: tuple[Role, ...] = ()
    above: int = 0
    needed: int = 0
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Facts:
    """What a column holds: shares of its cells that are not empty, but `filled`, which is one of all rows."""

    filled: float
    codes: float
    words: float


class _Columns:
    """The columns of a table whose rows were read: their names, and facts about what they hold."""

    def __init__(self, table: Table, rows: Sequence[TableRow | RejectedRow]) -> None:
        self.table = table
        self.rows = [row for row in rows if isinstance(row, TableRow)]
        names = dict.fromkeys(table.columns)
        if not names:
            # Rows of one table have few sets of names: JSON repeats them, and other formats count their cells.
            for keys in {tuple(row.values): None for row in self.rows}:
                names.update(dict.fromkeys(keys))
        self.keys = list(names)
        self.above = 0
        self.labels = list(self.keys)
        if not table.columns and table.format not in ("json", "jsonl"):
            self._skip_titles(rows)
        self.sample = self.rows[:: max(1, len(self.rows) // _SAMPLE)]
        self._facts: dict[str, _Facts] = {}
        self._shared: dict[tuple[str, str], tuple[int, int]] = {}

    def _skip_titles(self, rows: Sequence[TableRow | RejectedRow]) -> None:
        """Pass over the rows above the first code; the last of them names the columns."""
        for place, row in enumerate(rows[: _TITLES + 1]):
            if isinstance(row, TableRow) and any(looks_like_code(_shown(cell)) for cell in row.values.values()):
                heads = [head for head in rows[:place] if isinstance(head, TableRow)]
                if heads:
                    self.above, self.rows = place, self.rows[len(heads) :]
                    names = {key: _shown(cell) for key, cell in heads[-1].values.items()}
                    self.labels = [names.get(key) or key for key in self.keys]
                return

    def facts(self, key: str) -> _Facts:
        """Return what a column holds."""
        if key not in self._facts:
            cells = [_shown(row.values.get(key)) for row in self.sample]
            filled = [cell for cell in cells if cell]
            count = max(1, len(filled))
            codes = [looks_like_code(cell) for cell in filled]
            words = [not code and _WORD.search(cell) is not None for cell, code in zip(filled, codes, strict=True)]
            self._facts[key] = _Facts(len(filled) / max(1, len(cells)), sum(codes) / count, sum(words) / count)
        return self._facts[key]

    def distinct(self, key: str) -> int:
        """Return how many different cells a column has."""
        return len({_shown(row.values.get(key)) for row in self.rows})

    def shared(self, code: str, description: str) -> tuple[int, int]:
        """Return how many codes have a description of another code's, and how many codes there are."""
        if (code, description) in self._shared:
            return self._shared[code, description]
        texts = [text for row in self.rows if isinstance(text := row.values.get(description), str)]
        if len(set(texts)) == len(texts):  # as in most tables, and quickly known
            self._shared[code, description] = 0, len(self.rows)
            return 0, len(self.rows)
        first: dict[str, str] = {}
        sharing: set[str] = set()
        codes: set[str] = set()
        for row in self.rows:
            text, found = row.values.get(description), row.values.get(code)
            if text and found and isinstance(text, str) and isinstance(found, str):
                codes.add(found)
                if (other := first.setdefault(text, found)) != found:
                    sharing.update((other, found))
        self._shared[code, description] = len(sharing), len(codes)
        return len(sharing), len(codes)

    def label(self, key: str) -> str:
        """Return the name of a column as a person knows it."""
        return repr(self.labels[self.keys.index(key)])

    def find(self, role: Role) -> str | None:
        """Return the column that bears the role's name."""
        place = role.find(self.labels)
        return None if place is None else self.keys[place]

    def text_columns(self, but: str) -> list[str]:
        """Return the columns other than `but` that hold text."""
        return [key for key in self.keys if key != but and self.facts(key).words >= _MOST]


def choose_columns(
    table: Table, rows: Sequence[TableRow | RejectedRow], roles: tuple[Role, Role], *, synonyms: bool = False
) -> Chosen:
    """Choose the columns of codes and of descriptions.

    Args:
        table: that was read.
        rows: all of its rows.
        roles: of the codes and of the descriptions, with the names that a caller gave them.
        synonyms: whether descriptions may be those of several codes.

    Raises:
        TableError: where the columns are not there, or it is not clear which they are.
    """
    columns = _Columns(table, rows)
    if not columns.keys or (not columns.rows and not table.columns):
        if table.format in ("xlsx", "xls"):
            raise _no_columns(columns, roles)
        return Chosen()
    warnings: list[str] = []
    code = _code(columns, roles, warnings)
    description = _description(columns, roles, code, warnings)
    if columns.above:
        warnings.append(
            f"no line names the columns of codes and descriptions as is usual; what stands above the first code is "
            f"taken as the header, {columns.label(code)} as the codes and {columns.label(description)} as the "
            "descriptions; name others with --code-column and --description-column"
        )
    if code == description:
        raise TableError(f"{table.name}: one column cannot hold both codes and descriptions; name two")
    sharing, codes = (0, 0) if synonyms else columns.shared(code, description)
    if codes > 1 and sharing > _HALF * codes:
        warnings.append(
            f"{sharing:,} of {codes:,} codes share their description in the column {columns.label(description)} with "
            "other codes; if it is that of a category, name another with --description-column"
        )
    return _chosen(columns, roles, code, description, warnings)


def _chosen(columns: _Columns, roles: tuple[Role, Role], code: str, description: str, warnings: list[str]) -> Chosen:
    told = tuple(f"{columns.table.name}: {warning}" for warning in warnings)
    if columns.table.format in ("json", "jsonl"):
        if columns.find(roles[0]) == code and columns.find(roles[1]) == description:
            return Chosen(warnings=told)
        return Chosen(roles=(CODE.called(code), DESCRIPTION.called(description)), warnings=told)
    places = columns.keys.index(code), columns.keys.index(description)
    return Chosen((code, description, columns.find(PREFERRED)), (), columns.above, max(places) + 1, told)


def _code(columns: _Columns, roles: tuple[Role, Role], warnings: list[str]) -> str:
    named = columns.find(roles[0])
    if roles[0].named is not None:
        return _asked(columns, roles, named)
    coded = [key for key in columns.keys if columns.facts(key).codes >= _MOST and columns.facts(key).filled >= _HALF]
    if named is not None:
        if columns.facts(named).codes >= _HALF or len(coded) != 1:
            return named
        warnings.append(
            f"codes are taken from the column {columns.label(coded[0])} and not from {columns.label(named)}, whose "
            "cells are no codes of ICD-10; name another with --code-column"
        )
        return coded[0]
    if coded:
        return _finest(columns, coded)
    if not _is_list(columns, roles):
        raise _no_columns(columns, roles)
    return columns.keys[0]


def _asked(columns: _Columns, roles: tuple[Role, Role], found: str | None) -> str:
    """Return the column that a caller named.

    Raises:
        TableError: where there is none of that name.
    """
    if found is None:
        raise _no_columns(columns, roles)
    return found


def _is_list(columns: _Columns, roles: tuple[Role, Role]) -> bool:
    """Tell whether a table without a header may be read as codes and descriptions in its first two columns."""
    if columns.table.columns or columns.table.format not in ("csv", "tsv") or roles[1].named is not None:
        return False
    if not columns.rows:
        return True
    first = [fold_name(_shown(cell)) for cell in columns.rows[0].values.values()]
    numbers = [_shown(row.values.get(columns.keys[0])) for row in columns.rows]
    running = (
        len(numbers) > 1
        and all(number.isdecimal() for number in numbers)
        and [int(number) for number in numbers] == list(range(int(numbers[0]), int(numbers[0]) + len(numbers)))
    )
    return not running and not _HEADER_CELLS.intersection(first)


def _finest(columns: _Columns, coded: list[str]) -> str:
    """Return the column of the most distinct codes: categories stand beside the codes that belong to them."""
    if len(coded) == 1:
        return coded[0]
    distinct = {key: columns.distinct(key) for key in coded}
    ranked = sorted(coded, key=lambda key: -distinct[key])
    if distinct[ranked[0]] >= _FINER * distinct[ranked[1]]:
        return ranked[0]
    first, second = ranked[:2]
    pairs = [(_shown(row.values.get(first)), _shown(row.values.get(second))) for row in columns.sample]
    for longer, shorter, key in ((0, 1, first), (1, 0, second)):
        if all(pair[longer].startswith(pair[shorter]) for pair in pairs) and any(a != b for a, b in pairs):
            return key
    raise _unclear(columns, "codes", ranked, "--code-column")


def _description(columns: _Columns, roles: tuple[Role, Role], code: str, warnings: list[str]) -> str:
    named = columns.find(roles[1])
    if roles[1].named is not None:
        return _asked(columns, roles, named)
    if named == code and roles[0].named is not None:
        return named  # refused below
    if named is None and not columns.above and not columns.table.columns and code == columns.keys[0]:
        named = columns.keys[1] if len(columns.keys) > 1 and columns.table.format in ("csv", "tsv") else None
    texts = columns.text_columns(code)
    if named is not None and named != code:
        return _named_description(columns, code, named, texts, warnings)
    if not texts or columns.facts(code).codes < _MOST:
        raise _no_columns(columns, roles)
    own = [key for key in texts if not _is_shared(columns, code, key, _HALF)] or texts
    if len(own) > 1:
        raise _unclear(columns, "descriptions", own, "--description-column")
    return own[0]


def _named_description(columns: _Columns, code: str, named: str, texts: list[str], warnings: list[str]) -> str:
    """Return the column named as that of descriptions, or the one other column that plainly is it."""
    if columns.facts(code).codes < _MOST:
        return named
    wordless = columns.facts(named).words < _FEW
    if not wordless and not _is_shared(columns, code, named, _HALF):
        return named
    others = [key for key in texts if key != named and not _is_shared(columns, code, key, _FEW)]
    if not others:
        return named
    if len(others) > 1:
        raise _unclear(columns, "descriptions", [named, *others], "--description-column")
    why = "holds no words" if wordless else "gives many codes the same text"
    warnings.append(
        f"descriptions are taken from the column {columns.label(others[0])} and not from {columns.label(named)}, which "
        f"{why}; name another with --description-column"
    )
    return others[0]


def _is_shared(columns: _Columns, code: str, description: str, share: float) -> bool:
    sharing, codes = columns.shared(code, description)
    return codes > 1 and sharing > share * codes


def _unclear(columns: _Columns, what: str, keys: Sequence[str], option: str) -> TableError:
    reasons = "; ".join(
        f"{columns.label(key)} ({100 * facts.codes:.0f} % codes, {100 * facts.words:.0f} % text, "
        f"{columns.distinct(key):,} different cells)"
        for key in keys
        if (facts := columns.facts(key))
    )
    return TableError(
        f"{columns.table.name}: it is not clear which column holds the {what}: {reasons}; name it with {option}"
    )


def _no_columns(columns: _Columns, roles: tuple[Role, Role]) -> TableError:
    """Return the error of a table that lacks a column, with the names of the columns that there are."""
    table = columns.table
    json = table.format in ("json", "jsonl")
    present = columns.labels if json or columns.above else table.raw_columns or table.nearest or columns.labels
    lacking = [
        f"of {role.name}s ({f'named {role.named!r}' if role.named is not None else 'such as ' + role.usual[1]})"
        for role in roles
        if role.find(present) is None
    ]
    return TableError(
        f"{table.name}{table.where}: there is no column {' and none '.join(lacking) or 'that is plainly theirs'}; the "
        f"columns are: {show_names(present)}; name those to read with --code-column and --description-column"
    )


def _shown(cell: Cell) -> str:
    if isinstance(cell, NotText):
        return "" if cell.spoiled else cell.shown
    return cell.strip() if isinstance(cell, str) else ""


def looks_like_code(text: str) -> bool:
    """Tell whether a text has the form of a code of ICD-10, signs around it apart; digits alone have not."""
    return _ICD.fullmatch(text.upper().strip(_AROUND)) is not None and not text.isdecimal()
