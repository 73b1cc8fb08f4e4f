"""Batches of columns linked: what a program of Ray Data (`map_batches`) or Spark (`mapInPandas`) calls.

They answer batch by batch: there is no manifest, and a mention that comes in two batches is linked twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cielo.link.columns import NUMBERS, RESULTS, cells_of, linked_columns
from cielo.link.linker import Linker
from cielo.options import LinkOptions

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

SPARK_COLUMNS = ", ".join(f"{name} {'double' if name in NUMBERS else 'string'}" for name in RESULTS)
"""The columns that are added, as Spark's schemas say it: append them to those that the frame has."""


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
        """Return the batch with the columns of `cielo.link.columns.RESULTS`; those that it has already are replaced.

        Raises:
            OptionError: where it has no column ``text``.
        """
        import numpy

        results = linked_columns(self._linker, {name: column.tolist() for name, column in batch.items()}, self._options)
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
        """Yield each frame with the columns of `cielo.link.columns.RESULTS`; those that it has already are replaced.

        Raises:
            OptionError: where one has no column ``text``.
        """
        import pandas

        with self.opening() as linker:
            for frame in frames:
                columns = {str(name): cells_of(frame[name]) for name in frame.columns}
                found = linked_columns(linker, columns, self.options)
                # As objects: pandas would make other values of those that are None.
                yield frame.assign(
                    **{name: pandas.Series(column, frame.index, object) for name, column in found.items()}
                )
