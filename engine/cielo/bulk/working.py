"""The work of a run: a fragment's mentions are linked, then its rows are written, by whoever claims it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol, cast

from cielo.bulk.fragments import NO_MENTION, LinkStore, read_planned, write_links
from cielo.bulk.layout import RunFolder
from cielo.bulk.leases import Leases
from cielo.bulk.records import BINS, BulkOptions, Done, Fragment, Plan, RowError
from cielo.errors import CieloError, MentionError, TableError
from cielo.files import exclusive_write, sha256_of
from cielo.link.linker import Linker
from cielo.link.progress import Told
from cielo.options import LinkOptions
from cielo.records import Json, Link, Mention
from cielo.tables.links import OutputColumns, joined_row, language_of, link_columns, write_rows
from cielo.text.language import Language, in_language

_WAIT = 0.1  # seconds, where all that is left is at work elsewhere
Step = Literal["link", "write"]


@dataclass(frozen=True, slots=True)
class Event:
    """A step that this process has finished.

    Attributes:
        step: what was done.
        fragment: with which.
        rows: written by the step, or mentions linked.
        seconds: that it took.
    """

    step: Step
    fragment: int
    rows: int
    seconds: float


class Watcher(Protocol):
    """Is told of mentions that are linked, while fragments are at work."""

    def advance(self, count: int = 1) -> None:
        """Count mentions that were linked just now, here or by another process."""

    def skip(self, count: int) -> None:
        """Count mentions that were linked before this process began."""


@dataclass(slots=True)
class Worker:
    """One process's part of a run.

    Attributes:
        folder, plan: of the run.
        options: how it is written.
        linking: how mentions are linked.
        linker: opened for them, without a cache.
        report: is told of each step that was done.
        watcher: is told of mentions while a step is at work; None: nobody is.
        written: rows that this process has written.
    """

    folder: RunFolder
    plan: Plan
    options: BulkOptions
    linking: LinkOptions
    linker: Linker
    report: Callable[[Event], None]
    watcher: Watcher | None = None
    written: int = 0
    _linked: int = 0  # fragments from the first on whose links are there
    _to_write: list[Fragment] = field(default_factory=list)
    _mine: set[int] = field(default_factory=set)  # fragments whose mentions the watcher was told of while they went

    def run(self) -> None:
        """Work until every fragment is written, by this process or others.

        Raises:
            TableError: where what is kept on the way is damaged.
            OSError: where a file cannot be written; the fragments that are done stay.
        """
        self._to_write = [entry for entry in self.plan.fragments if not self.folder.done(entry.number).exists()]
        self._advance(None if self.watcher is None else self.watcher.skip)
        with Leases(self.folder.leases, self.options.takeover) as leases:
            while self._to_write:
                try:
                    worked = self._step(leases)
                except (TableError, OSError):
                    # One that stood still for long can find the run finished, and what it was at removed.
                    if not self.folder.manifest.exists():
                        raise
                    return
                if not worked:
                    time.sleep(_WAIT)

    def _step(self, leases: Leases) -> bool:
        self._advance(None if self.watcher is None else self.watcher.advance)
        # What can be written is written first: so links are read while they are still in the system's memory.
        for fragment in self._to_write:
            if fragment.number >= self._linked:
                break
            if self._claimed(leases, "write", fragment):
                return True
        self._to_write = [entry for entry in self._to_write if not self.folder.done(entry.number).exists()]
        return any(
            self._claimed(leases, "link", fragment)
            for fragment in self.plan.fragments[self._linked :]
            if not self.folder.links(fragment.number).exists()
        )

    def _advance(self, told: Told | None) -> None:
        while self._linked < len(self.plan.fragments) and self.folder.links(self._linked).exists():
            if told is not None and self._linked not in self._mine:
                told(self.plan.fragments[self._linked].distinct)
            self._linked += 1

    def _claimed(self, leases: Leases, step: Step, fragment: Fragment) -> bool:
        """Do a step if nobody has done it or is at it; tell whether it was done here."""
        target = (self.folder.links if step == "link" else self.folder.done)(fragment.number)
        if target.exists():
            return False
        with leases.claim(f"{step}-{fragment.number:06}") as claimed:
            if not claimed or target.exists():
                return False
            started = time.perf_counter()
            rows = (self._link if step == "link" else self._write)(fragment, leases)
            self.report(Event(step, fragment.number, rows, time.perf_counter() - started))
            return True

    def _link(self, fragment: Fragment, _: Leases) -> int:
        mentions = [entry.mention for entry in read_planned(self.folder, fragment) if entry.mention is not None]
        self._mine.add(fragment.number)
        links = self._checked(mentions) if self.options.only_errors else self._answers(mentions)
        target = self.folder.links(fragment.number)
        with exclusive_write(target, self.folder.scratch) as temporary, temporary.open("wb") as stream:
            write_links(stream, links)
        return len(mentions)

    def _answers(self, mentions: list[Mention]) -> list[dict[str, Json]]:
        told = None if self.watcher is None else self.watcher.advance
        outcomes = self.linker.link_each(mentions, self.linking, progress=told)
        return [
            link_columns(entry, self.options.thresholds) if isinstance(entry, Link) else {"error": entry.said}
            for entry in outcomes
        ]

    def _checked(self, mentions: list[Mention]) -> list[dict[str, Json]]:
        return [self._fault(mention) for mention in mentions]

    def _fault(self, mention: Mention) -> dict[str, Json]:
        try:
            self.linker.check(mention)
        except MentionError as error:
            return {"error": error.said}
        return {}

    def _write(self, fragment: Fragment, leases: Leases) -> int:
        tally = _Tally(self.options.style.language)
        part = self.folder.part(fragment.number, self.options.form)
        columns = OutputColumns(
            self.plan.columns,
            self.linking.top_k,
            decision=not self.options.only_errors,
            proof=self.linker.provenance(self.linking).decoding == "constrained",
        )
        store = LinkStore(self.folder, self.plan.fragments)
        try:
            with exclusive_write(part, self.folder.scratch) as temporary:
                with temporary.open("wb") as stream:
                    rows = self._rows(fragment, store, tally)
                    write_rows(stream, self.options.form, rows, style=self.options.style, columns=columns)
                if not leases.holds():  # this process stood still for so long that another one has the fragment
                    raise _LostError
        except _LostError:
            return 0
        finally:
            store.close()
        self.folder.keep(self.folder.done(fragment.number), tally.done(fragment.number, part))
        self.written += fragment.rows
        return fragment.rows

    def _rows(self, fragment: Fragment, store: LinkStore, tally: _Tally) -> Iterator[dict[str, Json]]:
        language = language_of(self.options.form, self.options.style)
        for planned in read_planned(self.folder, fragment):
            row = planned.row
            columns: dict[str, Json] = (
                {"error": row.error} if planned.ordinal == NO_MENTION else store.get(planned.ordinal)
            )
            tally.add(row.number, columns)
            if not self.options.only_errors or "error" in columns:
                yield joined_row(row, columns, language)


class _LostError(CieloError):
    """The lease was taken over by another process."""


@dataclass(slots=True)
class _Tally:
    language: Language
    linked: int = 0
    methods: Counter[str] = field(default_factory=Counter)
    decisions: Counter[str] = field(default_factory=Counter)
    bins: list[int] = field(default_factory=lambda: [0] * BINS)
    errors: list[RowError] = field(default_factory=list)

    def add(self, number: int, columns: dict[str, Json]) -> None:
        if "error" in columns:
            self.errors.append(RowError(number, in_language(cast(str, columns["error"]), self.language)))
            return
        self.linked += 1
        if columns:
            self.methods[str(columns["method"])] += 1
            self.decisions[str(columns["decision"])] += 1
            confidence = columns.get("confidence")
            if isinstance(confidence, int | float):
                self.bins[min(BINS - 1, int(confidence * BINS))] += 1

    def done(self, number: int, part: Path) -> Done:
        methods, decisions = (dict(sorted(counts.items())) for counts in (self.methods, self.decisions))
        return Done(
            number, part.name, sha256_of(part), self.linked, methods, decisions, tuple(self.bins), tuple(self.errors)
        )
