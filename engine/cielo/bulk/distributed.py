"""A run on Ray; extra `ray`. Ray starts the actors and starts them again; who does what the run's leases say.

So a run can be gone on with by Ray or without it, and nothing leans on Ray's own checkpoints.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from cielo.bulk.layout import RunFolder
from cielo.bulk.records import BulkOptions, Fragment, Plan, Summary
from cielo.bulk.running import Run
from cielo.bulk.sizing import plan_actors, process_bytes
from cielo.bulk.working import Watcher
from cielo.errors import CieloError, DeviceError, OptionError
from cielo.extras import require
from cielo.machine import usable_cores

if TYPE_CHECKING:
    from cielo.link.linker import Linker
    from cielo.options import LinkOptions

_LOOKED = 1.0  # seconds between two looks at what the actors have done
# Ray's own settings, read when it is loaded. By its defaults a cluster that does not answer is tried 20 times for 40
# seconds each.
_OF_CONNECTING = {"RAY_NUM_REDIS_GET_RETRIES": "1", "RAY_py_gcs_connect_timeout_s": "10"}


@dataclass(frozen=True, slots=True, kw_only=True)
class RayOptions:
    """Where a run's actors are.

    Attributes:
        address: of a cluster, such as ``auto``; None: Ray is started on this machine, for the run alone.
        cores: of each actor; its linker should be opened with as many threads.
        actors: how many; None: as many as each node's cores and memory hold, by what one is measured to need there.

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
    watcher: Watcher | None = None,
) -> Summary:
    """Work at a run by actors of Ray, and return what it gave.

    Args:
        inputs, output, linking, options, bundle: see `Run`; relative paths are made absolute here, and every node must
            have the files at the same place.
        opening: gives a linker without a cache (`functools.partial(Linker.open, threads=1, cache=False)`); it is called
            in each actor.
        ray_options: where the actors are.
        started: is given the actors' handles once they are asked for.
        watcher: is told of the mentions of each fragment once it is linked, of `planned` in all.

    Raises:
        CieloError: where Ray is not installed, or what the run itself raises; see `Run`.
        DeviceError: where the cluster cannot be reached, has no room for an actor, or does not see the output.
    """
    wanted = ray_options or RayOptions()
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Ray reports to its makers unless it is told not to
    if wanted.address:
        for name, value in _OF_CONNECTING.items():
            os.environ.setdefault(name, value)
    ray = require("ray", "ray", "a run on Ray")
    with _connected(ray, wanted):
        count, memory = _sizes(ray, wanted, opening, linking)
        remote = ray.remote(num_cpus=wanted.cores, memory=memory, max_restarts=-1, max_task_retries=-1)(Actor)
        actors = [remote.remote(opening) for _ in range(count)]
        started(actors)
        task = ([_absolute(name) for name in inputs], output.absolute(), linking, options, bundle)
        folder, looking = RunFolder(output), _Looking(RunFolder(output), watcher)
        working = [actor.work.remote(*task) for actor in actors]
        while working:
            done, working = ray.wait(working, timeout=_LOOKED)
            ray.get(done)
            looking.look()
    summary = folder.read(folder.summary, Summary)
    if summary is None:
        raise DeviceError(f"{output}: was not written; every node must have it at the same place")
    return summary


def planned(output: Path) -> int | None:
    """Return how many different mentions a run links in all; None: it has no plan yet."""
    folder = RunFolder(output)
    plan = folder.read(folder.plan, Plan)
    return None if plan is None else plan.distinct


class _Looking:
    """Tells a watcher of fragments that are linked, by what stands in the run's directory, in their order."""

    def __init__(self, folder: RunFolder, watcher: Watcher | None) -> None:
        """Tell what was linked before, if anything was."""
        self._folder, self._watcher = folder, watcher
        self._left: Iterator[Fragment] | None = None
        self._next: Fragment | None = None
        if watcher is not None:
            self._go_on(watcher.skip)

    def look(self) -> None:
        """Tell what was linked since."""
        if self._watcher is not None:
            self._go_on(self._watcher.advance)

    def _go_on(self, told: Callable[[int], None]) -> None:
        if self._left is None:
            plan = self._folder.read(self._folder.plan, Plan)
            if plan is None:
                return
            self._left = iter(plan.fragments)
            self._next = next(self._left, None)
        while self._next is not None and self._is_linked(self._next.number):
            told(self._next.distinct)
            self._next = next(self._left, None)

    def _is_linked(self, number: int) -> bool:
        # Links are removed once all is done; the records of what was written stay.
        return self._folder.links(number).exists() or self._folder.done(number).exists()


@contextlib.contextmanager
def _connected(ray: ModuleType, wanted: RayOptions) -> Iterator[None]:
    """Connect to Ray while the block runs, unless this process is connected, and hand on what its actors raise."""
    mine = not ray.is_initialized()
    try:
        if mine:
            local: dict[str, Any] = {"num_cpus": _local_cores(wanted), "include_dashboard": False}
            quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.WARNING}
            ray.init(address=wanted.address, **quiet, **({} if wanted.address else local))
        yield
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, CieloError):
            raise error.cause from error
        raise
    except ConnectionError as error:
        raise DeviceError(
            f"Ray cannot work at {wanted.address or 'this machine'}: no cluster answers there; start one "
            "(`ray start --head`), or name the HOST:PORT of one that runs"
        ) from error
    except ray.exceptions.RayError as error:
        raise DeviceError(
            f"Ray cannot work at {wanted.address or 'this machine'} ({type(error).__name__}); see that it runs and has "
            "the memory for its actors (fewer --actors), and run the same command again"
        ) from error
    finally:
        if mine:
            ray.shutdown()


def _sizes(
    ray: ModuleType, wanted: RayOptions, opening: Callable[[], Linker], linking: LinkOptions | None
) -> tuple[int, int | None]:
    """Return how many actors there are to be, and the memory that Ray keeps for each, in bytes.

    Raises:
        DeviceError: where no node has room for one.
    """
    if wanted.actors is not None:
        return wanted.actors, None
    if not _room(ray, wanted, None):
        raise DeviceError(f"no node of Ray has {wanted.cores} core(s) for an actor; give it fewer --threads")
    # A worker of Ray that ends with this task: what it has loaded would stay in memory beside the actors.
    memory = ray.get(ray.remote(num_cpus=wanted.cores, max_calls=1)(process_bytes).remote(opening, linking))
    count = _room(ray, wanted, memory)
    if not count:
        raise DeviceError(
            f"no node of Ray has room for an actor, which takes {(memory or 0) / 1e9:.1f} GB; give Ray more memory, or "
            "--actors to try all the same"
        )
    return count, memory


def _room(ray: ModuleType, wanted: RayOptions, memory: int | None) -> int:
    """Return how many actors the cluster's nodes hold together."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    return sum(
        plan_actors(
            int(node.get("CPU", 0)),
            int(node["memory"]) if "memory" in node else None,
            cores_each=wanted.cores,
            memory_each=memory,
        )
        for node in nodes
    )


def _local_cores(wanted: RayOptions) -> int:
    return max(wanted.cores, usable_cores()) if wanted.actors is None else wanted.actors * wanted.cores


def _absolute(name: str) -> str:
    return str(Path(name).absolute())
