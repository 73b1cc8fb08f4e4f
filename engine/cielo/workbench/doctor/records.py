"""What an examination finds, as records: what ``cielo doctor --json`` prints."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from cielo.generation.plan import ThreadPlan, Use
from cielo.workbench.bench.system import System

# ``broken``: something does not work; ``slow``: it could be faster; ``note``: what is better known.
Severity = Literal["broken", "slow", "note"]


@dataclass(frozen=True, slots=True)
class Finding:
    """Something worth a word.

    Attributes:
        severity: how bad it is.
        what: was found, and was expected.
        remedy: what to do; empty where `what` says it.
    """

    severity: Severity
    what: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class BundleFacts:
    """The bundle.

    Attributes:
        size: of all its files, in bytes.
        models: bytes of the files that an opened linker keeps in memory: the largest generator, encoder and indexes.
        intact: whether every hash is as in the manifest.
        codes: how many of each kind.
        calibrated: the decodings that a confidence was fitted for.
    """

    name: str
    sha256: str
    path: str
    files: int
    size: int
    models: int
    intact: bool
    licence: str
    edition: str
    codes: Mapping[str, int]
    decoding: str
    calibrated: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class BackendFacts:
    """A backend of this version.

    Attributes:
        held: the compute type of the bundle's generator for it; None: the bundle holds none.
        runs: the compute types that run on each device of this machine.
    """

    name: str
    held: str | None
    runs: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class ParityFacts:
    """What is known of the bundle's parity in one `cielo.bundle.manifest.Execution`.

    Attributes:
        key: of the execution.
        passed: whether parity was shown.
        kept: of its checks, how many kept their bound, `checks`: how many there were.
        processor: that it was compared on.
        here: whether that was this kind of processor.
    """

    key: str
    passed: bool
    kept: int
    checks: int
    processor: str | None
    here: bool


@dataclass(frozen=True, slots=True)
class PlanFacts:
    """What answers for a use.

    Attributes:
        plan: its `source` says where it comes from: ``tuned``, ``given`` or ``default``.
        milliseconds: a mention, as `cielo tune` measured it; None where it did not.
        outdated: `cielo tune` kept a plan here that cannot be used: it was measured with another number of processors.
    """

    use: Use
    backend: str
    device: str
    compute_type: str
    plan: ThreadPlan
    milliseconds: float | None
    outdated: bool

    @property
    def key(self) -> str:
        """Of its `cielo.bundle.manifest.Execution`."""
        return f"{self.backend}/{self.device}/{self.compute_type}"


@dataclass(frozen=True, slots=True)
class MemoryFacts:
    """Memory in bytes; None where the system does not say.

    Attributes:
        installed: in this machine.
        available: to new work, before anything is swapped out.
        granted: to this process by its control groups; None: all.
    """

    installed: int | None
    available: int | None
    granted: int | None


@dataclass(frozen=True, slots=True)
class StateFacts:
    """The directory for what cielo keeps about this machine.

    Attributes:
        path: None where there can be none.
        writable: whether something can be kept in it.
    """

    path: str | None
    writable: bool


@dataclass(frozen=True, slots=True)
class CacheFacts:
    """A cache's file.

    Attributes:
        links: in it; None: there is no file yet, or it cannot be read.
        size: bytes.
        writable: whether links can be kept in it.
    """

    path: str
    links: int | None
    size: int | None
    writable: bool


@dataclass(frozen=True, slots=True)
class ExtraFacts:
    """An extra of cielo, and which of its libraries are missing."""

    name: str
    missing: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """An examination. None of it holds a text of a user.

    Attributes:
        bundle: None where it cannot be opened.
        plans: for each use that can be answered.
        cache: None where no file was named.
        telemetry: whether ONNX Runtime would report to anybody; cielo itself never does.
        findings: the broken first.
    """

    bundle: BundleFacts | None
    backends: tuple[BackendFacts, ...]
    parity: tuple[ParityFacts, ...]
    plans: tuple[PlanFacts, ...]
    machine: System
    memory: MemoryFacts
    state: StateFacts
    cache: CacheFacts | None
    extras: tuple[ExtraFacts, ...]
    telemetry: bool
    findings: tuple[Finding, ...] = ()

    @property
    def usable(self) -> bool:
        """Whether nothing is broken."""
        return all(finding.severity != "broken" for finding in self.findings)
