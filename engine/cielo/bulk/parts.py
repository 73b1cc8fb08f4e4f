"""Parts: rows with their links as a file of output, and what became of them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field

from cielo import schema
from cielo.bulk.folder import Folder
from cielo.bulk.mentions import Mentions
from cielo.bulk.planning import Check
from cielo.bulk.records import Part, PartSummary, Plan
from cielo.bulk.sources import rows_of
from cielo.bulk.units import Units
from cielo.errors import BulkError
from cielo.files import atomic_write, sha256_of
from cielo.records import Json, Link
from cielo.tables.mentions import InputRow, output_row, write_rows

_STEPS = 10  # of the confidences


@dataclass
class _Counts:
    rows: int = 0
    errors: int = 0
    without_code: int = 0
    methods: dict[str, int] = field(default_factory=dict)
    confidences: list[int] = field(default_factory=lambda: [0] * _STEPS)

    def add(self, link: Link) -> None:
        self.methods[link.method] = self.methods.get(link.method, 0) + 1
        self.without_code += link.code is None
        if link.confidence is not None:
            self.confidences[min(_STEPS - 1, int(_STEPS * link.confidence))] += 1


class PartMaker:
    """Makes the parts of a plan; the sources are read on from where the last part ended."""

    def __init__(self, plan: Plan, folder: Folder, mentions: Mentions, check: Check) -> None:
        """Hold what all parts are made of."""
        self._plan, self._folder, self._mentions, self._check = plan, folder, mentions, check
        self._units = Units(folder, plan.request.unit_mentions)
        self._source, self._next = -1, 0
        self._rows: Iterator[InputRow] = iter(())

    def write(self, part: Part) -> PartSummary:
        """Write the file of a part and the list of its errors, each whole or not at all.

        Whoever writes it writes the same bytes.

        Raises:
            BulkError: where the input is not what it was.
            OSError: where a file cannot be written.
        """
        counts = _Counts()
        errors: list[str] = []
        form = self._plan.request.format
        path = self._folder.part(part.number, form)
        with atomic_write(path) as temporary, temporary.open("wb") as stream:
            write_rows(stream, form, self._output(part, counts, errors))
        with atomic_write(self._folder.part_errors(part.number)) as temporary:
            temporary.write_text("".join(f"{line}\n" for line in errors), encoding="utf-8")
        return PartSummary(
            part.number, counts.rows, counts.errors, sha256_of(path), dict(sorted(counts.methods.items())),
            tuple(counts.confidences), counts.without_code,
        )  # fmt: skip

    def _output(self, part: Part, counts: _Counts, errors: list[str]) -> Iterator[dict[str, Json]]:
        source = self._plan.request.sources[part.source]
        for place in range(part.rows):
            row = self._row(part, place)
            counts.rows += 1
            outcome = self._outcome(row)
            if isinstance(outcome, Link):
                counts.add(outcome)
            else:
                counts.errors += 1
                told = {"source": source.path, "row": part.first + place + 1, "line": row.number, "error": outcome}
                errors.append(json.dumps(told, ensure_ascii=False))
            cells = output_row(row, outcome)
            cells.setdefault("proof", None)  # so that all parts have the same columns
            yield cells

    def _row(self, part: Part, place: int) -> InputRow:
        at = part.first + place
        if self._source != part.source or self._next != at:
            source = self._plan.request.sources[part.source]
            self._rows, self._source = rows_of(source, self._plan.request.reading, at), part.source
        self._next = at + 1
        row = next(self._rows, None)
        if row is None:
            raise BulkError("the input has fewer rows than when the run was begun; begin another run")
        return row

    def _outcome(self, row: InputRow) -> Link | str:
        reason = self._check(row)
        if reason is not None:
            return reason
        return self._units.link(self._mentions.number(row.mention(self._plan.request.kind)))


def keep(folder: Folder, summary: PartSummary) -> None:
    """Record what became of a part: it is done.

    Raises:
        OSError: where it cannot be written.
    """
    with atomic_write(folder.done(summary.number)) as temporary:
        temporary.write_bytes(schema.encode(summary))


def kept(folder: Folder, number: int) -> PartSummary:
    """Return what became of a part that is done.

    Raises:
        BulkError: where the record is damaged.
    """
    path = folder.done(number)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise BulkError(f"{path}: cannot be read ({error.strerror})") from error
    remedy = "remove it, and run the same command again"
    return schema.decode(PartSummary, content, str(path), error=BulkError, remedy=remedy, shown=True)
