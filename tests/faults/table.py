"""The table of faults: what is planted, where, and what must be seen.

Each command runs in a process of its own with bounds of time, an empty HOME and TMPDIR, and a state of its own.
Whatever the row says, no command may crash, hang, show a traceback, or leave a file where none was asked for.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from cielo.bundle.layout import Bundle
from cielo.bundle.writing import write_manifest
from cielo.files import sha256_of

MODEL = "generator/ctranslate2/model.bin"
LINK, VERIFY, INFO = ("link", "asma", "--bundle", "BUNDLE"), ("verify", "BUNDLE"), ("info", "BUNDLE")
KNOWN = ("kb", "info", "--bundle", "BUNDLE")
CALIBRATE = ("calibrate", "BUNDLE", "ROWS", "--output", "OUT")


@dataclass(frozen=True, slots=True)
class Fault:
    """One row of the table.

    Attributes:
        name: what is wrong.
        place: where, under the bundle.
        plant: makes it so, given the file.
        commands: that meet it; BUNDLE, ROWS and OUT stand for paths.
        message: a part of the error.
        code: the exit code.
    """

    name: str
    place: str
    plant: Callable[[Path], object]
    message: str
    commands: Sequence[tuple[str, ...]] = (LINK,)
    code: int = 1

    def __str__(self) -> str:
        return f"{self.name}: {self.place}"


def flip(file: Path) -> None:
    """Flip one bit in the middle of a file, and set its time back."""
    before = file.stat()
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def cut(file: Path) -> None:
    """Take the last byte off a file."""
    os.truncate(file, file.stat().st_size - 1)


def fifo(file: Path) -> None:
    """Put a FIFO in the place of a file."""
    file.unlink(missing_ok=True)
    os.mkfifo(file)


def device(file: Path) -> None:
    """Put a link to an endless device in the place of a file."""
    file.unlink(missing_ok=True)
    file.symlink_to("/dev/zero")


def outside(place: Path) -> None:
    """Move a file or folder out of the bundle, and leave a link to it."""
    target = next(folder for folder in place.parents if folder.name == "bundle").parent / "outside"
    place.rename(target)
    place.symlink_to(target)


def itself(file: Path) -> None:
    """Put a link to itself in the place of a file."""
    file.unlink()
    file.symlink_to(file.name)


def huge(file: Path) -> None:
    """Make a file of 300 MB without a byte on the disk."""
    os.truncate(file, 300_000_000)


def holding(content: bytes) -> Callable[[Path], object]:
    """Return what gives a file some content."""
    return lambda file: file.write_bytes(content)


def replaced(old: bytes, new: bytes) -> Callable[[Path], object]:
    """Return what replaces some bytes of a file."""

    def plant(file: Path) -> None:
        content = file.read_bytes()
        assert old in content
        file.write_bytes(content.replace(old, new, 1))

    return plant


def signed(change: Callable[[Path], object]) -> Callable[[Path], object]:
    """Return what changes a file and writes its size and hash into the manifest, as whoever made the bundle could."""

    def plant(file: Path) -> None:
        folder = next(folder for folder in file.parents if folder.name == "bundle")
        manifest = Bundle.open(folder).manifest
        change(file)
        name = file.relative_to(folder).as_posix()
        entry = replace(manifest.files[name], size=file.stat().st_size, sha256=sha256_of(file))
        (folder / "manifest.json").unlink()
        write_manifest(folder, replace(manifest, files={**manifest.files, name: entry}))

    return plant


def entry_that_is_none(file: Path) -> None:
    """Let a search of a graph begin at an element that it does not have."""
    content = bytearray(file.read_bytes())
    content[52:56] = b"\xff\xff\xff\x7f"
    file.write_bytes(content)


def endless_view(file: Path) -> None:
    """Put a view that recurs without end in the place of a table of a knowledge base."""
    base = sqlite3.connect(file)
    (name,) = base.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name").fetchone()
    base.execute(f'ALTER TABLE "{name}" RENAME TO was')
    base.execute(
        f'CREATE VIEW "{name}" AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) '
        "SELECT was.* FROM n, was"
    )
    base.commit()
    base.close()


DOUBLING = b'{"type":"Replace","pattern":{"String":"a"},"content":"aa"}'
EVERY = (LINK, VERIFY, INFO, KNOWN, CALIBRATE)

FAULTS: tuple[Fault, ...] = (
    Fault("nothing", "", lambda folder: None, "", (LINK, VERIFY, INFO, KNOWN), 0),
    Fault("one bit flipped", MODEL, flip, f"{MODEL} does not have the content", (LINK, VERIFY, CALIBRATE)),
    Fault("one bit flipped", "encoder/model.onnx", flip, "encoder/model.onnx does not have the content"),
    Fault("one bit flipped", "index/0/vectors.npy", flip, "index/0/vectors.npy does not have the content"),
    Fault("one bit flipped", "knowledge_base.sqlite", flip, "sqlite does not have the content", (LINK, VERIFY, KNOWN)),
    Fault("one byte cut", MODEL, cut, f"{MODEL} has ", EVERY),
    Fault("no file", "encoder/tokenizer.json", Path.unlink, "encoder/tokenizer.json is missing", EVERY),
    Fault("a file that is not listed", "index/0/projection.npy", Path.touch, "projection.npy is not listed"),
    Fault("a FIFO", "manifest.json", fifo, "manifest.json cannot be read (not a regular file)", EVERY),
    Fault("a FIFO", MODEL, fifo, "model.bin is not a regular file", EVERY),
    Fault("a FIFO that is not listed", "notes", fifo, "notes is not a regular file"),
    Fault("a device", "manifest.json", device, "manifest.json cannot be read (not a regular file)", EVERY),
    Fault("a device", "generator/tokenizer.json", device, "tokenizer.json is a link to something outside", EVERY),
    Fault("a link to itself", "knowledge_base.sqlite", itself, "knowledge_base.sqlite is missing", EVERY),
    Fault("a link that leaves", "knowledge_base.sqlite", outside, "sqlite is a link to something outside", EVERY),
    Fault("a link that leaves", "generator", outside, "generator is a link to something outside", EVERY),
    Fault("300 MB", "manifest.json", huge, "manifest.json cannot be read (longer than 4 MB)", EVERY),
    Fault("nested too deeply", "manifest.json", holding(b"[" * 1_000_000), "is not JSON in UTF-8", EVERY),
    Fault("a key twice", "manifest.json", replaced(b'"name"', b'"name": "x", "name"'), "'name' stands twice", EVERY),
    Fault("no text", "manifest.json", holding(b"\xff\xfe"), "is not JSON in UTF-8", EVERY),
    Fault("a graph that begins nowhere", "index/0/graph.hnsw", signed(entry_that_is_none), "that a search begins with"),
    Fault(
        "a tokenizer without bound", "generator/tokenizer.json",
        signed(replaced(b'"normalizers":', b'"normalizers":' + b"[" + b",".join([DOUBLING] * 40) + b'],"was":')),
        "more than 1000 times as long",
    ),
    Fault(
        "no token to begin with", "generator/ctranslate2/config.json",
        signed(replaced(b'"decoder_start_token": "<pad>"', b'"decoder_start_token": null')),
        "does not take what its bundle",
    ),
    Fault("a view without end", "knowledge_base.sqlite", signed(endless_view), "", (LINK, KNOWN)),
    Fault("no numbers", "calibration.json", signed(holding(b"[" * 1_000_000)), "json is not JSON", (INFO, LINK)),
)  # fmt: skip


def rows() -> Iterator[tuple[Fault, tuple[str, ...], bool]]:
    """Yield each fault with each command that meets it, and whether it belongs to the fast part of the table."""
    for fault in FAULTS:
        for place, command in enumerate(fault.commands):
            yield fault, command, place == 0


def planted(fault: Fault, mini: Path, folder: Path) -> Path:
    """Return a copy of the mini, in `folder`, with a fault in it."""
    bundle = Path(shutil.copytree(mini, folder / "bundle"))
    fault.plant(bundle / fault.place)
    return bundle
