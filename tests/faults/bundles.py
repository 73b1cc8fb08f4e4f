"""Mutated bundles: each is refused with one error, or gives the same answers; `python -m tests.faults.bundles --help`.

A copy of the mini is changed in one place and three mentions are linked by it, by the command, in a process with bounds
of time and memory. Of a change that the manifest does not know of (``unsigned``) the answers must be the same where it
is not refused. Where sizes and hashes were computed again (``signed``), or values of the manifest itself were changed,
nobody can know that an answer is another one: there the outcome must be one error or whole answers, and never a crash,
a traceback or a hang. Weights are never signed again: other numbers are another model.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cielo.bundle.layout import MANIFEST, default_bundle
from cielo.files import sha256_of

MENTIONS = [
    {"text": "TC abdominal", "sentence": "La TC abdominal es normal."},
    {"text": "asma"},
    {"text": "fractura de fémur izquierdo", "kind": "diagnosis"},
]
SECONDS, MEMORY = 60, 8 << 30  # of one process
WEIGHTS = ("model.bin", "model.onnx")
LINK = ("from cielo.cli import main; main()", "link", "--input", "-", "--format", "jsonl", "--bundle")
ODD = (
    None, True, 0, -1, 1, 2**31, 2**63, 2**64, 10**30, 1e308, 0.5, "", " ", "x", "../x", "/etc/passwd", "\ud800",
    [], {}, [[]], {"a": {}}, "ñ" * 10_000, [0] * 10_000,
)  # fmt: skip

Dice = random.Random
Files = dict[str, Path]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one bundle."""

    way: str
    what: str
    seen: str
    detail: str = ""

    @property
    def right(self) -> bool:
        """Whether it was refused with one error, or its answers are those it may give."""
        return self.seen in ("refused", "same answers") or (self.seen == "other answers" and self.way in SIGNED)


def files_of(bundle: Path) -> Files:
    """Return the files of a bundle but the manifest, by name."""
    files = {path.relative_to(bundle).as_posix(): path for path in sorted(bundle.rglob("*")) if path.is_file()}
    return {name: path for name, path in files.items() if name != MANIFEST}


def flip(bundle: Path, dice: Dice) -> str:
    name, file = dice.choice(list(files_of(bundle).items()))
    return f"{name}: {_spoil(file, dice)}"


def flip_manifest(bundle: Path, dice: Dice) -> str:
    return _spoil(bundle / MANIFEST, dice)


def _spoil(file: Path, dice: Dice) -> str:
    """Change some bytes of a file, or its length; return what was done."""
    content = bytearray(file.read_bytes())
    way = dice.choice(["bits", "bits", "bits", "bytes", "shorter", "longer", "zeros", "empty"])
    place = dice.randrange(max(1, len(content)))
    if way == "bits":
        for _ in range(dice.choice((1, 1, 8))):
            content[dice.randrange(len(content))] ^= 1 << dice.randrange(8)
    elif way == "bytes":
        content[place : place + 16] = dice.randbytes(min(16, len(content) - place))
    elif way == "shorter":
        del content[place:]
    elif way == "longer":
        content += dice.randbytes(dice.choice((1, 4, 1000)))
    elif way == "zeros":
        content[place : place + 4096] = bytes(min(4096, len(content) - place))
    else:
        content.clear()
    file.write_bytes(content)
    return f"{way} at {place}"


def swap(bundle: Path, dice: Dice) -> str:
    one, other = dice.sample(list(files_of(bundle).items()), 2)
    contents = one[1].read_bytes(), other[1].read_bytes()
    one[1].write_bytes(contents[1])
    other[1].write_bytes(contents[0])
    return f"{one[0]} and {other[0]}"


def replace_file(bundle: Path, dice: Dice) -> str:
    """Put something in the place of a file that is none, or leave it out."""
    name, file = dice.choice([*files_of(bundle).items(), (MANIFEST, bundle / MANIFEST)])
    way = dice.choice(["nothing", "folder", "fifo", "link to a device", "link to itself", "link to a file outside"])
    outside = bundle.parent / "outside"
    shutil.copy(file, outside)
    file.unlink()
    plant: dict[str, Callable[[], Any]] = {
        "nothing": lambda: None,
        "folder": file.mkdir,
        "fifo": lambda: os.mkfifo(file),
        "link to a device": lambda: file.symlink_to("/dev/zero"),
        "link to itself": lambda: file.symlink_to(file.name),
        "link to a file outside": lambda: file.symlink_to(outside),
    }
    plant[way]()
    return f"{way} for {name}"


def add(bundle: Path, dice: Dice) -> str:
    """Add a file where a library might look for one."""
    names = [
        "index/0/projection.npy", "index/0/descriptions.json", "knowledge_base.sqlite-journal", "notes.txt",
        "knowledge_base.sqlite-wal", "generator/ctranslate2/vocabulary.json", "encoder/model.onnx.data",
    ]  # fmt: skip
    name = dice.choice(names)
    (bundle / name).write_bytes(dice.choice([b"", b"[]", dice.randbytes(1000)]))
    return name


def change_manifest(bundle: Path, dice: Dice) -> str:
    file = bundle / MANIFEST
    document = json.loads(file.read_bytes())
    what = _change(document, dice)
    file.write_text(json.dumps(document), encoding="utf-8")
    return what


