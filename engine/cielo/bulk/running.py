"""A run from its beginning to its end: begun or gone on with, planned, worked at, and finished."""

from __future__ import annotations

import contextlib
import csv
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from cielo import schema
from cielo.bulk.fragments import read_planned
from cielo.bulk.identity import identity_of
from cielo.bulk.inputs import Source, find_sources, input_files
from cielo.bulk.layout import RunFolder
from cielo.bulk.leases import Leases
from cielo.bulk.planning import make_plan
from cielo.bulk.records import (
    BINS,
    BulkOptions,
    Done,
    Identity,
    InputFile,
    Manifest,
    Part,
    Plan,
    Summary,
)
from cielo.bulk.working import Event, Watcher, Worker
from cielo.bundle.layout import Bundle, default_bundle
from cielo.bundle.prompts import Prompts
from cielo.errors import OptionError, TableError, remedy_for
from cielo.files import atomic_write, sha256_of, temporary_file
from cielo.link.linker import Linker
from cielo.options import LinkOptions
from cielo.tables.formats import require_library
from cielo.text.kinds import kind_of
from cielo.text.language import say, speaking

_WAIT = 0.2  # seconds, while another process plans or finishes
_SAMPLE = 256  # mentions that are linked to measure the speed


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a run would be.

    Attributes:
        rows: of the input.
        distinct: mentions that would be linked.
        fragments: into which it would be cut.
        sample: mentions that were linked to measure the speed.
        mentions_per_second: of that sample.
        seconds: that linking would take at this speed, in one process.
    """

    rows: int
    distinct: int
    fragments: int
    sample: int
    mentions_per_second: float
    seconds: float


class Run:
    """A run of one process on an output directory, which others may share.

    Args:
        inputs: files, folders and patterns.
        output: the directory.
        linker: opened without a cache.
        linking: how mentions are linked.
        options: how the run is cut and written.
        bundle: the linker's; None: the default.

    Raises:
        TableError: where an input cannot be read.
        OptionError: where the mentions' kind is none of the knowledge base's.
    """

    def __init__(
        self,
        inputs: Sequence[str],
        output: Path,
        linker: Linker,
        linking: LinkOptions | None = None,
        options: BulkOptions | None = None,
        *,
        bundle: Path | None = None,
    ) -> None:
        self.folder = RunFolder(output)
        self.options = options or BulkOptions()
        self.linking = linking or LinkOptions()
        self._linker = linker
        if self.options.kind is not None and kind_of(self.options.kind, linker.kinds) is None:
            raise OptionError(f"got kind {self.options.kind!r}, expected one of {', '.join(linker.kinds)}")
        require_library("the output", self.options.form)
        self._sources: list[Source] = find_sources(inputs)
        self._prompts = Prompts.of(Bundle.open(bundle or default_bundle()))
        self._inputs = input_files(self._sources)
        inside = output.resolve()
        if any(inside in Path(entry.name).resolve().parents for entry in self._inputs):
            raise OptionError(f"{output}: holds files of the input; name another output directory")

    def estimate(self) -> Estimate:
        """Return what the run would be, and write nothing that stays.

        Raises:
            TableError: where an input cannot be read.
        """
        with tempfile.TemporaryDirectory() as scratch:
            folder = RunFolder(Path(scratch) / "run")
            folder.make()
            plan = make_plan(folder, self._sources, self.options, self._prompts)
            mentions = []
            for fragment in plan.fragments:
                mentions += [entry.mention for entry in read_planned(folder, fragment) if entry.mention is not None]
                if len(mentions) >= _SAMPLE:
                    break
            sample = mentions[:_SAMPLE]
            started = time.perf_counter()
            linked = sum(1 for _ in self._linker.link_each(sample, self.linking))
            speed = linked / max(1e-9, time.perf_counter() - started)
        seconds = plan.distinct / speed if linked else 0.0
        return Estimate(plan.rows, plan.distinct, len(plan.fragments), linked, speed if linked else 0.0, seconds)

    @contextlib.contextmanager
    def _refusals_named(self) -> Iterator[None]:
        """Say of what the system refuses that it was in the output directory: its own errors need not name a file."""
        try:
            yield
        except BrokenPipeError:
            raise  # the reader of standard output has gone
        except OSError as error:
            remedy = remedy_for(error, "mend that, and run the same command again")
            reason = error.strerror or type(error).__name__
            raise TableError(f"{self.folder.path}: cannot be written ({reason}); {remedy}") from error

    def prepare(self) -> Plan:
        """Begin the run or go on with it, and return its plan; another process may be the one that makes it.

        Raises:
            TableError: where the directory cannot be used or written, or is of a run with another input, bundle or
                options.
        """
        with self._refusals_named():
            return self._prepare()

    def _prepare(self) -> Plan:
        self.folder.make()
        identity = self._identity(self._inputs)
        self.folder.keep(self.folder.identity, identity)
        known = self.folder.read(self.folder.identity, Identity)
        differences = [] if known is None else known.differences(identity)
        if differences:
            shown = "".join(f"\n  {difference}" for difference in differences)
            raise TableError(
                f"{self.folder.path}: is of a run with other settings:{shown}\n"
                "give what it was begun with, or name another output directory"
            )
        with Leases(self.folder.leases, self.options.takeover) as leases:
            while True:
                plan = self.folder.read(self.folder.plan, Plan)
                if plan is not None:
                    return plan
                with leases.claim("plan") as claimed:
                    if claimed:
                        self._plan()
                if not claimed:
                    time.sleep(_WAIT)

    def work(
        self, plan: Plan, report: Callable[[Event], None] = lambda _: None, watcher: Watcher | None = None
    ) -> Summary:
        """Work until all is written, finish the run, and return what it gave.

        Args:
            plan: that `prepare` returned.
            report: is told of each step that was done here.
            watcher: is told of mentions, of `Plan.distinct` in all.

        Raises:
            TableError: where what is kept on the way is damaged, or a file cannot be written; what is done stays.
        """
        with self._refusals_named():
            return self._work(plan, report, watcher)

    def _work(self, plan: Plan, report: Callable[[Event], None], watcher: Watcher | None) -> Summary:
        started = time.perf_counter()
        written = 0
        while self.folder.read(self.folder.manifest, Manifest) is None:
            worker = Worker(self.folder, plan, self.options, self.linking, self._linker, report, watcher)
            worker.run()
            written += worker.written
            with Leases(self.folder.leases, self.options.takeover) as leases, leases.claim("finish") as claimed:
                if claimed and not self.folder.manifest.exists():
                    self._finish(plan)
            if not claimed:
                time.sleep(_WAIT)
        self._clean(plan)
        summary = self._summary(plan, time.perf_counter() - started, written)
        if written or not self.folder.summary.exists():
            with atomic_write(self.folder.summary) as temporary:
                temporary.write_bytes(schema.encode(summary))
        return summary

    def _identity(self, inputs: tuple[InputFile, ...]) -> Identity:
        return identity_of(self._linker, self.linking, self.options, inputs)

    def _plan(self) -> None:
        if self.folder.plan.exists():
            return
        plan = make_plan(self.folder, self._sources, self.options, self._prompts)
        if input_files(self._sources) != self._inputs:
            raise TableError("the input changed while it was read; remove the output directory, and run again")
        self.folder.keep(self.folder.plan, plan)

    def _finish(self, plan: Plan) -> None:
        """Check every part, write what is written once for all, and remove what was needed on the way."""
        if self._remove_altered(plan):
            return
        parts = []
        with atomic_write(self.folder.errors) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
            style = self.options.style
            file.write("\ufeff" * style.bom)
            writer = csv.writer(file, delimiter=style.delimiter)
            with speaking(style.language):
                writer.writerow([say("file"), say("row"), say("error")])
            for done, fragment in zip(self._done(plan), plan.fragments, strict=True):
                parts.append(Part(done.part, done.sha256))
                name = self._inputs[fragment.file].name
                writer.writerows([name, error.row, error.reason] for error in done.errors)
        self.folder.keep(
            self.folder.manifest, Manifest(identity=self._identity(self._inputs), plan=plan, parts=tuple(parts))
        )

    def _clean(self, plan: Plan) -> None:
        """Remove what was needed on the way: it holds the input's texts."""
        for fragment in plan.fragments:
            self.folder.rows(fragment.number).unlink(missing_ok=True)
            self.folder.links(fragment.number).unlink(missing_ok=True)
        with temporary_file(self.folder.scratch):  # whose making removes what killed processes left there
            pass

    def _remove_altered(self, plan: Plan) -> bool:
        """Remove the records of parts that are not as they were written, so that they are written again."""
        altered = False
        for done in self._done(plan):
            part = self.folder.path / done.part
            if not part.exists() or sha256_of(part) != done.sha256:
                part.unlink(missing_ok=True)
                self.folder.done(done.number).unlink(missing_ok=True)
                altered = True
        return altered

    def _done(self, plan: Plan) -> Iterator[Done]:
        for fragment in plan.fragments:
            done = self.folder.read(self.folder.done(fragment.number), Done)
            if done is not None:
                yield done

    def _summary(self, plan: Plan, seconds: float, written: int) -> Summary:
        methods: Counter[str] = Counter()
        decisions: Counter[str] = Counter()
        bins = [0] * BINS
        linked = errors = 0
        for done in self._done(plan):
            methods.update(done.methods)
            decisions.update(done.decisions)
            bins = [sum(pair) for pair in zip(bins, done.confidences, strict=True)]
            linked, errors = linked + done.linked, errors + len(done.errors)
        return Summary(
            rows=plan.rows, linked=linked, errors=errors, distinct=plan.distinct,
            methods=dict(sorted(methods.items())), decisions=dict(sorted(decisions.items())),
            confidences=tuple(bins), seconds=round(seconds, 3),
            rows_written=written, rows_per_second=round(written / max(seconds, 1e-9), 1),
            identity=self._identity(self._inputs),
        )  # fmt: skip
