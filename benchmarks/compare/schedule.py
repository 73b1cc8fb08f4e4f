"""Who works when: the turns of the rivals, the memory that they share, and what is noted of each."""

from __future__ import annotations

import contextlib
import json
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.compare.records import Contender, Settings, block, plan_residents
from benchmarks.rivals.process import RivalError, RivalProcess

TRIALS = 3  # prompts on which a rival's settings are tried
SCORED_BATCH = 4  # prompts at once where scores are wanted: PyTorch keeps the logits of every step
PREPARING_SECONDS = 7_200.0


class Schedule:
    """Runs the rivals by turns."""

    def __init__(
        self, entries: Sequence[Contender], prompts: Sequence[str], ids: list[list[int]], settings: Settings, logs: Path
    ) -> None:
        self.entries = list(entries)
        self._prompts = list(prompts)
        self._ids = ids
        self._settings = settings
        self._logs = logs

    def run(self) -> None:
        """Prepare, try, measure and compare; whatever a rival does, the others go on."""
        try:
            for entry in self.entries:
                self._prepare(entry)
                self._try_variants(entry)
            needs = {entry.rival.name: entry.need(self._settings.widest) for entry in self._sound()}
            residents = plan_residents(needs, self._settings.memory)
            for entry in self._sound():
                entry.in_turns = entry.rival.name not in residents
            for number in range(self._settings.rounds):
                self._round(number)
            for decoding in self._settings.decodings:
                for entry in self._sound():
                    if decoding in entry.rival.decodings:
                        self._compare(entry, decoding)
        finally:
            for entry in self.entries:
                self._close(entry)

    def _sound(self) -> list[Contender]:
        return [entry for entry in self.entries if entry.failure is None]

    def _prepare(self, entry: Contender) -> None:
        """Let a rival make its files; what an earlier run made is taken."""
        if entry.failure or not entry.rival.prepares:
            return
        done = entry.directory / "prepared.json"
        if not done.is_file():
            say(f"{entry.rival.name}: preparing")
            partial = entry.directory.with_name(f"{entry.directory.name}.partial")
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
            process = self._spawn(entry)
            try:
                inputs = entry.inputs.to_dict()
                answer = process.ask("prepare", PREPARING_SECONDS, inputs=inputs, directory=str(partial))
            except RivalError as error:
                entry.failure = f"not prepared: {error}"
                say(f"{entry.rival.name}: {entry.failure}")
                return
            finally:
                process.close()
            (partial / done.name).write_text(json.dumps({"seconds": answer["seconds"]}), encoding="utf-8")
            shutil.rmtree(entry.directory, ignore_errors=True)
            partial.rename(entry.directory)
        entry.prepared = json.loads(done.read_text(encoding="utf-8"))["seconds"]

    def _spawn(self, entry: Contender) -> RivalProcess:
        rival = entry.rival
        return RivalProcess(
            rival.module, entry.interpreter, entry.variant.environment, self._logs / f"{rival.name}.log"
        )

    def _try_variants(self, entry: Contender) -> None:
        """Open a rival alone with each of its settings, and keep the fastest."""
        if entry.failure:
            return
        failure = None
        for variant in entry.rival.variants:
            entry.variant = variant
            try:
                entry.tried[variant.name] = self._try(entry)
            except RivalError as error:
                entry.tried[variant.name] = failure = str(error)
            finally:
                self._close(entry)
            tried = entry.tried[variant.name]
            told = f"{tried:.2f} s for {TRIALS} prompts" if isinstance(tried, float) else tried
            say(f"{entry.rival.name}, {variant.name}: {told}")
        times = {name: seconds for name, seconds in entry.tried.items() if isinstance(seconds, float)}
        if not times:
            entry.failure = failure
            return
        fastest = min(times, key=lambda name: times[name])
        entry.variant = next(variant for variant in entry.rival.variants if variant.name == fastest)

    def _try(self, entry: Contender) -> float:
        """Return the seconds of a few prompts, one at a time."""
        process = self._open(entry)
        if entry.ids_differ is None:
            own = process.ask("encode", self._settings.timeout, prompts=self._prompts)["ids"]
            entry.ids_differ = sum(one != other for one, other in zip(own, self._ids, strict=True))
        calls = block(0, 1, TRIALS, len(self._ids))
        first = entry.rival.decodings[0]
        return sum(float(self._call(entry, process, call, first)["seconds"]) for call in calls)

    def _open(self, entry: Contender) -> RivalProcess:
        """Return the rival's process, opened and warmed up by one prompt.

        Raises:
            RivalError: where it cannot be opened.
        """
        if entry.process is not None:
            return entry.process
        start = time.perf_counter()
        entry.warm.clear()
        process = entry.process = self._spawn(entry)
        answer = process.ask(
            "open",
            self._settings.timeout,
            inputs=entry.inputs.to_dict(),
            directory=str(entry.directory),
            options=dict(entry.variant.options),
        )
        entry.opened.append(time.perf_counter() - start)
        entry.about = answer["describe"]
        self._call(entry, process, [0], entry.rival.decodings[0])
        return process

    def _call(
        self, entry: Contender, process: RivalProcess, rows: Sequence[int], decoding: str, *, scores: bool = False
    ) -> dict[str, Any]:
        ids = [self._ids[row] for row in rows]
        answer = process.ask("run", self._settings.timeout, ids=ids, decoding=decoding, scores=scores)
        entry.steady = answer["resident"]
        entry.peak = max(entry.peak, answer["peak"])
        return answer

    def _close(self, entry: Contender) -> None:
        if entry.process is not None:
            entry.process.close()
            entry.process = None

    def _round(self, number: int) -> None:
        cells = [(decoding, batch) for decoding in self._settings.decodings for batch in self._settings.batches]
        sound = _rotated(self._sound(), number)
        for entry in sound:
            if entry.in_turns:
                for decoding, batch in cells:
                    self._turn(entry, decoding, batch, number)
                self._close(entry)
        together = [entry for entry in sound if not entry.in_turns]
        for place, (decoding, batch) in enumerate(cells):
            for entry in _rotated(together, place):
                self._turn(entry, decoding, batch, number)

    def _turn(self, entry: Contender, decoding: str, batch: int, number: int) -> None:
        cell = entry.cells[decoding, batch]
        if cell.failure or not cell.has_time(self._settings.seconds):
            return
        calls, (others, *_) = (block(at, batch, self._settings.singles, len(self._ids)) for at in (number, number + 1))
        try:
            answers = self._answers(entry, calls, decoding, warm_up=others if batch > 1 else None)
        except RivalError as error:
            cell.failure = str(error)
            say(f"round {number + 1}, {decoding}, batch {batch}: {entry.rival.name}: {error}")
            return
        for call, answer in zip(calls, answers, strict=True):
            cell.samples.append((number, answer["seconds"], len(call)))
            cell.texts += [(row, text) for row, (text, _) in zip(call, answer["outputs"], strict=True)]
        took = sum(answer["seconds"] for answer in answers) / sum(map(len, calls))
        say(f"round {number + 1}, {decoding}, batch {batch}: {entry.rival.name} {1e3 * took:,.1f} ms per mention")

    def _answers(
        self,
        entry: Contender,
        calls: Sequence[Sequence[int]],
        decoding: str,
        *,
        scores: bool = False,
        warm_up: Sequence[int] | None = None,
    ) -> list[dict[str, Any]]:
        """Make calls, the rival alone at work; where it is killed beside others, once more without them.

        Raises:
            RivalError: where it gives no answer.
        """

        def answer() -> list[dict[str, Any]]:
            with self._at_work(entry):
                process = self._open(entry)
                if warm_up is not None and (decoding, len(warm_up)) not in entry.warm:
                    self._call(entry, process, warm_up, decoding)
                    entry.warm.add((decoding, len(warm_up)))
                return [self._call(entry, process, call, decoding, scores=scores) for call in calls]

        try:
            return answer()
        except RivalError as error:
            others = [other for other in self.entries if other.process is not None and other is not entry]
            if not (error.killed and others):
                raise
            for other in others:
                self._close(other)
            return answer()

    @contextlib.contextmanager
    def _at_work(self, entry: Contender) -> Iterator[None]:
        """Forget the rival's process where it ends, and note what time of the processor the others took meanwhile."""
        others = [other for other in self.entries if other.process is not None and other is not entry]
        waiting = [(other, other.process.cpu_seconds()) for other in others if other.process is not None]
        start = time.perf_counter()
        try:
            yield
        finally:
            wall = time.perf_counter() - start
            if entry.process is not None and not entry.process.alive:
                entry.process = None
            for other, before in waiting:
                if other.process is not None:
                    other.idle += other.process.cpu_seconds() - before
                    other.idle_wall += wall

    def _compare(self, entry: Contender, decoding: str) -> None:
        """Have the outputs and scores of the first prompts; this is not timed."""
        rows = list(range(self._settings.compared))
        calls = [rows[at : at + SCORED_BATCH] for at in range(0, len(rows), SCORED_BATCH)]
        steady, peak = entry.steady, entry.peak  # those of the timed calls: keeping scores takes memory
        say(f"outputs, {decoding}: {entry.rival.name}")
        try:
            answers = self._answers(entry, calls, decoding, scores=True)
        except RivalError as error:
            entry.output_failures[decoding] = str(error)
            return
        finally:
            entry.steady, entry.peak = steady, peak
            if entry.in_turns:
                self._close(entry)
        entry.outputs[decoding] = [(text, score) for answer in answers for text, score in answer["outputs"]]


def _rotated(entries: Sequence[Contender], number: int) -> list[Contender]:
    """Return them in their order, beginning with another each time."""
    shift = number % len(entries) if entries else 0
    return [*entries[shift:], *entries[:shift]]


def say(line: str) -> None:
    """Tell how far the comparison is."""
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()
