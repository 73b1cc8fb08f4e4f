"""Planning a run: its input is read once, cut into parts, and its distinct mentions are numbered."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from cielo import schema
from cielo.bulk.folder import Folder
from cielo.bulk.mentions import MentionWriter
from cielo.bulk.records import Part, Plan, Request
from cielo.bulk.sources import open_rows
from cielo.errors import BulkError, MentionError, TableError
from cielo.files import atomic_write
from cielo.tables.mentions import InputRow

Check = Callable[[InputRow], "str | None"]


class _Planner:
    """Goes through the input row by row."""

    def __init__(self, request: Request, writer: MentionWriter, check: Check) -> None:
        self._request, self._writer, self._check = request, writer, check
        self.parts: list[Part] = []
        self.columns: list[tuple[str, ...]] = []
        self.warnings: list[tuple[str, ...]] = []
        self.rows = 0

    def read(self, number: int) -> None:
        """Read a source, as far as the limit allows."""
        source = self._request.sources[number]
        if not source.size:
            self.columns.append(())
            self.warnings.append(("the file is empty",))
            return
        table = open_rows(source, self._request.reading)
        count = sum(1 for row in self._within(table) if self._take(row))
        self.columns.append(tuple(table.table.columns))
        self.warnings.append(tuple(table.table.warnings()))
        size = self._request.part_rows
        for first in range(0, count, size):
            self.parts.append(Part(len(self.parts), number, first, min(size, count - first)))

    def _within(self, rows: Iterable[InputRow]) -> Iterator[InputRow]:
        limit = self._request.limit
        for row in rows:
            if limit is not None and self.rows >= limit:
                return
            yield row

    def _take(self, row: InputRow) -> bool:
        self.rows += 1
        if self._check(row) is None:
            self._writer.add(row.mention(self._request.kind))
        return True


def checker(kinds: tuple[str, ...], kind: str | None) -> Check:
    """Return what says why a row cannot be linked; None where it can.

    Args:
        kinds: of the knowledge base.
        kind: of the rows that name none.
    """

    def check(row: InputRow) -> str | None:
        try:
            mention = row.mention(kind)
        except MentionError as error:
            return str(error)
        if mention.kind is not None and mention.kind not in kinds:
            return f"the mention's kind is none of the knowledge base's: expected {', '.join(kinds)}, or none"
        return None

    return check


def make_plan(request: Request, folder: Folder, check: Check) -> Plan:
    """Read the input of a request, and keep its plan and its mentions in a folder.

    Raises:
        BulkError: where a source cannot be read as a whole.
        OSError: where the folder cannot be written.
    """
    with atomic_write(folder.mentions) as temporary:
        temporary.unlink()
        writer = MentionWriter(temporary)
        planner = _Planner(request, writer, check)
        for number in range(len(request.sources)):
            try:
                planner.read(number)
            except TableError as error:
                raise BulkError(f"the input cannot be read: {error}") from error
        mentions = writer.close()
    plan = Plan(request, tuple(planner.parts), tuple(planner.columns), tuple(planner.warnings), planner.rows, mentions)
    with atomic_write(folder.plan) as temporary:
        temporary.write_bytes(schema.encode(plan))
    return plan


def read_plan(folder: Folder) -> Plan | None:
    """Return the plan of a folder; None where there is none yet.

    Raises:
        BulkError: where it is damaged.
    """
    try:
        content = folder.plan.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise BulkError(f"{folder.plan}: cannot be read ({error.strerror})") from error
    return schema.decode(
        Plan, content, str(folder.plan), error=BulkError, remedy="begin another run in another folder", shown=True
    )


def require_same(plan: Plan, request: Request) -> None:
    """Refuse to go on with a run that another request has begun.

    Raises:
        BulkError: naming what differs.
    """
    found = plan.request.differences(request)
    if found:
        raise BulkError(
            f"the folder holds a run of another request, which differs in {', '.join(found)}; give the same, or "
            "another folder"
        )
