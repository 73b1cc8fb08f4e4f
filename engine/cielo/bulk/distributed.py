"""A run on Ray; extra `ray`. Ray starts the actors and starts them again; who does what the run's leases say.

So a run can be gone on with by Ray or without it, and nothing leans on Ray's own checkpoints.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cielo.bulk.layout import RunFolder
from cielo.bulk.records import BulkOptions, Summary
from cielo.bulk.running import Run
from cielo.errors import CieloError, OptionError

if TYPE_CHECKING:
    from cielo.link.linker import Linker
    from cielo.options import LinkOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class RayOptions:
    """Where a run's actors are.

    Attributes:
        address: of a cluster, such as ``auto``; None: Ray is started on this machine, for the run alone.
        cores: of each actor; its linker should be opened with as many threads.
        actors: how many; None: as many as the cluster has cores for.

    Raises:
        OptionError: where a number is less than 1.
    """

    address: str | None = None
    cores: int = 1
    actors: int | None = None

    def __post_init__(self) -> None:
        if self.cores < 1 or (self.actors is not None and self.actors < 1):
            raise OptionError("got less than one actor or core for each, expected at least 1")


class Actor:
    """One linker in a process of Ray, and its part of a run."""

    def __init__(self, opening: Callable[[], Linker]) -> None:
        self._linker = opening()

    def process(self) -> int:
        """Return the number of this process."""
        return os.getpid()

    def work(
        self,
        inputs: Sequence[str],
        output: Path,
        linking: LinkOptions | None,
        options: BulkOptions | None,
        bundle: Path | None,
    ) -> int:
        """Work at a run until it is finished; return how many rows were written here."""
        run = Run(inputs, output, self._linker, linking, options, bundle=bundle)
        return run.work(run.prepare()).rows_written


def run_on_ray(
    inputs: Sequence[str],
    output: Path,
    opening: Callable[[], Linker],
    linking: LinkOptions | None = None,
    options: BulkOptions | None = None,
    *,
    ray_options: RayOptions | None = None,
    bundle: Path | None = None,
    started: Callable[[Sequence[Any]], None] = lambda _: None,
) -> Summary:
    """Work at a run by actors of Ray, and return what it gave.

    Args:
        inputs, output, linking, options, bundle: see `Run`; relative paths are made absolute here, and every node must
            have the files at the same place.
        opening: gives a linker without a cache (`functools.partial(Linker.open, threads=1, cache=False)`); it is called
            in each actor.
        ray_options: where the actors are.
        started: is given the actors' handles once they are asked for.

    Raises:
        OptionError: where Ray is not installed.
        CieloError: what the run itself raises; see `Run`.
    """
    try:
        import ray
    except ModuleNotFoundError as error:
        raise OptionError("a run on Ray needs ray; install it with `pip install 'cielo[ray]'`") from error
    wanted = ray_options or RayOptions()
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Ray reports to its makers unless it is told not to
    mine = not ray.is_initialized()
    if mine:
        local: dict[str, Any] = {} if wanted.address else {"num_cpus": _local_cores(wanted), "include_dashboard": False}
        ray.init(address=wanted.address, log_to_driver=False, **local)
    try:
        count = wanted.actors or max(1, int(ray.cluster_resources().get("CPU", 1)) // wanted.cores)
        remote = ray.remote(num_cpus=wanted.cores, max_restarts=-1, max_task_retries=-1)(Actor)
        actors = [remote.remote(opening) for _ in range(count)]
        started(actors)
        task = ([_absolute(name) for name in inputs], output.absolute(), linking, options, bundle)
        ray.get([actor.work.remote(*task) for actor in actors])
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, CieloError):
            raise error.cause from error
        raise
    finally:
        if mine:
            ray.shutdown()
    folder = RunFolder(output)
    summary = folder.read(folder.summary, Summary)
    if summary is None:
        raise OptionError(f"{output}: was not written; every node must have it at the same place")
    return summary


def _local_cores(wanted: RayOptions) -> int | None:
    return None if wanted.actors is None else wanted.actors * wanted.cores


def _absolute(name: str) -> str:
    return str(Path(name).absolute())
