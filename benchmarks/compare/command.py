"""The command line: what is compared, with which prompts, and where the reports go."""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
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

from benchmarks.compare.records import NOT_ITS_OWN, Cell, Contender, Settings
from benchmarks.compare.results import BASELINE, results
from benchmarks.compare.schedule import Schedule, say
from benchmarks.rivals import BEAMS, DECODINGS, RIVALS, Inputs, Rival, find_rival
from benchmarks.rivals.report import write_reports

# What the widest batch takes beyond one prompt: some copies of the scores of all beams, four bytes for each token.
SCORE_COPIES = 6
MEMORY_SHARE = 0.8
# optimum-intel wants torchvision, whose build need not fit that of PyTorch; it serves images alone.
OPENVINO_PACKAGES = ("optimum-intel[openvino]==2.2.0", "transformers==4.57.6", "sentencepiece", "protobuf")


def make_contenders(
    rivals: Sequence[Rival], options: argparse.Namespace, inputs: Inputs, settings: Settings
) -> list[Contender]:
    """Return the rivals, those that lack a bundle or an interpreter with the reason why they do not run."""
    bundles = {None: None, "cut": options.bundle, "full": options.bundle_full}
    made = []
    for rival in rivals:
        bundle = bundles[rival.bundle]
        entry = Contender(
            rival,
            replace(inputs, bundle=str(bundle.resolve()) if bundle else None),
            sys.executable,
            options.work.resolve() / _key(options.checkpoint) / rival.name,
            {
                (decoding, batch): Cell(failure=None if decoding in rival.decodings else NOT_ITS_OWN)
                for decoding in settings.decodings
                for batch in settings.batches
            },
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
        description="One model, several ways to run it.",
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
    entries = make_contenders(options.rivals, options, inputs, settings)
    schedule = Schedule(entries, prompts, ids, settings, options.output / "logs")
    schedule.run()
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
        "system": asdict(system),
        "settings": asdict(settings),
        "workload": workload,
    }
    write_reports(results(schedule, about), options.output)
