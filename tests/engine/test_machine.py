"""This machine: the processors that a process may use, within control groups and affinity masks."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from cielo import machine
from cielo.machine import available_bytes, granted_memory, granted_processors, usable_cores


def tree(root: Path, groups: str | None, files: dict[str, str]) -> Path:
    """A file system's root with these control groups."""
    if groups is not None:
        (root / "proc" / "self").mkdir(parents=True)
        (root / "proc" / "self" / "cgroup").write_text(groups)
    for name, content in files.items():
        file = root / "sys" / "fs" / "cgroup" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
    return root


@pytest.mark.parametrize(
    ("groups", "files", "granted"),
    [
        # In a container: its own group is the uppermost that it sees.
        ("0::/\n", {"cpu.max": "150000 100000\n"}, 1.5),
        ("0::/\n", {"cpu.max": "max 100000\n"}, None),
        (None, {"cpu.max": "50000 100000\n"}, 0.5),
        # On the host: a unit's group, and a slice above it that is bound more closely.
        ("0::/a.slice/b.service\n", {"a.slice/b.service/cpu.max": "400000 100000\n"}, 4.0),
        (
            "0::/a.slice/b.service\n",
            {"a.slice/b.service/cpu.max": "400000 100000\n", "a.slice/cpu.max": "200000 100000\n"},
            2.0,
        ),
        ("0::/a.slice\n", {"other.slice/cpu.max": "100000 100000\n"}, None),
        ("0::/../../b.scope\n", {"b.scope/cpu.max": "300000 100000\n"}, 3.0),
        # The first version, by the controllers' names, and as a container sees it.
        (
            "4:cpu,cpuacct:/docker/a\n3:memory:/b\n",
            {"cpu,cpuacct/docker/a/cpu.cfs_quota_us": "250000\n", "cpu,cpuacct/docker/a/cpu.cfs_period_us": "100000\n"},
            2.5,
        ),
        (
            "1:cpu:/docker/a\n0::/\n",
            {"cpu/cpu.cfs_quota_us": "100000\n", "cpu/cpu.cfs_period_us": "50000\n"},
            2.0,
        ),
        ("1:cpu:/\n", {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, None),
        ("3:cpuset:/\n", {"cpuset/cpu.cfs_quota_us": "1\n", "cpuset/cpu.cfs_period_us": "1\n"}, None),
        # Both at once.
        (
            "1:cpu:/\n0::/x\n",
            {
                "cpu/cpu.cfs_quota_us": "800000\n", "cpu/cpu.cfs_period_us": "100000\n",
                "unified/x/cpu.max": "300000 100000\n",
            },
            3.0,
        ),
        # Damaged.
        ("0::/\n", {"cpu.max": ""}, None),
        ("0::/\n", {"cpu.max": "1 0\n"}, None),
        ("nonsense\n\n::\n", {"cpu.max": "ñ 1\n"}, None),
        ("1:cpu:/\n", {"cpu/cpu.cfs_quota_us": "100000\n"}, None),
    ],
)  # fmt: skip
def test_the_least_quota_of_the_groups_counts(
    tmp_path: Path, groups: str | None, files: dict[str, str], granted: float | None
) -> None:
    assert granted_processors(tree(tmp_path, groups, files)) == granted


def test_where_there_are_no_groups_there_is_no_bound(tmp_path: Path) -> None:
    assert granted_processors(tmp_path) is None


class TestUsableCores:
    @pytest.fixture(autouse=True)
    def _eight_cores(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Sixteen processors, of which each two belong to a core."""
        monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(16)))
        monkeypatch.setattr(machine, "_siblings", lambda processor: f"{processor % 8},{processor % 8 + 8}")

    @pytest.mark.parametrize(("granted", "cores"), [(None, 8), (0.5, 1), (1.0, 1), (2.9, 2), (8.0, 8), (32.0, 8)])
    def test_a_quota_bounds_the_cores(self, monkeypatch: pytest.MonkeyPatch, granted: float | None, cores: int) -> None:
        monkeypatch.setattr(machine, "granted_processors", lambda: granted)
        assert usable_cores() == cores

    @pytest.mark.parametrize(
        ("allowed", "cores"), [({0}, 1), ({0, 8}, 1), ({0, 1}, 2), ({3, 4, 12}, 2), (set(range(8)), 8)]
    )
    def test_an_affinity_mask_bounds_them_and_twin_threads_count_once(
        self, monkeypatch: pytest.MonkeyPatch, allowed: set[int], cores: int
    ) -> None:
        monkeypatch.setattr(machine, "granted_processors", lambda: None)
        monkeypatch.setattr(os, "sched_getaffinity", lambda process: allowed)
        assert usable_cores() == cores

    def test_the_mask_and_the_quota_together(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1, 2, 3})
        monkeypatch.setattr(machine, "granted_processors", lambda: 3.0)
        assert usable_cores() == 3

    def test_a_system_without_masks_tells_its_processors(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delattr(os, "sched_getaffinity")
        monkeypatch.setattr(os, "cpu_count", lambda: 5)
        monkeypatch.setattr(machine, "granted_processors", lambda: 2.0)
        assert usable_cores() == 2


@pytest.mark.parametrize(
    ("groups", "files", "granted"),
    [
        ("0::/\n", {"memory.max": "2000000\n"}, 2_000_000),
        ("0::/\n", {"memory.max": "max\n"}, None),
        ("0::/a.slice/b.service\n", {"a.slice/b.service/memory.max": "max\n", "a.slice/memory.max": "30\n"}, 30),
        ("3:memory:/docker/a\n0::/\n", {"memory/docker/a/memory.limit_in_bytes": "4096\n"}, 4096),
        # What the first version writes where there is no bound.
        ("3:memory:/\n", {"memory/memory.limit_in_bytes": "9223372036854771712\n"}, None),
        ("3:cpu:/a\n", {"cpu/a/memory.limit_in_bytes": "4096\n"}, None),
        ("0::/\n", {"memory.max": "ñ"}, None),
        ("0::/\n", {}, None),
    ],
)
def test_the_least_memory_of_the_groups_counts(
    tmp_path: Path, groups: str, files: dict[str, str], granted: int | None
) -> None:
    assert granted_memory(tree(tmp_path, groups, files)) == granted


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, 5 << 20),
        ({"memory.max": "max\n", "memory.current": "1\n"}, 5 << 20),
        ({"memory.max": "3000\n", "memory.current": "1000\n"}, 2000),
        ({"memory.max": "1000\n", "memory.current": "3000\n"}, 0),
        ({"memory/memory.limit_in_bytes": "900\n", "memory/memory.usage_in_bytes": "100\n"}, 800),
    ],
)
def test_the_memory_that_could_be_had(tmp_path: Path, files: dict[str, str], expected: int) -> None:
    root = tree(tmp_path, "0::/\n", files)
    (root / "proc" / "meminfo").write_text("MemAvailable:   4096 kB\nSwapFree:   1024 kB\n")
    assert available_bytes(root) == expected


def test_the_memory_of_a_group_inside_counts(tmp_path: Path) -> None:
    files = {"a.slice/b.service/memory.max": "900\n", "a.slice/b.service/memory.current": "300\n"}
    root = tree(tmp_path, "0::/a.slice/b.service\n", files)
    (root / "proc" / "meminfo").write_text("MemAvailable:   4096 kB\nSwapFree:   1024 kB\n")
    assert available_bytes(root) == 600


def test_where_nothing_tells_of_memory(tmp_path: Path) -> None:
    assert available_bytes(tmp_path) is None
