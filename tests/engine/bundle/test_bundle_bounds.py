"""Files that would be waited for, or read and unfolded without end, are one error in a moment."""

from __future__ import annotations

import json
import os
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from cielo.bundle.hashes import check_files
from cielo.bundle.layout import Bundle, default_bundle
from cielo.bundle.manifest import Manifest
from cielo.bundle.state import Measured, known_parity, load_plans, plan_file, record_parity, save_plans
from cielo.bundle.writing import write_manifest
from cielo.cache.secret import load_secret
from cielo.cli import main
from cielo.errors import BundleError
from cielo.generation.plan import ThreadPlan
from cielo.machine import state_directory
from cielo.parity.references import References
from cielo.retrieval.index import load_all
from cielo.retrieval.storage import DescriptionFile, read_descriptions, read_projection
from click.testing import CliRunner

SECONDS = 5.0


@pytest.fixture(autouse=True)
def _state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CIELO_STATE", str(tmp_path / "state"))


@pytest.fixture(autouse=True)
def _in_a_moment() -> Iterator[None]:
    begun = time.monotonic()
    yield
    assert time.monotonic() - begun < SECONDS


@pytest.fixture
def bundle(bundle_files: Path, manifest: Manifest) -> Bundle:
    return write_manifest(bundle_files, manifest)


def fifo(file: Path) -> None:
    file.unlink(missing_ok=True)
    os.mkfifo(file)


def endless(file: Path) -> None:
    file.unlink(missing_ok=True)
    file.symlink_to("/dev/zero")


def huge(file: Path) -> None:
    """A file of 300 MB without a byte on the disk."""
    with file.open("wb") as stream:
        stream.truncate(300_000_000)


def deep(file: Path) -> None:
    file.write_bytes(b"[" * 2_000_000)


def deeper_than_python(file: Path) -> None:
    """Nested just so that a parser in C takes it."""
    file.write_bytes(b'{"schema": 2, "name": ' + b"[" * 900 + b"]" * 900 + b"}")


def twice(file: Path) -> None:
    file.write_bytes(b"{" + b"".join(b'"%d": 1, ' % number for number in range(200_000)) + b'"7": 1}')


def long_number(file: Path) -> None:
    file.write_bytes(b'{"schema": ' + b"9" * 1_000_000 + b"}")


BOMBS = [fifo, endless, huge, deep, deeper_than_python, twice, long_number]


@pytest.mark.parametrize("plant", BOMBS)
class TestBombs:
    def test_as_a_manifest(self, bundle: Bundle, plant: Callable[[Path], None]) -> None:
        plant(bundle.path / "manifest.json")
        with pytest.raises(BundleError, match=r"manifest\.json"):
            Bundle.open(bundle.path)
        for command in ("info", "verify"):
            done = CliRunner().invoke(main, [command, str(bundle.path)])
            assert done.exit_code == 1
            assert "cielo: " in done.stderr

    def test_as_calibrations(self, bundle: Bundle, plant: Callable[[Path], None]) -> None:
        plant(bundle.calibration)
        with pytest.raises(BundleError, match=r"calibration\.json"):
            bundle.calibrations()

    def test_as_what_this_machine_found_out(self, bundle: Bundle, plant: Callable[[Path], None]) -> None:
        execution, figures = bundle.execution("cpu"), next(iter(bundle.manifest.parity.values()))
        plan = ThreadPlan(1, 2, 512, "greedy", "active", "tuned")
        measured = Measured(plan, 1.0, (1.0, 1.0), 1.0, (1.0, 1.0))
        kept = [record_parity(bundle, execution, figures), save_plans(bundle, execution, [measured])]
        check_files(bundle)
        for file in kept:
            plant(file)
        assert known_parity(bundle) == bundle.manifest.parity
        if plant in (fifo, endless, huge):
            assert load_plans(bundle, execution) is None
        else:
            with pytest.warns(UserWarning, match="a thread plan is not used"):
                assert load_plans(bundle, execution) is None
        assert plan_file(bundle, execution) == kept[1]

    def test_as_the_secret_of_the_cache(self, plant: Callable[[Path], None]) -> None:
        before = load_secret()
        plant(state_directory() / "cache.key")
        assert len(load_secret()) == len(before)

    def test_as_references(self, tmp_path: Path, plant: Callable[[Path], None]) -> None:
        mini = Bundle.open(default_bundle())
        plant(tmp_path / "file")
        with pytest.raises(BundleError):
            References.load(tmp_path / "file", mini.reference_vectors)
        with pytest.raises(BundleError, match="references cannot be read"):
            References.load(mini.references, tmp_path / "file")

    def test_as_the_index_s_list_of_kinds(self, tmp_path: Path, plant: Callable[[Path], None]) -> None:
        plant(tmp_path / "kinds.json")
        with pytest.raises(BundleError, match="the index's list of kinds cannot be read"):
            load_all(tmp_path, 64)


class TestTheIndexsFiles:
    def test_vectors_that_unfold_are_not_unfolded(self, tmp_path: Path) -> None:
        with zipfile.ZipFile(tmp_path / "vectors.npz", "w", zipfile.ZIP_DEFLATED) as file:
            file.writestr("vectors.npy", bytes(300_000_000))
        assert (tmp_path / "vectors.npz").stat().st_size < 1_000_000
        with pytest.raises(BundleError, match="references cannot be read"):
            References.load(Bundle.open(default_bundle()).references, tmp_path / "vectors.npz")

    def test_a_header_that_promises_more_than_the_file_holds(self, tmp_path: Path) -> None:
        with (tmp_path / "projection.npy").open("wb") as stream:
            np.lib.format.write_array_header_1_0(
                stream, {"descr": "<f4", "fortran_order": False, "shape": (10**7, 10**7)}
            )
        with pytest.raises(ValueError, match="not a whole matrix"):
            read_projection(tmp_path / "projection.npy")

    def test_a_projection_of_no_numbers(self, tmp_path: Path) -> None:
        np.save(tmp_path / "projection.npy", np.full((2, 2), np.nan, dtype=np.float32))
        with pytest.raises(ValueError, match="not finite"):
            read_projection(tmp_path / "projection.npy")

    def test_a_line_without_end(self, tmp_path: Path) -> None:
        (tmp_path / "descriptions.jsonl").write_bytes(b'["' + b"a" * 16_000_000 + b'"]\n')
        with pytest.raises(ValueError, match="a line of more than 16 MB"):
            DescriptionFile(tmp_path / "descriptions.jsonl")

    def test_a_line_of_brackets(self, tmp_path: Path) -> None:
        (tmp_path / "descriptions.jsonl").write_bytes(b"[" * 100_000 + b"\n")
        with pytest.raises(BundleError, match="descriptions cannot be read"):
            DescriptionFile(tmp_path / "descriptions.jsonl")[0]

    def test_descriptions_of_the_old_form(self, tmp_path: Path) -> None:
        (tmp_path / "descriptions.json").write_text(json.dumps([["asma"]]), encoding="utf-8")
        assert list(read_descriptions(tmp_path)) == [["asma"]]
        fifo(tmp_path / "descriptions.json")
        with pytest.raises(OSError, match="not a regular file"):
            read_descriptions(tmp_path)
