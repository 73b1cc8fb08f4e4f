"""A run on a Ray cluster: Ray only says where processes run; what they do they claim in the run's folder.

So an actor that is killed leaves nothing missing and nothing twice, and a run goes on with or without a cluster.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from cielo.bulk.records import Request, Summary
from cielo.bulk.run import Run, read_summary
from cielo.errors import BulkError

_RESTARTS = 3  # of an actor that died


def load_ray() -> Any:
    """Return the library.

    Raises:
        BulkError: where it is not installed.
    """
    try:
        return importlib.import_module("ray")
    except ModuleNotFoundError as error:
        raise BulkError("the engine ray needs ray; install it with `pip install 'cielo[ray]'`") from error


def work_alone(folder: str, request: Request, opening: dict[str, Any], stale_seconds: float) -> int:
    """Work at a run until it is done, and return how many mentions this process has linked: what an actor does."""
    from cielo.link.linker import Linker

    with Linker.open(**opening) as linker:
        run = Run(Path(folder), request, linker, stale_seconds=stale_seconds)
        run.work()
        return run.linked


def work_on_ray(
    folder: Path,
    request: Request,
    opening: dict[str, Any],
    *,
    stale_seconds: float,
    actors: int | None = None,
    address: str | None = None,
) -> Summary:
    """Have a cluster work at a run, and return what it did.

    Args:
        folder: of the run; every node has to see it under this name.
        request: what is asked for.
        opening: of the linkers, see `cielo.Linker.open`; ``threads`` is how many processors each actor gets.
        stale_seconds: see `Run`.
        actors: how many; None: as many as have room on the cluster's processors.
        address: of the cluster; None: one on this machine alone.

    Raises:
        BulkError: where Ray is not installed, or every actor failed.
    """
    ray = load_ray()
    started = not ray.is_initialized()
    if started:
        ray.init(address=address, include_dashboard=False, log_to_driver=False)
    try:
        threads = opening.get("threads") or 1
        count = actors or max(1, int(ray.cluster_resources().get("CPU", 1)) // threads)
        remote = ray.remote(num_cpus=threads, max_retries=_RESTARTS)(work_alone)
        waiting = [remote.remote(str(folder), request, opening, stale_seconds) for _ in range(count)]
        failures = []
        while waiting:
            done, waiting = ray.wait(waiting)
            try:
                ray.get(done)
            except ray.exceptions.RayError as error:
                failures.append(error)
        if len(failures) == count:
            raise BulkError(f"every process on the cluster failed ({type(failures[0]).__name__}); see Ray's log")
        return read_summary(folder)
    finally:
        if started:
            ray.shutdown()
