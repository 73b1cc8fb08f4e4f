"""Batches of columns linked: what a program of Ray Data (`map_batches`) or Spark (`mapInPandas`) calls.

They answer batch by batch: there is no manifest, and a mention that comes in two batches is linked twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cielo.errors import MentionError, OptionError
from cielo.link.linker import Linker
from cielo.options import LinkOptions
from cielo.records import Link, Mention

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

RESULTS = ("code", "title", "method", "confidence", "error")
"""The columns that are added: texts, but `confidence`, a number; what is not known is None. One that the batch has
already is replaced."""


def _opened() -> Linker:
    return Linker.open(cache=False)


class LinkBatches:
    """Links batches of columns; a class for `ray.data.Dataset.map_batches`, which makes one for each of its actors.

    A batch has the columns ``text`` and, if wanted, ``sentence`` and ``kind``; all are kept.
    """

    def __init__(self, opening: Callable[[], Linker] = _opened, options: LinkOptions | None = None) -> None:
        """Open a linker.

        Args:
            opening: gives it; it is called where the work is done.
            options: how mentions are linked.
        """
        self._linker, self._options = opening(), options

    def __call__(self, batch: Mapping[str, np.ndarray[Any, Any]]) -> dict[str, np.ndarray[Any, Any]]:
        """Return the batch with the columns of `RESULTS`.

        Raises:
            OptionError: where it has no column ``text``.
        """
        import numpy

        results = answers(self._linker, {name: list(column) for name, column in batch.items()}, self._options)
        return {**batch, **{name: numpy.array(column, dtype=object) for name, column in results.items()}}


@dataclass(frozen=True)
class LinkFrames:
    """Links pandas frames; a function for `pyspark.sql.DataFrame.mapInPandas`, as `LinkBatches` is for Ray Data.

    Attributes:
        opening: gives the linker; it is called once for each partition.
        options: how mentions are linked.
    """

    opening: Callable[[], Linker] = _opened
    options: LinkOptions | None = None

    def __call__(self, frames: Iterable[pd.DataFrame]) -> Iterator[pd.DataFrame]:
        """Yield each frame with the columns of `RESULTS`.

        Raises:
            OptionError: where one has no column ``text``.
        """
        import pandas

        with self.opening() as linker:
            for frame in frames:
                columns = {str(name): frame[name].tolist() for name in frame.columns}
                found = answers(linker, columns, self.options)
                # As objects: pandas would make other values of those that are None.
                yield frame.assign(
                    **{name: pandas.Series(column, frame.index, object) for name, column in found.items()}
                )


def answers(
    linker: Linker, columns: Mapping[str, Sequence[object]], options: LinkOptions | None = None
) -> dict[str, list[str | float | None]]:
    """Return the columns of `RESULTS` for columns of mentions; a row that cannot be linked gets its ``error``.

    Raises:
        OptionError: where there is no column ``text``.
    """
    if "text" not in columns:
        raise OptionError(f"got a batch of {len(columns)} column(s), none of them `text`; name the mentions' column so")
    none: list[object] = [None] * len(columns["text"])
    rows = zip(columns["text"], columns.get("sentence", none), columns.get("kind", none), strict=True)
    outcomes = list(linker.link_each((_mention(*row) for row in rows), options, chunk=max(1, len(none))))
    found = [outcome if isinstance(outcome, Link) else None for outcome in outcomes]
    return {
        "code": [None if link is None else link.code for link in found],
        "title": [None if link is None else link.title for link in found],
        "method": [None if link is None else link.method for link in found],
        "confidence": [None if link is None else link.confidence for link in found],
        "error": [None if isinstance(outcome, Link) else str(outcome) for outcome in outcomes],
    }


def _mention(text: object, sentence: object, kind: object) -> Mention | MentionError:
    values: list[Any] = [_value(text), _value(sentence) or None, _value(kind) or None]
    try:
        return Mention(*values)
    except MentionError as error:
        return error


def _value(cell: object) -> object:
    """Return a cell; pandas writes what is missing as a number that is none."""
    return None if isinstance(cell, float) and cell != cell else cell
