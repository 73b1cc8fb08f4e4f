"""Arrays are loaded by one thread at a time."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from cielo.arrays import load_array, parse_header


def test_arrays_come_whole_or_mapped_and_hold_no_objects(tmp_path: Path) -> None:
    values, file = np.arange(6, dtype=np.float32).reshape(2, 3), tmp_path / "a.npy"
    np.save(file, values)
    assert np.array_equal(load_array(file), values)
    assert isinstance(load_array(file, mapped=True), np.memmap)
    with file.open("rb") as stream:
        np.lib.format.read_magic(stream)
        assert parse_header(stream) == ((2, 3), False, np.dtype(np.float32))
    np.save(file, np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match="pickle"):
        load_array(file)


@pytest.mark.usefixtures("every_processor")
def test_many_threads_load_at_once(tmp_path: Path) -> None:
    files = [tmp_path / f"{number}.npy" for number in range(8)]
    for number, file in enumerate(files):
        np.save(file, np.full(100, number))
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(load_array, files * 200))
    assert [int(array[0]) for array in found] == list(range(8)) * 200
