"""The work file of vectors: what is whole is taken again, and nothing else."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import numpy as np
import pytest
from cielo.errors import BundleError
from cielo.retrieval.kept import KeptVectors

ONE, OTHER = "a" * 64, "b" * 64
BLOCKS = [np.arange(12, dtype=np.float32).reshape(3, 4), np.ones((2, 4), dtype=np.float32)]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A work file of two blocks of three and two vectors."""
    path = tmp_path / "work"
    with KeptVectors(path, ONE, 4) as kept:
        assert kept.take(3) is None
        for block in BLOCKS:
            kept.add(block)
    return path


def taken(file: Path, *rows: int, identity: str = ONE) -> list[list[list[float]]]:
    with KeptVectors(file, identity, 4) as kept:
        found = [block.tolist() for size in rows if (block := kept.take(size)) is not None]
        assert kept.taken == sum(map(len, found))
        return found


def test_what_was_kept_is_taken_in_its_order(file: Path) -> None:
    assert taken(file, 3, 2, 1) == [block.tolist() for block in BLOCKS]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_vectors_of_something_else_are_dropped(file: Path) -> None:
    assert taken(file, 3, identity=OTHER) == []
    assert taken(file, 3) == []


@pytest.mark.parametrize(("damage", "left"), [(-1, 1), (-40, 1), (-70, 0), (40, 0)])
def test_a_block_that_is_not_whole_ends_what_is_taken(file: Path, damage: int, left: int) -> None:
    content = file.read_bytes()
    file.write_bytes(content[:damage])
    assert taken(file, 3, 2) == [block.tolist() for block in BLOCKS[:left]]


def test_a_flipped_bit_is_not_taken(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[110] ^= 1
    file.write_bytes(content)
    assert taken(file, 3, 2) == []


def test_what_follows_a_damaged_block_is_written_over_it(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-1])
    with KeptVectors(file, ONE, 4) as kept:
        assert kept.take(3) is not None and kept.take(2) is None
        kept.add(BLOCKS[1])
    assert taken(file, 3, 2) == [block.tolist() for block in BLOCKS]


def test_blocks_of_another_size_are_not_taken(file: Path) -> None:
    assert taken(file, 2, 3) == []


def test_two_do_not_work_with_one_file(file: Path) -> None:
    with KeptVectors(file, ONE, 4), pytest.raises(BundleError, match="another process is at work"):
        KeptVectors(file, ONE, 4)


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    for name in (".", "fifo", "link"):
        with pytest.raises(BundleError, match="cannot be kept in"):
            KeptVectors(tmp_path / name, ONE, 4)
    assert not (tmp_path / "elsewhere").exists()


def test_a_full_disk_is_told_and_what_was_kept_stays(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with KeptVectors(file, ONE, 4) as kept:
        assert kept.take(3) is not None and kept.take(2) is not None
        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(BundleError, match="make room on the disk"):
            kept.add(BLOCKS[0])
    assert taken(file, 3, 2) == [block.tolist() for block in BLOCKS]