def _change(document: Any, dice: Dice) -> str:
    """Change one value of a JSON document, or leave it out; return its place."""
    places = list(_places(document, ""))
    # Most values are those of long lists: every key gets its turn.
    path, holder, key = dice.choice(places if dice.random() < 0.3 else places[:200])
    way = dice.choice(["odd", "odd", "out", "other", "number"])
    value = holder[key]
    if way == "out":
        del holder[key]
    elif way == "other":
        holder[key] = json.loads(json.dumps(dice.choice(places)[1]))
    elif way == "number" and isinstance(value, int | float):
        holder[key] = type(value)(value * dice.choice((-1, 0, 0.5, 2, 1000)))
    else:
        holder[key] = dice.choice(ODD)
    return f"{way} at {path}"


def _places(value: Any, path: str) -> Any:
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, entry in list(entries)[:2000]:
        yield f"{path}.{key}", value, key
        yield from _places(entry, f"{path}.{key}")


def sign(bundle: Path, dice: Dice) -> str:
    """Change a file that holds no weights, and compute its size and hash again."""
    names = [name for name in files_of(bundle) if not name.endswith(WEIGHTS)]
    name = dice.choice(names)
    file = bundle / name
    if name.endswith(".json") and dice.random() < 0.7:
        document = json.loads(file.read_bytes())
        what = _change(document, dice)
        file.write_text(json.dumps(document), encoding="utf-8")
    else:
        what = _spoil(file, dice)
    manifest = json.loads((bundle / MANIFEST).read_bytes())
    manifest["files"][name] = {"size": file.stat().st_size, "sha256": sha256_of(file)}
    (bundle / MANIFEST).write_text(json.dumps(manifest), encoding="utf-8")
    return f"{name}: {what}"


WAYS: dict[str, Callable[[Path, Dice], str]] = {
    "unsigned content": flip,
    "unsigned manifest": flip_manifest,
    "swapped files": swap,
    "no file": replace_file,
    "a file more": add,
    "manifest values": change_manifest,
    "signed content": sign,
}
SIGNED = ("unsigned manifest", "manifest values", "signed content")
_SHARES = (4, 1, 1, 2, 1, 4, 7)


def answers(text: str) -> list[dict[str, Any]]:
    """Return the rows that the command gave, without what names the bundle."""
    rows = [json.loads(line) for line in text.splitlines()]
    return [{key: value for key, value in row.items() if key not in ("provenance", "bundle")} for row in rows]


def link(bundle: Path, scratch: Path) -> tuple[int | None, str, str]:
    """Link the mentions by a bundle; return the exit code (None: out of time), the output and the errors."""
    places = {"CIELO_STATE": scratch / "state", "TMPDIR": scratch / "tmp", "HOME": scratch / "home"}
    for folder in places.values():
        folder.mkdir(parents=True, exist_ok=True)
    try:
        done = subprocess.run(
            [sys.executable, "-c", *LINK, str(bundle)],
            input="".join(json.dumps(row) + "\n" for row in MENTIONS),
            capture_output=True,
            text=True,
            errors="replace",
            timeout=SECONDS,
            check=False,
            env={**os.environ, **{name: str(folder) for name, folder in places.items()}},
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY)),
        )
    except subprocess.TimeoutExpired:
        return None, "", ""
    return done.returncode, done.stdout, done.stderr


def judge(code: int | None, output: str, errors: str, expected: list[dict[str, Any]]) -> tuple[str, str]:
    """Return what was seen, and the last line of the errors."""
    lines = errors.strip().splitlines() or [""]
    if code is None:
        return "no end", ""
    if "Traceback" in errors or "panicked" in errors:
        return "traceback", lines[-1]
    if code == 1 and any(line.startswith("cielo: ") for line in lines) and not output:
        return "refused", lines[-1]
    if code == 3 and len(output.splitlines()) == len(MENTIONS):
        return "refused", lines[-1]  # row by row
    if code != 0:
        return f"ended with {code}", lines[-1]
    found = answers(output)
    return ("same answers" if found == expected else "other answers" if len(found) == len(expected) else "lost", "")


def mutate_and_link(seed: str, expected: list[dict[str, Any]]) -> Outcome:
    """Change a copy of the mini as a seed says, and link by it."""
    dice = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        bundle = Path(shutil.copytree(default_bundle(), scratch / "bundle"))
        way = dice.choices(list(WAYS), _SHARES)[0]
        what = WAYS[way](bundle, dice)
        before = sorted(bundle.rglob("*"))
        seen, detail = judge(*link(bundle, scratch), expected)
        left = [*(scratch / "tmp").iterdir(), *set(bundle.rglob("*")).symmetric_difference(before)]
        return Outcome(way, what, f"left {len(left)} files" if left else seen, detail)


def main() -> int:
    """Run the campaign; return 1 where an outcome is none of those that are right."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=300, help="of bundles")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, help="the number of one bundle, to see what was found again")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        code, output, errors = link(default_bundle(), Path(folder))
    if code != 0:
        raise SystemExit(f"the mini itself does not answer: {errors}")
    expected = answers(output)
    seen: Counter[tuple[str, str]] = Counter()
    wrong = 0
    for number in range(options.count) if options.only is None else [options.only]:
        outcome = mutate_and_link(f"{options.seed}/{number}", expected)
        seen[outcome.way, outcome.seen] += 1
        wrong += not outcome.right
        if not outcome.right or options.only is not None:
            print(f"{number}: {outcome.way} ({outcome.what}): {outcome.seen} {outcome.detail}", flush=True)
    for (way, what), count in sorted(seen.items()):
        print(f"{way:<20}{what:<20}{count:>6}")
    print(f"{sum(seen.values())} bundles, {wrong} wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
