"""Opening a bundle: which backend and device, whether parity was shown there, the thread plan, and then the stages.

The policy: a generator is opened only where its outputs were compared with float32 PyTorch, by the conversion or by
`cielo verify --parity` on this machine, for exactly this backend, device and compute type. What was shown for one
backend says nothing of another.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from cielo.bundle.budget import keep_within
from cielo.bundle.choosing import AUTO, Asked, backend_on_gpu, choose_backend
from cielo.bundle.hashes import VerifyFiles
from cielo.bundle.layout import Bundle, default_bundle
from cielo.bundle.manifest import Execution, shown_parity
from cielo.bundle.stages import Stages, open_beside, open_stages, with_knowledge_base
from cielo.bundle.state import has_parity, known_parity, plan_for
from cielo.errors import OptionError, UnverifiedError
from cielo.generation.backends import backend as registered
from cielo.generation.capabilities import resolve_device
from cielo.generation.plan import ThreadPlan, Use
from cielo.records import BundleIdentity, Decoding, Provenance


@dataclass(frozen=True, slots=True)
class Opened:
    """An opened bundle; closing its stages releases the models."""

    bundle: Bundle
    execution: Execution
    plan: ThreadPlan
    stages: Stages

    @property
    def backend(self) -> str:
        """That runs the generator."""
        return self.execution.backend

    @property
    def device(self) -> str:
        """``cpu`` or ``cuda``."""
        return self.execution.device

    @property
    def compute_type(self) -> str:
        """Of the generator."""
        return self.execution.compute_type

    def provenance(self, decoding: Decoding) -> Provenance:
        """Return where links come from that are found by it with this decoding.

        With a knowledge base that is not the bundle's, the hash is one of both, and the edition that one's.
        """
        name, sha256, edition = self.bundle.name, self.bundle.sha256, self.bundle.manifest.knowledge_base.edition
        if self.stages.foreign is not None:
            sha256 = hashlib.sha256(f"{sha256} {self.stages.foreign}".encode()).hexdigest()
            edition = self.stages.knowledge_base.edition
        return Provenance(
            bundle=BundleIdentity(name, sha256, edition),
            backend=self.backend,
            compute_type=self.compute_type,
            device=self.device,
            decoding=decoding,
        )


def open_bundle(
    path: str | Path | None = None,
    *,
    backend: str = AUTO,
    device: str = AUTO,
    compute_type: str | None = None,
    threads: int | None = None,
    allow_unverified: bool = False,
    plan: ThreadPlan | None = None,
    memory: int | None = None,
    verify_files: VerifyFiles = "once",
    decoding: Decoding | None = None,
    use: Use = "bulk",
    shared: Stages | None = None,
    knowledge_base: Path | None = None,
) -> Opened:
    """Open a bundle and its stages.

    Args:
        path: its directory; None: ``CIELO_BUNDLE``, else the mini that comes with cielo.
        backend: that runs the generator; ``auto``: of those that the bundle holds and parity was shown for, the one
            that is the fastest here for `use` (`cielo.bundle.choosing`).
        device: ``cpu``, ``cuda``, or ``auto`` (a GPU where there is one on which parity was shown).
        compute_type: of the generator; None: the bundle's own for the backend.
        threads: processor threads; None: as the plan says.
        allow_unverified: open it although parity was not shown.
        plan: how the processors are used; None: what `cielo tune` kept for this machine, else the backend's default.
        memory: a budget for the resident memory of this process, in bytes; None: there is none.
        verify_files: ``always``: hash every file; ``once``: those that this machine has not hashed as they are now;
            ``never``: none.
        decoding: that the backend has to do; None: the bundle's own.
        use: ``single``, one mention at a time, or ``bulk``: what backend and plan are chosen for.
        shared: stages of the same bundle that are open already: all but the generator is theirs.
        knowledge_base: a file in place of the bundle's, without vectors; see `cielo.bundle.stages.with_knowledge_base`.

    Raises:
        BundleError: where the bundle is missing or damaged, or holds no generator for the backend.
        OptionError: where the backend, or for ``auto`` every one of the bundle, does not run the decoding, or a
            knowledge base is named beside `shared`.
        UnverifiedError: where parity was not shown.
        DeviceError: where the machine cannot run what was asked for, or not within `memory`.
    """
    if shared is not None and knowledge_base is not None:
        raise OptionError("got a knowledge base for a linker beside another one, expected none: it has that one's")
    bundle = Bundle.open(Path(path) if path is not None else default_bundle())
    wanted = decoding or bundle.manifest.generator.decoding
    asked = Asked(backend, device, compute_type, wanted, use, tuned=plan is None and threads is None)
    chosen = choose_backend(bundle, asked)
    if device != "cuda":  # before the library loads, which looking for a GPU does
        on_cpu = bundle.execution("cpu", backend=chosen, compute_type=compute_type)
        first = plan or plan_for(bundle, on_cpu, threads, use=use)
        registered(chosen).prepare(first, sparing=memory is not None)
    execution = settle_execution(bundle, asked, chosen)
    if not allow_unverified:
        require_parity(bundle, execution)
    plan = plan or plan_for(bundle, execution, threads, use=use)
    if shared is None:
        stages = open_stages(bundle, execution, plan, verify_files=verify_files)
    else:
        stages = open_beside(shared, bundle, execution, plan)
    try:
        if knowledge_base is not None:
            stages = with_knowledge_base(stages, knowledge_base)
        if memory is not None:
            stages = keep_within(stages, bundle, execution.backend, memory)
    except BaseException:
        stages.close()
        raise
    return Opened(bundle, execution, plan, stages)


def settle_execution(bundle: Bundle, asked: Asked, chosen: str) -> Execution:
    """Return how the generator runs that `choose_backend` chose; looking for a GPU loads the backend's library.

    Raises:
        DeviceError: where the device is unknown or not there.
    """
    if asked.device != "cuda":
        chosen = backend_on_gpu(bundle, asked) or chosen
    target = resolve_device(registered(chosen), asked.device)
    execution = bundle.execution(target, backend=chosen, compute_type=asked.compute_type)
    if asked.device == AUTO and target == "cuda" and not has_parity(bundle, execution):
        return bundle.execution("cpu", backend=chosen, compute_type=asked.compute_type)
    return execution


def execution_on(
    bundle: Bundle, *, backend: str = AUTO, device: str = AUTO, compute_type: str | None = None
) -> Execution:
    """Return how the generator would run on this machine, whether parity was shown for that or not.

    Args:
        bundle: whose own backend and compute type are taken where none are named.
        backend: that runs the generator, or ``auto``.
        device: ``cpu``, ``cuda``, or ``auto`` (a GPU where there is one).
        compute_type: of the generator.

    Raises:
        BundleError: where the bundle holds no generator for the backend.
        DeviceError: where the device is unknown or not there.
    """
    name = bundle.manifest.generator.backend if backend == AUTO else backend
    compute_type = compute_type or bundle.model(name).compute_type
    return Execution(name, resolve_device(registered(name), device), compute_type)


def executions_on(
    bundle: Bundle, *, backend: str = AUTO, device: str = AUTO, compute_type: str | None = None
) -> list[Execution]:
    """Return how each of the bundle's backends would run here; one alone where it, or a compute type, is named.

    See `execution_on`.
    """
    if backend != AUTO or compute_type is not None:
        return [execution_on(bundle, backend=backend, device=device, compute_type=compute_type)]
    names = bundle.manifest.generator.backends
    return [execution_on(bundle, backend=name, device=device) for name in names]


def require_parity(bundle: Bundle, execution: Execution) -> None:
    """Refuse to run where parity was not shown.

    Raises:
        UnverifiedError: naming where it was, and the command that shows it.
    """
    if has_parity(bundle, execution):
        return
    shown = ", ".join(shown_parity(known_parity(bundle))) or "none"
    raise UnverifiedError(
        f"parity of compute type {execution.compute_type} with {execution.backend} on {execution.device} was not shown "
        f"for the bundle {bundle.name} (shown: {shown}); run `cielo verify --parity {bundle.path} "
        f"--backend {execution.backend} --device {execution.device} --compute-type {execution.compute_type}` on this "
        "machine, or allow unverified types explicitly"
    )
