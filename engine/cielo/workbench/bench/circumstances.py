"""What the page of a benchmark says of its circumstances: the machine, and what was run on it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields

from cielo.text.language import numeral, say, sentence
from cielo.workbench.bench import figures
from cielo.workbench.bench.results import BenchResult
from cielo.workbench.bench.scenarios import Scenario
from cielo.workbench.bench.system import System
from cielo.workbench.page.parts import DASH, count, value_name

_NAMES: dict[Scenario, str] = {
    "single-stream": sentence("Single stream"),
    "multi-stream": sentence("Multi-stream"),
    "offline": sentence("Offline"),
    "server": sentence("Server"),
}
# The fields of a thread plan; a test holds them to it.
PLAN = (
    sentence("replicas"), sentence("threads"), sentence("batch tokens"), sentence("first search"),
    sentence("wait policy"), sentence("source"),
)  # fmt: skip


def scenario_name(scenario: Scenario) -> str:
    """Return what a scenario is called on the page."""
    return say(_NAMES[scenario])


def machine_facts(system: System) -> Iterator[tuple[str, str]]:
    """Yield what a machine is, by name."""
    cores = say(
        "{cores} usable, {processors} logical processor(s) of {all}",
        cores=system.cores,
        processors=system.processors,
        all=system.processors_in_all,
    )
    if system.processors_granted:
        cores += say("; the time of {processors} granted", processors=numeral(f"{system.processors_granted:g}"))
    yield say("processor"), system.processor
    yield say("cores"), cores
    yield "GPU", ", ".join(system.gpus) or say("none seen")
    yield say("instruction sets"), " ".join(system.instruction_sets) or DASH
    yield say("memory"), figures.memory(system.memory)
    yield say("load at the start"), figures.significant(system.load, 2)
    yield say("system"), ", ".join(filter(None, (system.kernel, system.libc, system.architecture)))
    variables = " ".join(f"{name}={value}" for name, value in system.environment.items())
    yield say("environment"), variables or say("nothing set")
    yield say("libraries"), ", ".join(f"{name} {version}" for name, version in system.libraries.items())
    yield say("machine key"), system.machine_key


def run_facts(result: BenchResult) -> Iterator[tuple[str, str]]:
    """Yield what was run, by name."""
    settings, bundle = result.settings, result.provenance.bundle
    methods: dict[str, int] = {}
    for entry in result.scenarios:
        for name, found in entry.methods.items():
            methods[name] = methods.get(name, 0) + found
    linked = sum(methods.values())
    plan = ((say(one.name.replace("_", " ")), getattr(result.plan, one.name)) for one in fields(result.plan))
    yield say("bundle"), f"{bundle.name}, sha256 {bundle.sha256}"
    yield say("thread plan"), ", ".join(f"{name} {value}" for name, value in plan)
    yield say("workload"), _workload(result)
    found_by = (f"{value_name(name)} {figures.share(found / linked)}" for name, found in methods.items())
    yield say("by method"), ", ".join(found_by)
    yield (
        say("budget"),
        say(
            "{seconds} s a scenario, {least} to {most} queries",
            seconds=numeral(f"{settings.seconds:g}"),
            least=settings.least,
            most=count(settings.queries),
        ),
    )
    warmup = (f"{scenario_name(entry.scenario)} {count(entry.warmup_mentions)}" for entry in result.scenarios)
    yield say("warm-up, not counted"), say("{counts} mentions", counts=", ".join(warmup))
    yield say("seed"), str(settings.seed)


def _workload(result: BenchResult) -> str:
    workload = result.workload
    left_out = say(", {count} row(s) left out", count=count(workload.left_out)) if workload.left_out else ""
    return say(
        "{origin}: {mentions} mentions, {distinct} distinct{left_out}; sha256 {sha256}",
        origin=say("cielo’s own") if workload.name == "default" else say("a file"),
        mentions=count(workload.mentions),
        distinct=count(workload.distinct),
        left_out=left_out,
        sha256=workload.sha256[:12],
    )
