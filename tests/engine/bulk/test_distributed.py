"""A run on a local Ray of two actors, one of which is killed on the way."""

from __future__ import annotations

import functools
import os
import signal
import socket
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from bulk_made import call, final_bytes, table
from cielo import Linker, LinkOptions
from cielo.bulk import distributed
from cielo.bulk.distributed import RayOptions, run_on_ray
from cielo.bulk.layout import RunFolder
from cielo.bulk.records import BulkOptions
from cielo.bulk.running import Run
from cielo.bulk.sizing import plan_actors, process_bytes
from cielo.errors import CieloError, DeviceError, OptionError, TableError
from cielo.machine import resident_bytes

OPENING = functools.partial(Linker.open, threads=1, cache=False)


@pytest.mark.ray
def test_ray_and_a_local_run_give_the_same_bytes_with_an_actor_killed(tmp_path: Path) -> None:
    pytest.importorskip("ray")
    import ray

    source, options = table(tmp_path / "in.csv", 10_000, 500), BulkOptions(rows=250)
    with OPENING() as linker:
        run = Run([str(source)], tmp_path / "local", linker, LinkOptions(), options)
        run.work(run.prepare())
    killed: list[int] = []

    def kill_one(actors: list[Any]) -> None:
        process = ray.get(actors[0].process.remote())

        def kill() -> None:
            links = tmp_path / "ray" / ".bulk" / "links"
            while not links.is_dir() or len(list(links.iterdir())) < 3:
                time.sleep(0.01)
            os.kill(process, signal.SIGKILL)
            killed.append(process)

        threading.Thread(target=kill, daemon=True).start()

    summary = run_on_ray(
        [str(source)], tmp_path / "ray", OPENING, LinkOptions(), options,
        ray_options=RayOptions(actors=2), started=kill_one,
    )  # fmt: skip
    assert killed
    assert (summary.rows, summary.linked) == (10_000, 10_000)
    names = [set(final_bytes(tmp_path / name)) for name in ("ray", "local")]
    assert names[0] == names[1]
    assert final_bytes(tmp_path / "ray") == final_bytes(tmp_path / "local")


@pytest.mark.ray
def test_what_a_run_refuses_on_ray_is_the_same_error(tmp_path: Path) -> None:
    pytest.importorskip("ray")
    (tmp_path / "in.csv").write_text("a,b\n1,2\n")
    with pytest.raises(TableError, match="text"):
        run_on_ray([str(tmp_path / "in.csv")], tmp_path / "out", OPENING, ray_options=RayOptions(actors=1))


def test_without_ray_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(CieloError, match=r"cielo\[ray\]"):
        run_on_ray(["in.csv"], tmp_path / "out", OPENING)


@pytest.mark.ray
def test_the_command_on_ray_gives_the_bytes_of_the_local_one(tmp_path: Path) -> None:
    pytest.importorskip("ray")
    source, options = table(tmp_path / "in.csv", 600, 60), ("--rows", "50", "--threads", "1", "--format", "csv")
    local = call([source], tmp_path / "local", *options)
    assert local.returncode == 0, local.stderr
    by_two = call([source], tmp_path / "two", *options, "--engine", "ray", "--actors", "2")
    assert by_two.returncode == 0, by_two.stderr
    assert "2 actor(s) of Ray" in by_two.stderr and "600 rows, 60 distinct" in by_two.stderr
    quiet = call([source], tmp_path / "two", *options, "--engine", "ray", "--actors", "2", "-q")
    assert (quiet.returncode, quiet.stderr) == (0, "")
    assert final_bytes(tmp_path / "two") == final_bytes(tmp_path / "local")
    planned = call([source], tmp_path / "planned", *options, "--engine", "ray")
    assert planned.returncode == 0, planned.stderr
    assert final_bytes(tmp_path / "planned") == final_bytes(tmp_path / "local")


