"""A run on a local Ray of two actors, one of which is killed on the way."""

from __future__ import annotations

import functools
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from bulk_made import final_bytes, table
from cielo import Linker, LinkOptions
from cielo.bulk.distributed import RayOptions, run_on_ray
from cielo.bulk.records import BulkOptions
from cielo.bulk.running import Run
from cielo.errors import OptionError, TableError

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
    with pytest.raises(OptionError, match=r"cielo\[ray\]"):
        run_on_ray(["in.csv"], tmp_path / "out", OPENING)


def test_numbers_of_actors_below_one_are_refused() -> None:
    with pytest.raises(OptionError):
        RayOptions(actors=0)
