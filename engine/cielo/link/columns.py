"""Columns of mentions linked: what data frames, batches of Ray and frames of Spark have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cielo.errors import CieloError, MentionError, OptionError
from cielo.link.linker import Linker
from cielo.options import LinkOptions
from cielo.records import Link, Mention

ROLES = ("text", "sentence", "kind")
"""The columns of mentions; all but the first may be missing."""
# The columns that are added, and the fields of a link that they show.
_FIELDS = {
    "code": "code", "title": "title", "linked_kind": "kind", "method": "method", "confidence": "confidence",
    "distance": "distance",
}  # fmt: skip
RESULTS = (*_FIELDS, "error")
"""The columns that are added, None where nothing is known: texts, but those of `NUMBERS`."""
NUMBERS = ("confidence", "distance")
"""``confidence`` lies in [0, 1]; ``distance`` is a squared L2 distance in [0, 4]."""


def linked_columns(
    linker: Linker, columns: Mapping[str, Sequence[object]], options: LinkOptions | None = None
) -> dict[str, list[str | float | None]]:
    """Return the columns of `RESULTS`; a row that cannot be linked has its reason in ``error``.

    Args:
        linker: that finds the codes.
        columns: those of `ROLES`, of one length; others are passed over. What is missing is None or not a number.
        options: how; default: `LinkOptions()`.

    Raises:
        OptionError: where there is no column ``text``, or an option does not fit.
    """
    if "text" not in columns:
        raise OptionError(f"got {len(columns)} column(s), none of them `text`; name the mentions' column so")
    none = [None] * len(columns["text"])
    rows = zip(*(columns.get(role, none) for role in ROLES), strict=True)
    outcomes = list(linker.link_each((_mention(*row) for row in rows), options))
    found: dict[str, list[str | float | None]] = {
        name: [getattr(outcome, field, None) for outcome in outcomes] for name, field in _FIELDS.items()
    }
    found["error"] = [None if isinstance(outcome, Link) else str(outcome) for outcome in outcomes]
    return found


def cells_of(column: Any) -> list[object]:
    """Return the cells of a pandas column, None where it has one of the values that pandas takes for missing."""
    cells: list[object] = column.astype(object).where(column.notna(), None).tolist()
    return cells


def _mention(text: object, sentence: object, kind: object) -> Mention | CieloError:
    values: list[Any] = [_value(text), _value(sentence) or None, _value(kind) or None]
    try:
        return Mention(*values)
    except MentionError as error:
        return error


def _value(cell: object) -> object:
    """Return a cell; what is missing can be a number that is none."""
    return None if isinstance(cell, float) and cell != cell else cell
