"""Columns by their roles: the usual names of each, compared without case, accents, spaces and punctuation."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from cielo.errors import TableError
from cielo.tables.rows import Cell
from cielo.text.normal import fold_name

_SHOWN_NAMES = 24
_SHOWN_CHARACTERS = 40
# How names of columns begin, as `fold_name` leaves them: none of these is a mention's word.
_STEMS = (
    "anamnes", "centro", "cie", "cod", "column", "coment", "concept", "context", "descrip", "diag", "doc", "edad",
    "entidad", "entity", "episod", "fecha", "date", "file", "fich", "frase", "histor", "hosp", "icd", "id", "inform",
    "kind", "label", "literal", "mencion", "mention", "motivo", "name", "nhc", "nombre", "nota", "num", "observ",
    "oracion", "pacient", "patient", "proced", "sentence", "servic", "sexo", "span", "term", "text", "tipo", "type",
    "valor",
)  # fmt: skip
_MOST_WORDS = 5


@dataclass(frozen=True, slots=True)
class Role:
    """A column that is looked for.

    Attributes:
        name: what its cells are, as errors say it: ``code``.
        usual: its usual names as `fold_name` leaves them, the first that is there wins.
        named: the name that the caller gave it; None: one of the usual ones.
        text: whether a Parquet column of another type than strings is refused.
    """

    name: str
    usual: tuple[str, ...]
    named: str | None = None
    text: bool = True

    def called(self, name: str | None) -> Role:
        """Return the role with the name that a caller gave its column."""
        return replace(self, named=name)

    def find(self, names: Sequence[str]) -> int | None:
        """Return the position of the role's column among `names`; of two columns of one name the first."""
        if self.named is not None and self.named in names:
            return names.index(self.named)
        folded = [fold_name(name) for name in names]
        candidates = self.usual if self.named is None else (fold_name(self.named),)
        return next((folded.index(name) for name in candidates if name and name in folded), None)


class ColumnFinder:
    """Finds cells by their roles; columns are looked for again only where a row has other names than the one before."""

    def __init__(self, *roles: Role) -> None:
        self._roles = roles
        self._last: tuple[tuple[str, ...], tuple[str | None, ...]] = (), (None,) * len(roles)  # one value: for threads

    def names(self, values: dict[str, Cell]) -> tuple[str | None, ...]:
        """Return the name that each role's column has in a row; None where the row has none."""
        names = tuple(values)
        last, found = self._last
        if names != last:
            places = [role.find(names) for role in self._roles]
            found = tuple([None if place is None else names[place] for place in places])
            self._last = names, found
        return found

    def cells(self, values: dict[str, Cell]) -> tuple[Cell, ...]:
        """Return each role's cell of a row; None where the row has none."""
        return tuple([None if name is None else values[name] for name in self.names(values)])


def has_all(names: Sequence[str], roles: Iterable[Role]) -> bool:
    """Tell whether `names` is a header: whether each role's column is among them."""
    return all(role.find(names) is not None for role in roles)


def unique_names(names: Iterable[str]) -> list[str]:
    """Return the names of columns, stripped; the second of one name as ``name (2)``, so that no cell is lost."""
    found: dict[str, None] = {}
    for name in map(str.strip, names):
        number, unique = 1, name
        while unique in found:
            number += 1
            unique = f"{name} ({number})"
        found[unique] = None
    return list(found)


def refuse_twice(table: str, names: Iterable[str]) -> None:
    """Refuse a header in which a name occurs more than once.

    Raises:
        TableError: without the names, which in a file without a header are a patient's words.
    """
    stripped = [name.strip() for name in names if name.strip()]
    twice = sum(stripped.count(name) > 1 for name in dict.fromkeys(stripped))
    if twice:
        raise TableError(f"{table}: {twice} column name(s) of the header occur more than once; name each column once")


def refuse_ambiguous(table: str, names: Sequence[str], roles: Iterable[Role]) -> None:
    """Refuse a header in which a role's column is there more than once, case, accents and punctuation apart.

    A column that the caller named to the letter is that one.

    Raises:
        TableError: without the names, which in a file without a header are a patient's words.
    """
    stripped = [name.strip() for name in names]
    for role in roles:
        place = role.find(stripped)
        if place is None or (role.named == stripped[place] and stripped.count(role.named) == 1):
            continue
        count = [fold_name(name) for name in stripped].count(fold_name(stripped[place]))
        if count > 1:
            raise TableError(
                f"{table}: {count} columns of the header are called like `{role.named or role.name}`, case and accents "
                f"apart; name each column once, or one of them to the letter (--{role.name}-column)"
            )


def show_names(names: Iterable[str]) -> str:
    """Return the names of columns for an error, cut short where they are many or long."""
    shown = [repr(name[:_SHOWN_CHARACTERS]) for name in names if name.strip()]
    more = len(shown) - _SHOWN_NAMES
    return (", ".join(shown[:_SHOWN_NAMES]) + (f" and {more} more" if more > 0 else "")) or "none"


def looks_like_header(names: Sequence[str]) -> bool:
    """Tell whether a row is one of names, which may be shown, and none of a patient's words.

    That is so where there are several, none like a sentence, and most of them begin as names of columns usually do.
    """
    filled = [name.strip() for name in names if name.strip()]
    if len(filled) < 2 or any(not name.isprintable() for name in filled):
        return False
    if any(len(name.split()) > _MOST_WORDS or any(sign in name for sign in '.,;:?!"') for name in filled):
        return False
    return 2 * sum(fold_name(name).startswith(_STEMS) for name in filled) > len(filled)
