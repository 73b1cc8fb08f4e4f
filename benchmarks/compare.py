"""One model, several ways to run it: ``python -m benchmarks.compare --checkpoint DIR --bundle DIR --output DIR``.

Each rival works in a process of its own, so that its memory is its own and a crash of one is a line of the table.
In every round, for each search and batch size, the rivals take turns on the very same prompts, in an order that
rotates; one works at a time, the others wait for a command. All get the same token ids, all processors that this
process may use, five beams and five hypotheses, and are timed from ids to texts. Where a rival has settings to choose
from, each is tried on a few prompts first and the fastest is taken; the table says which. The first call of each
batch size in a process is not timed.

Memory. Each rival is opened alone first, which shows what it takes. The smallest stay open as long as there is room
for the largest of the others beside them. Each of the others is opened once a round for all its turns.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cielo.bundle.layout import Bundle
from cielo.bundle.manifest import Manifest, PromptSettings
from cielo.machine import usable_cores
from cielo.text.prompt import build_prompt
from cielo.text.tokenizer import Tokenizer
from cielo.workbench.bench.system import describe_system
from cielo.workbench.bench.workload import load_workload

from benchmarks.rivals import BEAMS, DECODINGS, RIVALS, Inputs, Rival, Variant, find_rival
from benchmarks.rivals.process import RivalError, RivalProcess
from benchmarks.rivals.report import write_reports

BASELINE = "torch_float32"
FEWEST_ROUNDS = 3
TRIALS = 3  # prompts on which a rival's settings are tried
SCORED_BATCH = 4  # prompts at once where scores are wanted: PyTorch keeps the logits of every step
# What the widest batch takes beyond one prompt: some copies of the scores of all beams, four bytes for each token.
SCORE_COPIES = 6
HEADROOM_BYTES = 300_000_000
MEMORY_SHARE = 0.8
PREPARING_SECONDS = 7_200.0
# optimum-intel wants torchvision, whose build need not fit that of PyTorch; it serves images alone.
OPENVINO_PACKAGES = ("optimum-intel[openvino]==2.2.0", "transformers==4.57.6", "sentencepiece", "protobuf")


@dataclass(frozen=True, slots=True)
class Settings:
    """What is measured, and for how long.

    Attributes:
        batches: prompts in one call.
        decodings: of `DECODINGS`.
        rounds: turns of each rival for each search and batch size.
        singles: calls in a turn where the batch is one prompt.
        seconds: after `FEWEST_ROUNDS` turns, none is begun that would take a rival beyond so many seconds for one
            search and batch size.
        timeout: of one call.
        compared: prompts whose outputs are compared, scores among them.
        memory: bytes that the rivals may take together.
        widest: bytes that the widest batch takes beyond one prompt.
    """

    batches: tuple[int, ...]
    decodings: tuple[str, ...]
    rounds: int
    singles: int
    seconds: float
    timeout: float
    compared: int
    memory: int
    widest: int


@dataclass(slots=True)
class Cell:
    """One rival, one search, one batch size.

    Attributes:
        samples: round, seconds and mentions of each call.
        texts: prompt's number and best text of each output.
        failure: why it has no samples, or no more of them.
    """

    samples: list[tuple[int, float, int]] = field(default_factory=list)
    texts: list[tuple[int, str]] = field(default_factory=list)
    failure: str | None = None

    @property
    def spent(self) -> float:
        """Seconds of all calls."""
        return sum(seconds for _, seconds, _ in self.samples)

    def has_time(self, seconds: float) -> bool:
        """Tell whether another turn is due."""
        turns = len({number for number, _, _ in self.samples})
        return turns < FEWEST_ROUNDS or self.spent * (turns + 1) / turns <= seconds


@dataclass(slots=True)
class Entry:
    """A rival in the comparison, and all that is found out about it."""

    rival: Rival
    inputs: Inputs
    interpreter: str
    directory: Path
    cells: dict[tuple[str, int], Cell]
    variant: Variant
    failure: str | None = None
    tried: dict[str, float | str] = field(default_factory=dict)
    opened: list[float] = field(default_factory=list)
    prepared: float | None = None
    about: dict[str, Any] = field(default_factory=dict)
    ids_differ: int | None = None
    in_turns: bool = False
    peak: int = 0
    steady: int = 0
    idle: float = 0.0  # processor seconds taken while others worked
    idle_wall: float = 0.0
    outputs: dict[str, list[tuple[str, float | None]]] = field(default_factory=dict)
    output_failures: dict[str, str] = field(default_factory=dict)
    process: RivalProcess | None = None
    warm: set[tuple[str, int]] = field(default_factory=set)  # searches and batch sizes that its process has had

    def need(self, widest: int) -> int:
        """Return the bytes to count with: those of opening, or those of a wide batch."""
        return max(self.peak, self.steady + widest) + HEADROOM_BYTES


def plan_residents(needs: dict[str, int], memory: int) -> set[str]:
    """Return who stays open: the smallest, as many as leave room for the largest of the others."""
    order = sorted(needs, key=lambda name: (needs[name], name))
    for count in range(len(order), 0, -1):
        others = max((needs[name] for name in order[count:]), default=0)
        if sum(needs[name] for name in order[:count]) + others <= memory:
            return set(order[:count])
    return set()


def block(number: int, batch: int, singles: int, count: int) -> list[list[int]]:
    """Return the calls of a turn: the numbers of the prompts of each. All rivals get the same."""
    calls, size = (singles, 1) if batch == 1 else (1, batch)
    first = number * calls * size
    return [[(first + call * size + place) % count for place in range(size)] for call in range(calls)]


class Comparison:
    """Runs the rivals."""

    def __init__(
        self, entries: Sequence[Entry], prompts: Sequence[str], ids: list[list[int]], settings: Settings, logs: Path
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
                    self._compare(entry, decoding)
        finally:
            for entry in self.entries:
                self._close(entry)

    def _sound(self) -> list[Entry]:
        return [entry for entry in self.entries if entry.failure is None]

    def _prepare(self, entry: Entry) -> None:
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

    def _spawn(self, entry: Entry) -> RivalProcess:
        rival = entry.rival
        return RivalProcess(
            rival.module, entry.interpreter, entry.variant.environment, self._logs / f"{rival.name}.log"
        )

    def _try_variants(self, entry: Entry) -> None:
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

    def _try(self, entry: Entry) -> float:
        """Return the seconds of a few prompts, one at a time."""
        process = self._open(entry)
        if entry.ids_differ is None:
            own = process.ask("encode", self._settings.timeout, prompts=self._prompts)["ids"]
            entry.ids_differ = sum(one != other for one, other in zip(own, self._ids, strict=True))
        calls = block(0, 1, TRIALS, len(self._ids))
        return sum(float(self._call(entry, process, call, DECODINGS[0])["seconds"]) for call in calls)

    def _open(self, entry: Entry) -> RivalProcess:
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
        self._call(entry, process, [0], DECODINGS[0])
        return process

    def _call(
        self, entry: Entry, process: RivalProcess, rows: Sequence[int], decoding: str, *, scores: bool = False
    ) -> dict[str, Any]:
        ids = [self._ids[row] for row in rows]
        answer = process.ask("run", self._settings.timeout, ids=ids, decoding=decoding, scores=scores)
        entry.steady = answer["resident"]
        entry.peak = max(entry.peak, answer["peak"])
        return answer

    def _close(self, entry: Entry) -> None:
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

    def _turn(self, entry: Entry, decoding: str, batch: int, number: int) -> None:
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
        entry: Entry,
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
    def _at_work(self, entry: Entry) -> Iterator[None]:
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

    def _compare(self, entry: Entry, decoding: str) -> None:
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


def _rotated(entries: Sequence[Entry], number: int) -> list[Entry]:
    """Return them in their order, beginning with another each time."""
    shift = number % len(entries) if entries else 0
    return [*entries[shift:], *entries[:shift]]


def say(line: str) -> None:
    """Tell how far the comparison is."""
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def results(comparison: Comparison, about: dict[str, Any]) -> dict[str, Any]:
    """Return all that was found, as the JSON file holds it: every sample, no text."""
    base = next((entry for entry in comparison.entries if entry.rival.name == BASELINE), None)
    wanted = base.outputs if base is not None else {}
    return {**about, "rivals": [_result(entry, wanted) for entry in comparison.entries]}


def _result(entry: Entry, wanted: dict[str, list[tuple[str, float | None]]]) -> dict[str, Any]:
    return {
        "name": entry.rival.name,
        "title": entry.rival.title,
        "failure": entry.failure,
        "setting": entry.variant.name,
        "settings_tried": entry.tried,
        "about": entry.about,
        "prepared_seconds": entry.prepared,
        "open_seconds": entry.opened,
        "steady_bytes": entry.steady,
        "peak_bytes": entry.peak,
        "opened_in_turns": entry.in_turns,
        "prompts_encoded_differently": entry.ids_differ,
        "idle_cpu_share": entry.idle / entry.idle_wall if entry.idle_wall else 0.0,
        "cells": [
            {
                "decoding": decoding, "batch": batch, "failure": cell.failure,
                "samples": [list(sample) for sample in cell.samples],
                **_same_texts(cell.texts, wanted.get(decoding, [])),
            }
            for (decoding, batch), cell in entry.cells.items()
        ],
        "outputs": {decoding: _same_outputs(found, wanted.get(decoding)) for decoding, found in entry.outputs.items()},
        "output_failures": entry.output_failures,
    }  # fmt: skip


def _same_texts(found: list[tuple[int, str]], wanted: list[tuple[str, float | None]]) -> dict[str, int]:
    known = [(text, wanted[row][0]) for row, text in found if row < len(wanted)]
    return {"compared": len(known), "same": sum(text == other for text, other in known)}


def _same_outputs(
    found: list[tuple[str, float | None]], wanted: list[tuple[str, float | None]] | None
) -> dict[str, Any] | None:
    if wanted is None:
        return None
    pairs = list(zip(found, wanted, strict=True))
    differences = [abs(one - other) for (_, one), (_, other) in pairs if one is not None and other is not None]
    return {"compared": len(pairs), "same": sum(one[0] == two[0] for one, two in pairs), "differences": differences}


def make_entries(
    rivals: Sequence[Rival], options: argparse.Namespace, inputs: Inputs, settings: Settings
) -> list[Entry]:
    """Return the rivals, those that lack a bundle or an interpreter with the reason why they do not run."""
    bundles = {None: None, "cut": options.bundle, "full": options.bundle_full}
    made = []
    for rival in rivals:
        bundle = bundles[rival.bundle]
        entry = Entry(
            rival,
            replace(inputs, bundle=str(bundle.resolve()) if bundle else None),
            sys.executable,
            options.work.resolve() / _key(options.checkpoint) / rival.name,
            {(decoding, batch): Cell() for decoding in settings.decodings for batch in settings.batches},
            rival.variants[0],
        )
        if rival.bundle and bundle is None:
            entry.failure = f"no bundle was given (--bundle{'-full' if rival.bundle == 'full' else ''})"
        if rival.interpreter == "openvino":
            interpreter, entry.failure = openvino_python(options)
            entry.interpreter = str(interpreter)
        made.append(entry)
    return made


def _key(checkpoint: Path) -> str:
    """Return a name for the files made from a checkpoint; it changes with them."""
    files = sorted(path for path in checkpoint.iterdir() if path.is_file())
    told = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in files]
    return hashlib.sha256(json.dumps([str(checkpoint.resolve()), told]).encode()).hexdigest()[:16]


def openvino_python(options: argparse.Namespace) -> tuple[Path, str | None]:
    """Return the interpreter with OpenVINO, and why there is none where there is none."""
    own = options.work.resolve() / "openvino" / "bin" / "python"
    python = options.openvino_python or own
    if options.install_openvino and not python.exists():
        say("openvino_int8: installing")
        import torch

        version = torch.__version__.partition("+")[0]
        pip = [str(own), "-m", "pip"]
        commands = (
            [sys.executable, "-m", "venv", str(own.parents[1])],
            [*pip, "install", "--quiet", f"torch=={version}", *OPENVINO_PACKAGES],
            [*pip, "uninstall", "--quiet", "--yes", "torchvision"],
        )
        for command in commands:
            if subprocess.run(command, check=False, stdout=sys.stderr).returncode:
                shutil.rmtree(own.parents[1], ignore_errors=True)
                return own, f"not installed: {Path(command[0]).name} {command[2]} failed"
    if not python.exists():
        return python, "not installed (--install-openvino, or --openvino-python)"
    return python.absolute(), None  # not resolved: a virtual environment's python is a link


def read_prompts(options: argparse.Namespace, manifest: Manifest | None) -> tuple[list[str], dict[str, Any]]:
    """Return the prompts, and what may be said of where they come from."""
    workload = load_workload(options.prompts)
    settings = manifest.prompt if manifest else PromptSettings(prepare_sentence=True)
    prompts = [
        build_prompt(mention.text, mention.sentence, prepare=settings.prepare_sentence, window=settings.window)
        for mention in workload.mentions[: options.count]
    ]
    return prompts, {"name": workload.name, "sha256": workload.sha256, "prompts": len(prompts)}


def available_memory() -> int:
    """Return the bytes that are free or can be freed; 16 GB where the system does not tell."""
    try:
        for line in Path("/proc/meminfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 16_000_000_000


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.compare",
        description=(__doc__ or "").partition("\n")[0],
        formatter_class=argparse.RawTextHelpFormatter,
    )
    names = ",".join(rival.name for rival in RIVALS)
    parser.add_argument("--checkpoint", type=Path, required=True, help="an mT5 checkpoint with tokenizer.json")
    parser.add_argument("--bundle", type=Path, help="a bundle of it, for cielo")
    parser.add_argument("--bundle-full", type=Path, help="a bundle of it with all output tokens")
    parser.add_argument("--output", type=Path, required=True, help="gets results.json, table.md and the plots")
    parser.add_argument("--work", type=Path, default=Path("compare-work"), help="keeps what rivals had to prepare")
    parser.add_argument("--rivals", default=None, help=f"of {names},\nor paths of modules of one's own")
    parser.add_argument("--prompts", type=Path, help="a table with text and sentence; default: cielo's workload")
    parser.add_argument("--count", type=int, default=64, help="prompts taken from it")
    parser.add_argument("--compared", type=int, default=64, help="of these, outputs compared with PyTorch's")
    parser.add_argument("--batch", default="1,8,32", help="batch sizes")
    parser.add_argument("--decoding", default=",".join(DECODINGS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--singles", type=int, default=4, help="calls in a round where the batch is 1")
    parser.add_argument(
        "--seconds", type=float, default=300.0, help="for a rival, search and batch size, if rounds > 3"
    )
    parser.add_argument("--timeout", type=float, default=1_800.0, help="seconds that one call may take")
    parser.add_argument("--memory", type=float, help="GB that the rivals may take; default: 80 %% of what is free")
    parser.add_argument("--first-settings", action="store_true", help="take each rival's first setting, try no other")
    parser.add_argument("--openvino-python", type=Path, help="an interpreter that has optimum-intel and OpenVINO")
    parser.add_argument("--install-openvino", action="store_true", help="make one under --work (downloads gigabytes)")
    options = parser.parse_args(arguments)
    if options.rivals is None:
        left_out = set() if options.bundle_full else {"cielo_full"}
        options.rivals = ",".join(rival.name for rival in RIVALS if rival.name not in left_out)
    try:
        _check(options)
    except ValueError as error:
        parser.error(str(error))
    return options


def _check(options: argparse.Namespace) -> None:
    """Turn lists into tuples, and refuse what cannot be run."""
    options.rivals = [find_rival(name) for name in options.rivals.split(",")]
    if options.first_settings:
        options.rivals = [replace(rival, variants=rival.variants[:1]) for rival in options.rivals]
    options.batch = tuple(int(size) for size in options.batch.split(","))
    options.decoding = tuple(options.decoding.split(","))
    least = min(*options.batch, options.count, options.rounds, options.singles)
    if least < 1 or options.compared < 0:
        raise ValueError(f"got {least}, expected at least 1 for batch sizes, count, rounds and singles")
    unknown = [name for name in options.decoding if name not in DECODINGS]
    if unknown:
        raise ValueError(f"got decoding {unknown[0]!r}, expected one of {', '.join(DECODINGS)}")
    if not (options.checkpoint / "tokenizer.json").is_file():
        raise ValueError(f"{options.checkpoint} holds no tokenizer.json; name a checkpoint that has one")


def main(arguments: Sequence[str] | None = None) -> None:
    """Compare, and write the reports."""
    options = parse(arguments)
    manifest = Bundle.open(options.bundle).manifest if options.bundle else None
    prompts, workload = read_prompts(options, manifest)
    longest = manifest.generator.max_source_tokens if manifest else 512
    tokenizer = Tokenizer(options.checkpoint / "tokenizer.json", longest)
    ids = [encoded.ids for encoded in tokenizer.encode(prompts)]
    settings = Settings(
        options.batch, options.decoding, options.rounds, options.singles, options.seconds, options.timeout,
        min(options.compared, len(prompts)),
        int(options.memory * 1e9) if options.memory else int(MEMORY_SHARE * available_memory()),
        4 * max(options.batch) * BEAMS * SCORE_COPIES * tokenizer.vocabulary_size,
    )  # fmt: skip
    inputs = Inputs(str(options.checkpoint.resolve()), None, longest, usable_cores())
    system = describe_system()
    entries = make_entries(options.rivals, options, inputs, settings)
    comparison = Comparison(entries, prompts, ids, settings, options.output / "logs")
    comparison.run()
    base = next((entry.outputs for entry in entries if entry.rival.name == BASELINE), {})
    workload["input_tokens"] = sum(map(len, ids)) / len(ids)
    workload["output_tokens"] = {
        decoding: sum(len(tokenizer.encode_target(text)) + 1 for text, _ in found) / len(found)
        for decoding, found in base.items()
        if found
    }
    about = {
        "format": 1,
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "checkpoint": options.checkpoint.name,
        "baseline": BASELINE,
        "system": system,
        "settings": asdict(settings),
        "workload": workload,
    }
    write_reports(results(comparison, about), options.output)


if __name__ == "__main__":
    main()
