"""``cielo doctor``: what cielo runs on here, what is broken, what is slow, and the command that mends it."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cielo import schema
from cielo.cli.base import EXIT_FAILED, echo, echo_json, main
from cielo.cli.options import BUNDLE, DECODINGS, model_options
from cielo.records import Decoding

if TYPE_CHECKING:
    from cielo.workbench.doctor.records import BundleFacts, MemoryFacts, PlanFacts, Report


@main.command()
@BUNDLE
@click.option("--cache", type=click.Path(path_type=Path), help="A cache's file, to be looked at too.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option(
    "--decoding", type=click.Choice(DECODINGS), help="How outputs are to be searched for; default: the bundle's own."
)
@model_options
def doctor(
    bundle: Path | None,
    cache: Path | None,
    as_json: bool,
    backend: str,
    device: str,
    compute_type: str | None,
    threads: int | None,
    decoding: Decoding | None,
) -> None:
    """Look for what is broken or slow here, and name what mends it.

    No model is loaded, and nothing is written. Exit code 1: something is broken.
    """
    from cielo.workbench.doctor.examining import Wanted, examine

    report = examine(bundle, Wanted(backend, device, compute_type, threads, decoding), cache)
    if as_json:
        told = {"usable": report.usable, **schema.to_builtins(report)}
        echo_json(json.dumps(told, ensure_ascii=False, indent=1))
    else:
        _show(report)
    if not report.usable:
        sys.exit(EXIT_FAILED)


def _show(report: Report) -> None:
    for name, value in _facts(report):
        echo(f"{name:<20}{value}")
    for finding in report.findings:
        echo(f"{finding.severity}: {finding.what}")
        if finding.remedy:
            echo(f"  do: {finding.remedy}")
    echo("usable" if report.usable else "not usable as it is: see what is broken")


def _facts(report: Report) -> Iterator[tuple[str, str]]:
    if report.bundle is not None:
        yield from _bundle_facts(report.bundle)
    for entry in report.parity:
        where = "this kind of processor" if entry.here else entry.processor or "no machine"
        shown = "shown" if entry.passed else "NOT shown"
        yield "parity", f"{entry.key}: {shown} ({entry.kept} of {entry.checks} checks; {where})"
    for backend in report.backends:
        runs = "; ".join(f"{device}: {', '.join(types)}" for device, types in backend.runs.items()) or "does not load"
        held = f"the bundle's is {backend.held}" if backend.held else "not in the bundle"
        yield f"backend {backend.name}", f"{held}; here {runs}"
    for plan in report.plans:
        yield f"use {plan.use}", _plan(plan)
    yield from _machine_facts(report)
    yield "state", f"{report.state.path or 'none'} ({'writable' if report.state.writable else 'NOT writable'})"
    yield "cache", _cache(report)
    absent = [entry.name for entry in report.extras if entry.missing]
    yield "extras", ", ".join(entry.name for entry in report.extras if not entry.missing) or "none"
    if absent:
        yield "extras absent", f"{', '.join(absent)} (pip install 'cielo[NAME]')"
    yield "telemetry", "ON: of ONNX Runtime" if report.telemetry else "off"


def _bundle_facts(bundle: BundleFacts) -> Iterator[tuple[str, str]]:
    hashes = "every hash as in the manifest" if bundle.intact else "NOT as in the manifest"
    yield "bundle", f"{bundle.name}@{bundle.sha256[:12]}, {bundle.path}"
    yield "files", f"{bundle.files}, {bundle.size / 1e6:.1f} MB, {hashes}"
    yield (
        "edition",
        f"{bundle.edition}: {', '.join(f'{count:,} of kind {kind}' for kind, count in bundle.codes.items())}",
    )
    yield "confidence", f"calibrated for {', '.join(bundle.calibrated)}" if bundle.calibrated else "never calibrated"


def _plan(plan: PlanFacts) -> str:
    from cielo.workbench.tuning import describe

    sources = {"tuned": "measured by `cielo tune`", "given": "by --threads", "default": "unmeasured"}
    took = "" if plan.milliseconds is None else f", {plan.milliseconds:.1f} ms a mention"
    return f"{plan.key}, {describe(plan.plan)} ({sources[plan.plan.source]}{took})"


def _machine_facts(report: Report) -> Iterator[tuple[str, str]]:
    machine = report.machine
    granted = (
        "" if machine.processors_granted is None else f", {machine.processors_granted:g} granted by control groups"
    )
    yield (
        "processor",
        f"{machine.processor} ({machine.architecture}): {', '.join(machine.instruction_sets) or 'unknown'}",
    )
    yield "cores", f"{machine.cores} of {machine.processors_in_all} processors{granted}"
    if machine.gpus:
        yield "GPU", ", ".join(machine.gpus)
    yield "memory", _memory(report.memory)
    yield "versions", ", ".join(f"{name} {version}" for name, version in machine.libraries.items())
    yield "system", f"{machine.kernel}{f', {machine.libc}' if machine.libc else ''}"


def _memory(memory: MemoryFacts) -> str:
    sizes = {"installed": memory.installed, "available": memory.available, "granted by control groups": memory.granted}
    return ", ".join(f"{size / 1e9:.1f} GB {name}" for name, size in sizes.items() if size is not None) or "unknown"


def _cache(report: Report) -> str:
    cache = report.cache
    if cache is None:
        return "in memory alone, unless --cache names a file"
    held = (
        "no file yet"
        if cache.size is None
        else f"{cache.links or 0:,} link{'s' * (cache.links != 1)}, {cache.size / 1e6:.1f} MB"
    )
    return f"{cache.path} ({held}{'' if cache.writable else ', NOT writable'})"
