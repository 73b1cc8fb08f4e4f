"""Examining: what cielo would run on here. No model is loaded, nothing is written, and nothing is sent."""

from __future__ import annotations

import os
import re
import sqlite3
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from importlib import metadata
from pathlib import Path

from cielo.bundle.choosing import AUTO, Asked, choose_backend
from cielo.bundle.hashes import check_files
from cielo.bundle.layout import ENCODER, GENERATOR, INDEX, TRIE, Bundle, default_bundle
from cielo.bundle.manifest import Execution
from cielo.bundle.opening import require_parity, settle_execution
from cielo.bundle.state import known_parity, load_plans, plan_file, plan_for
from cielo.cache.file import VERSION, look_into
from cielo.errors import CacheError, CieloError
from cielo.generation.backends import BACKENDS
from cielo.generation.plan import USES, Use
from cielo.machine import bytes_in, granted_memory, machine_key, state_directory
from cielo.records import Decoding
from cielo.workbench.bench.system import describe_system
from cielo.workbench.doctor.judging import judge
from cielo.workbench.doctor.records import (
    BackendFacts,
    BundleFacts,
    CacheFacts,
    ExtraFacts,
    Finding,
    MemoryFacts,
    ParityFacts,
    PlanFacts,
    Report,
    StateFacts,
)