@pytest.mark.ray
def test_a_cluster_without_room_or_out_of_reach_is_told_in_one_line(tmp_path: Path) -> None:
    ray = pytest.importorskip("ray")
    source = table(tmp_path / "in.csv", 4, 2)
    ray.init(num_cpus=1, _memory=100_000_000, include_dashboard=False, log_to_driver=False)
    try:
        with pytest.raises(DeviceError, match="room for an actor"):
            run_on_ray([str(source)], tmp_path / "out", OPENING)
        with pytest.raises(DeviceError, match=r"2 core\(s\) for an actor"):
            run_on_ray([str(source)], tmp_path / "out", OPENING, ray_options=RayOptions(cores=2))
    finally:
        ray.shutdown()
    found = call([source], tmp_path / "out", "--engine", "ray", "--address", "auto")
    assert found.returncode == 1
    assert "Traceback" not in found.stderr and "Ray cannot work at auto" in found.stderr.splitlines()[-1]


@pytest.mark.ray
def test_an_address_where_nobody_answers_is_given_up(tmp_path: Path) -> None:
    pytest.importorskip("ray")
    source = table(tmp_path / "in.csv", 4, 2)
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes connections, and says nothing
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        found = call([source], tmp_path / "out", "--engine", "ray", "--address", address)
    assert found.returncode == 1
    *of_ray, line = found.stderr.splitlines()
    assert all(said.startswith("[") for said in of_ray), "lines of Ray's log"
    assert line.startswith(f"cielo: Ray cannot work at {address}: no cluster answers there")
    assert not (tmp_path / "out").exists()


@pytest.mark.ray
def test_the_address_of_a_cluster_is_worked_at(tmp_path: Path) -> None:
    ray = pytest.importorskip("ray")
    source = table(tmp_path / "in.csv", 600, 60)
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    try:
        address = ray.get_runtime_context().gcs_address
        told = ("--rows", "50", "--engine", "ray", "--actors", "1", "--address", address)
        found = call([source], tmp_path / "out", *told)
    finally:
        ray.shutdown()
    assert found.returncode == 0, found.stderr
    assert "600 rows, 60 distinct" in found.stderr


class _Counting:
    """Keeps what a watcher is told."""

    def __init__(self) -> None:
        self.advanced: list[int] = []
        self.skipped: list[int] = []

    def advance(self, count: int = 1) -> None:
        self.advanced.append(count)

    def skip(self, count: int) -> None:
        self.skipped.append(count)


def test_a_run_of_others_is_looked_at_fragment_by_fragment(tmp_path: Path) -> None:
    source, output = table(tmp_path / "in.csv", 200, 40), tmp_path / "out"
    early = _Counting()
    looking = distributed._Looking(RunFolder(output), early)
    looking.look()
    with OPENING() as linker:
        run = Run([str(source)], output, linker, LinkOptions(), BulkOptions(rows=20))
        plan = run.prepare()
        assert distributed.planned(output) == 40
        looking.look()
        assert early.advanced == []
        run.work(plan, report=lambda _: looking.look())
    looking.look()
    assert sum(early.advanced) == 40 and len(early.advanced) > 1
    late = _Counting()
    distributed._Looking(RunFolder(output), late).look()
    assert (sum(late.skipped), late.advanced, early.skipped) == (40, [], [])


@pytest.mark.parametrize(
    ("cores", "memory", "cores_each", "memory_each", "expected"),
    [
        (64, 256 << 30, 1, 2 << 30, 64),
        (64, 64 << 30, 1, 2 << 30, 32),
        (64, 256 << 30, 4, 2 << 30, 16),
        (7, None, 2, 2 << 30, 3),
        (7, 1, 2, None, 3),
        (8, 1 << 30, 1, 2 << 30, 0),
        (1, 256 << 30, 2, 2 << 30, 0),
    ],
)
def test_a_node_holds_what_cores_and_memory_allow(
    cores: int, memory: int | None, cores_each: int, memory_each: int | None, expected: int
) -> None:
    assert plan_actors(cores, memory, cores_each=cores_each, memory_each=memory_each) == expected


def test_an_actor_without_cores_or_memory_is_refused() -> None:
    for wrong in ({"cores_each": 0}, {"memory_each": 0}):
        with pytest.raises(OptionError):
            plan_actors(4, 1, **wrong)


def test_a_process_is_measured_with_its_linker_and_what_a_run_holds() -> None:
    measured, held = process_bytes(OPENING), resident_bytes()
    assert (measured is None) == (held is None)
    assert measured is None or held is None or measured > held


def test_numbers_of_actors_below_one_are_refused() -> None:
    with pytest.raises(OptionError):
        RayOptions(actors=0)
