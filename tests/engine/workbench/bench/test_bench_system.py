from __future__ import annotations

import mmap
import os
import time
from pathlib import Path

import msgspec
import pytest
from cielo.workbench.bench import system
from cielo.workbench.bench.system import (
    MemoryWatch,
    System,
    describe_system,
    gpus,
    instruction_sets,
    resident,
)

STATUS = "Name:\tpython\nVmHWM:\t    3000 kB\nVmRSS:\t    2000 kB\n"
HAS_PROC = Path("/proc/self/status").exists()


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    """A ``/proc`` in which nothing can be reset."""
    (tmp_path / "self").mkdir()
    (tmp_path / "self" / "status").write_text(STATUS)
    return tmp_path


def test_the_machine_is_described_in_plain_values(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.setenv("CT2_VERBOSE", "0")
    monkeypatch.setenv("PATIENT_NAME", "Zutanito")
    told = describe_system()
    assert msgspec.json.decode(msgspec.json.encode(told), type=System) == told
    assert told.environment["OMP_NUM_THREADS"] == "3"
    assert told.environment["CT2_VERBOSE"] == "0"
    assert "Zutanito" not in repr(told)
    assert 1 <= told.cores <= told.processors <= told.processors_in_all
    assert told.libraries["ctranslate2"]
    assert told.processor


def test_only_the_instruction_sets_that_matter_are_named(tmp_path: Path) -> None:
    (tmp_path / "cpuinfo").write_text("processor\t: 0\nflags\t\t: fpu avx2 avx512_vnni amx_int8 sse2 avx\n")
    assert instruction_sets(tmp_path) == ["amx_int8", "avx", "avx2", "avx512_vnni"]
    (tmp_path / "cpuinfo").write_text("processor\t: 0\nFeatures\t: fp asimd asimddp i8mm\n")
    assert instruction_sets(tmp_path) == ["asimd", "asimddp", "i8mm"]


def test_a_system_that_does_not_tell_gives_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getloadavg", lambda: (_ for _ in ()).throw(OSError()))
    told = describe_system(tmp_path)
    assert told.memory is told.load is None
    assert told.instruction_sets == ()
    assert resident(tmp_path) is None
    with MemoryWatch(tmp_path) as watch:
        pass
    assert watch.memory == system.Memory(None, None, None)


def test_gpus_are_named(tmp_path: Path) -> None:
    assert gpus(tmp_path) == []
    for name in ("0", "1"):
        (tmp_path / "driver" / "nvidia" / "gpus" / name).mkdir(parents=True)
        (tmp_path / "driver" / "nvidia" / "gpus" / name / "information").write_text(
            f"Model: \t NVIDIA {name}\nIRQ: 3\n"
        )
    assert gpus(tmp_path) == ["NVIDIA 0", "NVIDIA 1"]


@pytest.mark.parametrize("content", ["VmRSS:\n", "VmRSS:\tmany kB\n", "", "VmRSSx:\t1 kB\n"])
def test_a_damaged_status_tells_nothing(proc: Path, content: str) -> None:
    (proc / "self" / "status").write_text(content)
    assert resident(proc) is None


class TestMemoryWatch:
    def test_the_kernel_s_peak_is_reset_and_read(self, proc: Path) -> None:
        clear = proc / "self" / "clear_refs"
        clear.touch()
        with MemoryWatch(proc) as watch:
            assert clear.read_text() == "5"
            (proc / "self" / "status").write_text(STATUS.replace("3000", "9000"))
        assert watch.memory == system.Memory(2000 * 1024, 9000 * 1024, "kernel")

    def test_elsewhere_samples_find_the_peak(self, proc: Path) -> None:
        with MemoryWatch(proc) as watch:
            (proc / "self" / "status.new").write_text(STATUS.replace("2000", "7000"))
            (proc / "self" / "status.new").replace(proc / "self" / "status")
            deadline = time.monotonic() + 30
            while watch._seen != 7000 * 1024 and time.monotonic() < deadline:
                time.sleep(0.01)
            (proc / "self" / "status.new").write_text(STATUS)
            (proc / "self" / "status.new").replace(proc / "self" / "status")
        assert watch.memory == system.Memory(2000 * 1024, 7000 * 1024, "samples")
        assert not (proc / "self" / "clear_refs").exists()
        assert watch._thread is not None
        assert not watch._thread.is_alive()

    @pytest.mark.skipif(not HAS_PROC, reason="the system has no /proc")
    def test_this_process_s_memory_is_seen(self) -> None:
        # A mapping of its own: malloc could hand out a free block that is resident already.
        with MemoryWatch() as watch, mmap.mmap(-1, 60_000_000) as block:
            for _ in range(60):
                block.write(b"1" * 1_000_000)
        with MemoryWatch() as later:
            pass
        assert watch.memory.peak is not None
        assert watch.memory.steady is not None
        assert watch.memory.peak - watch.memory.steady > 30_000_000 or watch.memory.peak_by == "samples"
        assert later.memory.peak is not None
        assert later.memory.peak < watch.memory.peak or later.memory.peak_by == "samples", "each watch begins again"