_MEMINFO = Path("/proc/meminfo")
_REQUIREMENT = re.compile(r"([\w.-]+)[^;]*(?:;.*extra == ['\"]([\w.-]+)['\"])?")
_DEVELOPMENT = frozenset({"bench", "load", "test", "serve-test", "integrations-test"})  # of no use to a user
_INSTALL = "install it with: pip install "


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked for, as `cielo.bundle.opening.open_bundle` takes it."""

    backend: str = AUTO
    device: str = AUTO
    compute_type: str | None = None
    threads: int | None = None
    decoding: Decoding | None = None


@dataclass(slots=True)
class _Examination:
    """What is broken, as far as it was looked at."""

    findings: list[Finding] = field(default_factory=list)

    def broken(self, what: object, remedy: str = "") -> None:
        self.findings.append(Finding("broken", str(what), remedy))


def examine(path: Path | None = None, wanted: Wanted | None = None, cache: Path | None = None) -> Report:
    """Return what a linker would run on here, and what is broken or slow about it.

    Args:
        path: of the bundle; None: ``CIELO_BUNDLE``, else the mini that comes with cielo.
        wanted: how it is to be opened; None: as by default.
        cache: a cache's file that is to be looked at.
    """
    wanted = wanted or Wanted()
    found = _Examination()
    bundle = _opened(path or default_bundle(), found)
    backends = tuple(_backends(bundle, found))
    report = Report(
        bundle=None if bundle is None else _bundle_facts(bundle, found),
        backends=backends,
        parity=() if bundle is None else tuple(_parity(bundle)),
        plans=() if bundle is None else tuple(_plans(bundle, wanted, found)),
        machine=describe_system(),
        memory=MemoryFacts(bytes_in(_MEMINFO, "MemTotal"), bytes_in(_MEMINFO, "MemAvailable"), granted_memory()),
        state=_state(),
        cache=None if cache is None else _cache(cache, found),
        extras=tuple(_extras(found)),
        # Loading the backends has loaded ONNX Runtime, which reads this once.
        telemetry=os.environ.get("ORT_DISABLE_TELEMETRY") != "1",
    )
    order = ("broken", "slow", "note")
    findings = dict.fromkeys([*found.findings, *judge(report)])  # both uses can fail for one reason
    return replace(report, findings=tuple(sorted(findings, key=lambda entry: order.index(entry.severity))))


def _opened(path: Path, found: _Examination) -> Bundle | None:
    try:
        return Bundle.open(path)
    except CieloError as error:
        found.broken(error)
        return None


def _bundle_facts(bundle: Bundle, found: _Examination) -> BundleFacts:
    intact, calibrated = True, tuple[str, ...]()
    try:
        check_files(bundle, keep=False)
    except CieloError as error:
        intact = False
        found.broken(error)
    try:
        calibrated = tuple(bundle.calibrations())
    except CieloError as error:
        found.broken(error)
    manifest = bundle.manifest
    return BundleFacts(
        name=bundle.name,
        sha256=bundle.sha256,
        path=str(bundle.path),
        files=len(manifest.files),
        size=sum(entry.size for entry in manifest.files.values()),
        models=_model_bytes(bundle),
        intact=intact,
        licence=manifest.licence,
        edition=manifest.knowledge_base.edition,
        codes=dict(manifest.knowledge_base.concepts),
        decoding=manifest.generator.decoding,
        calibrated=calibrated,
    )


def _model_bytes(bundle: Bundle) -> int:
    def within(folder: str) -> int:
        return sum(entry.size for name, entry in bundle.manifest.files.items() if name.startswith(f"{folder}/"))

    generators = [within(f"{GENERATOR}/{name}") for name in bundle.manifest.generator.backends]
    return max(generators, default=0) + sum(within(folder) for folder in (ENCODER, INDEX, TRIE))


def _backends(bundle: Bundle | None, found: _Examination) -> Iterator[BackendFacts]:
    held = {} if bundle is None else bundle.manifest.generator.backends
    for name, backend in BACKENDS.items():
        runs: dict[str, tuple[str, ...]] = {}
        try:
            for device in backend.devices():
                runs[device] = tuple(sorted(backend.runnable_compute_types(device)))
        except (ImportError, OSError, RuntimeError) as error:
            found.broken(
                f"the library of the backend {name} does not load ({error})", f"{_INSTALL}--force-reinstall cielo"
            )
        yield BackendFacts(name, held[name].compute_type if name in held else None, runs)


def _parity(bundle: Bundle) -> Iterator[ParityFacts]:
    here = machine_key()
    for key, figures in sorted(known_parity(bundle).items()):
        kept = sum(check.passed for check in figures.checks)
        yield ParityFacts(
            key, figures.passed, kept, len(figures.checks), figures.processor, here=figures.machine == here
        )


def _plans(bundle: Bundle, wanted: Wanted, found: _Examination) -> Iterator[PlanFacts]:
    for use in USES:
        try:
            with warnings.catch_warnings(record=True) as said:  # of plans that are damaged
                warnings.simplefilter("always")
                facts = _plan(bundle, wanted, use)
        except (CieloError, ImportError) as error:
            found.broken(error)
        else:
            found.findings += [Finding("slow", str(entry.message)) for entry in said]
            yield facts


def _plan(bundle: Bundle, wanted: Wanted, use: Use) -> PlanFacts:
    """Return what `cielo.bundle.opening.open_bundle` would take.

    Raises:
        CieloError: where it would open nothing.
    """
    decoding, untold = wanted.decoding or bundle.manifest.generator.decoding, wanted.threads is None
    asked = Asked(wanted.backend, wanted.device, wanted.compute_type, decoding, use, tuned=untold)
    execution = settle_execution(bundle, asked, choose_backend(bundle, asked))
    require_parity(bundle, execution)
    plan = plan_for(bundle, execution, wanted.threads, use=use)
    kept = load_plans(bundle, execution) if plan.source == "tuned" else None
    return PlanFacts(
        use=use,
        backend=execution.backend,
        device=execution.device,
        compute_type=execution.compute_type,
        plan=plan,
        milliseconds=None if kept is None else kept.best(use).figure(use),
        outdated=plan.source == "default" and _is_kept(bundle, execution),
    )


def _is_kept(bundle: Bundle, execution: Execution) -> bool:
    try:
        return plan_file(bundle, execution).exists()
    except (CieloError, OSError):
        return False


def _state() -> StateFacts:
    try:
        place = state_directory()
    except CieloError:
        return StateFacts(None, writable=False)
    return StateFacts(str(place), writable=_can_hold(place))


def _can_hold(folder: Path) -> bool:
    """Tell whether files can be made in a folder, or the folder itself in the nearest one above it that is there."""
    for place in (folder, *folder.absolute().parents):
        if os.path.lexists(place):
            return place.is_dir() and os.access(place, os.W_OK | os.X_OK)
    return False


def _cache(path: Path, found: _Examination) -> CacheFacts:
    path = path.absolute()
    if not os.path.lexists(path):
        return CacheFacts(str(path), None, None, writable=_can_hold(path.parent))
    links, size = None, None
    try:
        version, links = look_into(path)
        size = path.stat().st_size
        if version > VERSION:
            found.broken(
                f"{path} is of a newer cielo's schema {version}, expected {VERSION}",
                "update cielo, or name another file",
            )
        elif version < VERSION:
            found.findings.append(
                Finding("note", f"{path} is of an older cielo's schema {version}: it is replaced at its next use")
            )
    except CacheError as error:
        found.broken(error)
    except OSError as error:
        found.broken(f"{path} cannot be read ({error.strerror})", "name another file with --cache")
    except sqlite3.Error:
        found.findings.append(Finding("note", f"{path} is damaged: it is replaced at its next use"))
    return CacheFacts(str(path), links, size, writable=os.access(path, os.W_OK) and _can_hold(path.parent))


def _extras(found: _Examination) -> Iterator[ExtraFacts]:
    """Yield what the installed package says of its extras; what it always needs is broken where it is missing."""
    missing: dict[str, list[str]] = {}
    try:
        required = metadata.requires("cielo") or []
    except metadata.PackageNotFoundError:  # run from its sources
        return
    for line in required:
        match = _REQUIREMENT.match(line)
        if match is not None:
            name, extra = match.group(1), match.group(2) or ""
            missing.setdefault(extra, []).extend([] if _is_installed(name) else [name])
    for name in missing.pop("", []):
        found.broken(f"cielo needs {name}, which is not installed", f"{_INSTALL}{name}")
    for extra, names in sorted(missing.items()):
        if extra not in _DEVELOPMENT:
            yield ExtraFacts(extra, tuple(dict.fromkeys(names)))


def _is_installed(name: str) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True
