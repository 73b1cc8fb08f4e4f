"""A run: plan, units, parts, end. Several processes, and several machines, can work at one folder at the same time.

Whatever is done is a file that appeared whole; whatever is worked at is claimed. So a run that was killed goes on where
it was, and its output has the same bytes as that of one that never was.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from cielo import schema
from cielo.bulk.folder import Folder
from cielo.bulk.leases import claimed
from cielo.bulk.mentions import Mentions, opened
from cielo.bulk.parts import PartMaker, keep, kept
from cielo.bulk.planning import Check, checker, make_plan, read_plan, require_same
from cielo.bulk.records import NO_CONFIDENCES, Measured, PartSummary, Plan, Request, Summary
from cielo.bulk.sources import rows_of
from cielo.bulk.units import link_unit, write_unit
from cielo.errors import BulkError, remedy_for
from cielo.files import atomic_write
from cielo.link.linker import Linker
from cielo.machine import library_versions

Step = Literal["read", "linked", "written"]
_WAIT_SECONDS = 1.0  # for what others work at


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is: of one step so much is done, by all who work at it. `mentions`: linked by this process."""

    step: Step
    done: int
    of: int
    mentions: int = 0


Tell: TypeAlias = Callable[[Progress], None]


class Run:
    """One process's work at a run.

    Attributes:
        linked: mentions that this process has linked.
    """

    def __init__(
        self, folder: Path, request: Request, linker: Linker, *, stale_seconds: float, tell: Tell = lambda _: None
    ) -> None:
        """Hold what is to be done.

        Args:
            folder: of the output.
            request: what is asked for.
            linker: that links; its bundle and options are those of the request.
            stale_seconds: after which the work of a process that does not show that it lives is taken over.
            tell: hears of each step.
        """
        self._folder, self._request, self._linker = Folder(folder), request, linker
        self._stale, self._tell = stale_seconds, tell
        self._check: Check = checker(linker.kinds, request.kind)
        self.linked = 0
        self._began = time.monotonic()

    def work(self) -> Summary:
        """Do what is left of the run, together with whoever else works at it, and return what it did.

        Raises:
            BulkError: where the folder holds another request's run, or a file cannot be read or written.
        """
        self._folder.make()
        try:
            plan = self._plan()
            if not self._folder.summary.exists():
                with opened(self._folder.mentions) as mentions:
                    self._link(plan, mentions)
                    self._write(plan, mentions)
            return self._finish(plan)
        except OSError as error:
            named = error.filename or self._folder.path
            raise BulkError(
                f"{named}: cannot be written ({error.strerror}); "
                f"{remedy_for(error, 'mend that')}, and run the same command again: it goes on where it was"
            ) from error

    def _plan(self) -> Plan:
        while True:
            plan = read_plan(self._folder)
            if plan is not None:
                require_same(plan, self._request)
                return plan
            with claimed(self._folder.lease("plan"), self._stale) as lease:
                if lease is not None and read_plan(self._folder) is None:
                    plan = make_plan(self._request, self._folder, self._check)
                    self._tell(Progress("read", plan.rows, plan.rows))
                    return plan
            time.sleep(_WAIT_SECONDS)

    def _link(self, plan: Plan, mentions: Mentions) -> None:
        size = plan.request.unit_mentions

        def link(number: int, is_held: Callable[[], bool]) -> None:
            unit = mentions.unit(number, size)
            links = link_unit(self._linker, unit, plan.request.options)
            if is_held():
                write_unit(self._folder.unit(number), links)
                self.linked += len(unit)

        self._all("linked", "unit", plan.units, lambda number: self._is_there(self._folder.unit(number)), link)

    def _write(self, plan: Plan, mentions: Mentions) -> None:
        maker = PartMaker(plan, self._folder, mentions, self._check)

        def write(number: int, is_held: Callable[[], bool]) -> None:
            try:
                summary = maker.write(plan.parts[number])
            except BulkError:
                if self._folder.summary.exists():  # others were faster, and have cleared what it is made of
                    return
                raise
            if is_held():
                keep(self._folder, summary)

        self._all("written", "part", len(plan.parts), lambda number: self._is_there(self._folder.done(number)), write)

    def _is_there(self, path: Path) -> bool:
        """Tell whether a piece is done; at the end of the run its files are cleared."""
        return path.exists() or self._folder.summary.exists()

    def _all(
        self,
        step: Step,
        name: str,
        count: int,
        is_done: Callable[[int], bool],
        do: Callable[[int, Callable[[], bool]], None],
    ) -> None:
        """Do every piece of a step that is not done and that nobody else works at, until all are done."""
        left = [number for number in range(count) if not is_done(number)]
        while left:
            before = len(left)
            for number in left:
                if is_done(number):
                    continue
                with claimed(self._folder.lease(f"{name}-{number:06}"), self._stale) as lease:
                    if lease is not None and not is_done(number):
                        do(number, lease.is_held)
                self._tell(Progress(step, count - sum(not is_done(one) for one in left), count, self.linked))
            left = [number for number in left if not is_done(number)]
            if len(left) == before:
                time.sleep(_WAIT_SECONDS)

    def _finish(self, plan: Plan) -> Summary:
        while not self._folder.summary.exists():
            with claimed(self._folder.lease("end"), self._stale) as lease:
                if lease is not None and not self._folder.summary.exists():
                    self._end(plan)
                    continue
            time.sleep(_WAIT_SECONDS)
        return read_summary(self._folder.path)

    def _end(self, plan: Plan) -> None:
        parts = [kept(self._folder, part.number) for part in plan.parts]
        with atomic_write(self._folder.errors) as temporary, temporary.open("wb") as stream:
            for part in plan.parts:
                stream.write(self._folder.part_errors(part.number).read_bytes())
        with atomic_write(self._folder.summary) as temporary:
            temporary.write_bytes(schema.encode(self._summary(plan, parts)))
        # They hold the texts of the mentions, and the run is done.
        self._folder.mentions.unlink(missing_ok=True)
        for number in range(plan.units):
            self._folder.unit(number).unlink(missing_ok=True)

    def _summary(self, plan: Plan, parts: list[PartSummary]) -> Summary:
        methods: Counter[str] = Counter()
        for part in parts:
            methods.update(part.methods)
        seconds = time.monotonic() - self._began
        rate = plan.rows / seconds if seconds else 0.0
        sums = [sum(counts) for counts in zip(*(part.confidences for part in parts), strict=True)]
        return Summary(
            rows=plan.rows,
            mentions=plan.mentions,
            errors=sum(part.errors for part in parts),
            without_code=sum(part.without_code for part in parts),
            methods=dict(sorted(methods.items())),
            confidences=tuple(sums) or NO_CONFIDENCES,
            parts=len(parts),
            request=plan.request,
            measured=Measured(round(seconds, 3), round(rate, 1), self.linked, library_versions()),
        )  # fmt: skip


def read_summary(folder: Path) -> Summary:
    """Return what a run that is done did.

    Raises:
        BulkError: where there is none.
    """
    path = Folder(folder).summary
    try:
        content = path.read_bytes()
    except OSError as error:
        raise BulkError(f"{path}: cannot be read ({error.strerror}); is the run done?") from error
    return schema.decode(Summary, content, str(path), error=BulkError, remedy="begin another run", shown=True)


def faults(request: Request, check: Check) -> Iterator[tuple[str, int, str]]:
    """Yield what is wrong with rows of the input: source, line and reason. Nothing is linked.

    Raises:
        TableError: where a source cannot be read as a whole.
    """
    for source in request.sources:
        if source.size:
            for row in rows_of(source, request.reading):
                reason = check(row)
                if reason is not None:
                    yield source.path, row.number, reason
