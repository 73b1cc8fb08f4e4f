"""Data frames of mentions, linked batch by batch: for one's own program on Ray Data or Spark.

Ray Data::

    dataset.map_batches(FrameLinker, batch_format="pandas", concurrency=2, fn_constructor_kwargs={"threads": 4})

Spark::

    rows.mapInPandas(linked_frames(threads=4), schema=spark_schema(rows.schema))
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from cielo.link.linker import Linker
from cielo.options import LinkOptions
from cielo.records import Link
from cielo.tables.mentions import InputRow

if TYPE_CHECKING:
    import pandas

# Beside those that a frame comes with; numbers are None where there are none.
_TEXTS = ("code", "codes", "title", "description", "method", "generated", "error")
_NUMBERS = ("confidence", "probability", "distance")


class FrameLinker:
    """Links the rows of pandas frames. Each process opens one linker, when it is given the first frame."""

    def __init__(self, options: LinkOptions | None = None, **opening: Any) -> None:
        """Hold what the linker is opened with.

        Args:
            options: how mentions are linked.
            opening: see `cielo.Linker.open`; the cache is off, so that batches answer alike whoever links them.
        """
        self._options, self._opening = options, {"cache": False, **opening}
        self._linker: Linker | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Return what another process needs: it opens a linker of its own."""
        return {"_options": self._options, "_opening": self._opening, "_linker": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take over what `__getstate__` gave."""
        self.__dict__.update(state)

    def __call__(self, frame: pandas.DataFrame) -> pandas.DataFrame:
        """Return a frame with its links beside its own columns, row for row.

        Args:
            frame: with a column ``text`` (or ``texto`` …) and, if wanted, ``sentence``, ``kind`` and ``id``.

        Raises:
            MentionError: where it has no column of texts; what is wrong with one row is in its ``error``.
        """
        if self._linker is None:
            self._linker = Linker.open(**self._opening)
        rows = [
            InputRow(number, {str(name): value for name, value in zip(frame.columns, row, strict=True)})
            for number, row in enumerate(frame.astype(object).where(frame.notna(), None).itertuples(index=False))
        ]
        outcomes = list(self._linker.link_each([_mention(row) for row in rows], self._options))
        columns = [_columns(outcome) for outcome in outcomes]
        found = frame.copy()
        for name in (*_TEXTS, *_NUMBERS):
            kind = "float64" if name in _NUMBERS else "object"
            found[name] = _series([one[name] for one in columns], frame, kind)
        return found


def _series(values: list[Any], frame: pandas.DataFrame, kind: str) -> pandas.Series[Any]:
    import pandas

    return pandas.Series(values, index=frame.index, dtype=kind)


def _mention(row: InputRow) -> Any:
    from cielo.errors import MentionError

    try:
        return row.mention()
    except MentionError as error:
        return error


def _columns(outcome: Any) -> dict[str, Any]:
    if not isinstance(outcome, Link):
        return {**dict.fromkeys((*_TEXTS, *_NUMBERS)), "error": str(outcome)}
    values = {name: getattr(outcome, name, None) for name in (*_TEXTS, *_NUMBERS)}
    return {**values, "codes": "|".join(outcome.codes), "error": None}


def linked_frames(
    options: LinkOptions | None = None, **opening: Any
) -> Callable[[Iterator[pandas.DataFrame]], Iterator[pandas.DataFrame]]:
    """Return a function for Spark's ``mapInPandas``; see `FrameLinker`."""
    linker = FrameLinker(options, **opening)

    def link(frames: Iterator[pandas.DataFrame]) -> Iterator[pandas.DataFrame]:
        for frame in frames:
            yield linker(frame)

    return link


def spark_schema(schema: Any) -> Any:
    """Return the schema of the linked rows of a Spark schema."""
    from pyspark.sql.types import DoubleType, StringType, StructType

    found = StructType(list(schema.fields))
    for name in _TEXTS:
        found = found.add(name, StringType())
    for name in _NUMBERS:
        found = found.add(name, DoubleType())
    return found
