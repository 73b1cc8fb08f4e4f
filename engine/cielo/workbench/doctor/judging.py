"""Judging what was found: what makes cielo slow or its answers worth less here, and the command that mends it."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from cielo.workbench.doctor.records import BundleFacts, Finding, PlanFacts, Report

# Instructions that multiply bytes and add them up in one step: what int8 is fast by.
_BYTE_PRODUCTS = frozenset({"avx512_vnni", "avx_vnni", "amx_int8", "asimddp", "i8mm"})
_WIDE = frozenset({"avx2", "asimd"})
_CROWDED = 1.5  # processes that want to run for each processor


def judge(report: Report) -> Iterator[Finding]:
    """Yield what makes cielo slow here, then what is better known."""
    yield from _state(report)
    if report.bundle is not None:
        yield from _tuning(report, report.bundle)
        yield from _memory(report, report.bundle)
        yield from _gpu(report, report.bundle)
        yield from _parity(report, report.bundle)
        yield from _confidence(report.bundle)
    for plan in report.plans:
        yield from _threads(report, plan)
    yield from _instructions(report)
    yield from _neighbours(report)


def _command(words: str, bundle: BundleFacts, *options: str) -> str:
    return f"`{' '.join(['cielo', words, shlex.quote(bundle.path), *options])}`"


def _state(report: Report) -> Iterator[Finding]:
    if not report.state.writable:
        place = report.state.path or "no directory (this user has no home)"
        yield Finding(
            "slow",
            f"nothing can be kept in {place}: every opening hashes the whole bundle, what `cielo tune` and "
            "`cielo verify --parity` find out is refused, and no cache is kept in a file",
            "name a directory that can be written to in CIELO_STATE",
        )
    if report.cache is not None and not report.cache.writable:
        yield Finding("slow", f"no links can be kept in {report.cache.path}", "name another file with --cache")


def _tuning(report: Report, bundle: BundleFacts) -> Iterator[Finding]:
    for outdated, why in (
        (False, "nobody measured here which backend and threads are the fastest: they are as on another machine"),
        (True, "the thread plan that was measured here is not used: it was measured with other processors"),
    ):
        uses = [plan.use for plan in report.plans if plan.plan.source == "default" and plan.outdated is outdated]
        if uses:
            yield Finding("slow", f"{why} (use: {', '.join(uses)})", _command("tune", bundle))


def _memory(report: Report, bundle: BundleFacts) -> Iterator[Finding]:
    known = [size for size in (report.memory.available, report.memory.granted) if size is not None]
    if known and bundle.models > min(known):
        yield Finding(
            "slow",
            f"the models have {bundle.models / 1e9:.1f} GB, and this process may have {min(known) / 1e9:.1f} GB: they "
            "are read again and again, or the system ends the process",
            "give it more memory (the limit of its container), or convert with smaller compute types",
        )


def _gpu(report: Report, bundle: BundleFacts) -> Iterator[Finding]:
    if not report.machine.gpus or any(plan.device == "cuda" for plan in report.plans):
        return
    finding = [backend.name for backend in report.backends if backend.held and "cuda" in backend.runs]
    if finding:
        why = f"parity of {', '.join(finding)} was not shown on it"
        remedy = _command("verify", bundle, "--parity", "--device", "cuda")
    else:
        why = "no backend of this bundle finds it"
        remedy = "install NVIDIA's CUDA libraries, and onnxruntime-gpu in place of onnxruntime"
    yield Finding("slow", f"{report.machine.gpus[0]} is not used: {why}", remedy)


def _parity(report: Report, bundle: BundleFacts) -> Iterator[Finding]:
    here = {entry.key for entry in report.parity if entry.here}
    for key in dict.fromkeys(plan.key for plan in report.plans):
        if key not in here:
            backend, device, compute_type = key.split("/")
            yield Finding(
                "note",
                f"parity of {key} was shown on another kind of processor than this; scores, and where they nearly tie "
                "the answers, depend on it",
                _command(
                    "verify", bundle, "--parity", "--backend", backend, "--device", device,
                    "--compute-type", compute_type,
                ),
            )  # fmt: skip


def _confidence(bundle: BundleFacts) -> Iterator[Finding]:
    if bundle.decoding not in bundle.calibrated:
        yield Finding(
            "note",
            f"the bundle was not calibrated for its decoding, {bundle.decoding}: links have no confidence",
            "`cielo calibrate BUNDLE CORPUS --output NEW`, on annotated mentions like yours",
        )


def _threads(report: Report, plan: PlanFacts) -> Iterator[Finding]:
    if plan.device != "cpu":
        return
    threads, granted = plan.plan.replicas * plan.plan.threads, report.machine.processors_granted
    may = report.machine.processors
    if granted is not None and threads > granted:
        yield Finding(
            "slow",
            f"the plan has {_threads_of(threads)}, and the control group grants the time of {granted:g} processors: "
            "the system stops them again and again",
            "raise the limit (cpu.max; `docker run --cpus`, resources.limits.cpu)"
            if threads == 1
            else f"raise the limit (cpu.max), or use fewer threads: --threads {max(1, int(granted))}",
        )
    elif may is not None and threads > may:
        yield Finding(
            "slow",
            f"the plan has {_threads_of(threads)}, for {may} processors",
            f"use fewer: --threads {report.machine.cores}",
        )


def _threads_of(count: int) -> str:
    return f"{count} thread{'s' * (count != 1)}"


def _instructions(report: Report) -> Iterator[Finding]:
    sets = frozenset(report.machine.instruction_sets)
    if not sets:  # the system does not say
        return
    if not sets & _WIDE:
        yield Finding(
            "slow",
            f"{report.machine.processor} has no AVX2: the libraries fall back to kernels several times slower",
            "use a newer processor, or let the virtual machine show its host's (`-cpu host`)",
        )
    eights = [plan.key for plan in report.plans if plan.device == "cpu" and plan.compute_type.startswith("int8")]
    if eights and not sets & _BYTE_PRODUCTS:
        yield Finding(
            "slow",
            f"{report.machine.processor} has no VNNI and no AMX, which int8 is fast by "
            f"({', '.join(dict.fromkeys(eights))})",
            "use a processor with AVX-512 VNNI, AVX-VNNI or AMX; `cielo bench` measures what this one does",
        )


def _neighbours(report: Report) -> Iterator[Finding]:
    load, processors = report.machine.load, report.machine.processors
    if load is not None and processors is not None and load > _CROWDED * processors:
        yield Finding(
            "slow",
            f"in the last minute {load:.1f} processes wanted to run on {processors} processors",
            "end what else runs here, before `cielo tune` and `cielo bench` most of all",
        )
