"""Which columns of a table hold the codes, the descriptions and the marks of preference: by name."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from cielo.errors import TableError
from cielo.tables.rows import CodeTable

# As `fold_name` leaves them, the first that is there wins; of two columns of one name the first.
CODE_NAMES = ("code", "codigo", "cod", "cie10", "cie10es", "icd10", "codigocie10", "codigocie10es")
DESCRIPTION_NAMES = ("description", "descripcion", "desc", "literal", "titulo", "title", "termino", "term")
PREFERRED_NAMES = ("preferred", "preferente", "preferido")

_SHOWN_NAMES = 24
_SHOWN_CHARACTERS = 40


@dataclass(frozen=True, slots=True)
class Columns:
    """The positions of a table's columns, from 0; `preferred` is None where there is none."""

    code: int
    description: int
    preferred: int | None = None

    @property
    def needed(self) -> int:
        """How many cells a row must have."""
        return max(self.code, self.description) + 1


def fold_name(name: str) -> str:
    """Return a column's name without case, accents, spaces and punctuation (``Código CIE-10`` as ``codigocie10``)."""
    return "".join(char for char in unicodedata.normalize("NFKD", name.casefold()) if char.isalnum())


def find_code(names: Sequence[str], table: CodeTable) -> int | None:
    """Return the position of the column of codes among `names`, or None."""
    return _position(names, table.code_column, CODE_NAMES)


def find_description(names: Sequence[str], table: CodeTable) -> int | None:
    """Return the position of the column of descriptions among `names`, or None."""
    return _position(names, table.description_column, DESCRIPTION_NAMES)


def find_preferred(names: Sequence[str]) -> int | None:
    """Return the position of the column of marks of preference among `names`, or None."""
    return _position(names, None, PREFERRED_NAMES)


def find_columns(names: Sequence[str], table: CodeTable) -> Columns | None:
    """Return the columns where `names` is a header with both of them, else None.

    Raises:
        TableError: where one column would be both.
    """
    code, description = find_code(names, table), find_description(names, table)
    if code is None or description is None:
        return None
    if code == description:
        raise TableError(f"{table.path}: one column cannot hold both codes and descriptions; name two")
    return Columns(code, description, find_preferred(names))


def is_partial(names: Sequence[str], table: CodeTable) -> bool:
    """Tell whether a row without both names is a header all the same, so that its rows must not be guessed at.

    It is where a column was asked for by name, or where it names one of the two; of the descriptions' names only
    those count that could not stand in a row of a table.
    """
    if table.code_column is not None or table.description_column is not None:
        return True
    return _position(names, None, CODE_NAMES) is not None or _position(names, None, DESCRIPTION_NAMES[:3]) is not None


def no_columns(table: CodeTable, names: Iterable[str], where: str = "") -> TableError:
    """Return the error of a table that lacks a column, with the names of the columns that there are."""
    present = list(names)
    lacking = [
        f"{what} ({f'named {wanted!r}' if wanted is not None else 'such as ' + usual})"
        for what, wanted, usual, found in (
            ("of codes", table.code_column, "codigo", find_code(present, table)),
            ("of descriptions", table.description_column, "descripcion", find_description(present, table)),
        )
        if found is None
    ]
    return TableError(
        f"{table.path}{where}: there is no column {' and none '.join(lacking)}; the columns are: "
        f"{_shown(present) or 'none'}; name those to read"
    )


def _shown(names: Sequence[str]) -> str:
    shown = [repr(name[:_SHOWN_CHARACTERS]) for name in names if name.strip()]
    more = len(shown) - _SHOWN_NAMES
    return ", ".join(shown[:_SHOWN_NAMES]) + (f" and {more} more" if more > 0 else "")


def _position(names: Sequence[str], wanted: str | None, usual: tuple[str, ...]) -> int | None:
    if wanted is not None and wanted in names:
        return names.index(wanted)
    folded = [fold_name(name) for name in names]
    candidates = usual if wanted is None else (fold_name(wanted),)
    return next((folded.index(name) for name in candidates if name and name in folded), None)
