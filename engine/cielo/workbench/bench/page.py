"""The report as one HTML page: no network, no script, plots as inline SVG, light and dark.

It is made of the record that the JSON holds, so that a page can be made again from a kept JSON file
(`results.from_json`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields

from cielo.workbench.bench import figures, plots
from cielo.workbench.bench.results import BenchResult, ScenarioResult
from cielo.workbench.bench.scenarios import Scenario
from cielo.workbench.bench.statistics import PERCENTILES
from cielo.workbench.bench.system import System
from cielo.workbench.bench.workload import PUBLISHED_CHARACTERS
from cielo.workbench.page.canvas import Picture
from cielo.workbench.page.colours import LIGHT, themed
from cielo.workbench.page.parts import DASH, Facts, PageTable, Tile
from cielo.workbench.page.plots import Stack, stacked
from cielo.workbench.page.render import render

_NAMES: dict[Scenario, str] = {
    "single-stream": "Single stream",
    "multi-stream": "Multi-stream",
    "offline": "Offline",
    "server": "Server",
}
_STAGE_COLOURS = ("yellow", "blue", "green", "purple", "red", "grey")
_BUSY = 0.5  # of the processors, wanted by others: from there on a page warns


@dataclass(frozen=True, slots=True)
class _ScenarioView:
    title: str
    what: str
    picture: Picture
    marks: Facts
    offline: bool


@dataclass(frozen=True, slots=True)
class _ArrivalsView:
    picture: Picture
    unanswered: int


@dataclass(frozen=True, slots=True)
class _StagesView:
    keys: Facts
    picture: Picture
    table: PageTable
    unit: str


@dataclass(frozen=True, slots=True)
class _MemoryView:
    table: PageTable
    by_kernel: bool
    cuda: bool


@dataclass(frozen=True, slots=True)
class _LengthView:
    name: str
    title: str
    what: str
    picture: Picture


@dataclass(frozen=True, slots=True)
class _View:
    """What the template shows, in its order; what is None or empty is left out."""

    cielo: str
    bundle: str
    bundle_hash: str
    below: tuple[str, ...]
    tiles: tuple[Tile, ...]
    overview: PageTable
    warnings: tuple[str, ...]
    scenarios: Sequence[_ScenarioView]
    arrivals: _ArrivalsView | None
    stages: _StagesView | None
    memory: _MemoryView | None
    lengths: Sequence[_LengthView]
    default_workload: bool
    machine: Facts
    run: Facts


def to_html(result: BenchResult) -> str:
    """Return the page of a result.

    Raises:
        CieloError: where the extra ``report`` is not installed.
    """
    view = _View(
        cielo=result.cielo,
        bundle=result.provenance.bundle.name,
        bundle_hash=f"@{result.provenance.bundle.sha256[:12]}",
        below=_below(result),
        tiles=tuple(_tiles(result)),
        overview=_overview(result.scenarios),
        warnings=tuple(_warnings(result)),
        scenarios=[_offline(entry) if entry.scenario == "offline" else _latency(entry) for entry in result.scenarios],
        arrivals=_arrivals(result.scenarios),
        stages=_stages(result.scenarios),
        memory=_memory(result),
        lengths=list(_lengths(result)),
        default_workload=result.workload.name == "default",
        machine=tuple(_machine(result.system)),
        run=tuple(_run(result)),
    )
    return render("bench.html.j2", f"cielo bench: {view.bundle}{view.bundle_hash}", view)


def _below(result: BenchResult) -> tuple[str, ...]:
    made_by, system = result.provenance, result.system
    origin = (made_by.bundle.edition, f"decoding {made_by.decoding}", f"{made_by.compute_type}, {made_by.device}")
    # The GPUs come first where one of them does the work.
    processors = [*(system.gpus if made_by.device == "cuda" else ()), system.processor]
    made = result.made.replace("T", " ").replace("+00:00", " UTC")
    return " · ".join(origin), " · ".join((*processors, f"{system.cores} core(s)", made))


def _tiles(result: BenchResult) -> Iterator[Tile]:
    """Show the one figure of each scenario that matters most, in words."""
    found = {entry.scenario: entry for entry in result.scenarios}
    single, offline, server = (found.get(name) for name in ("single-stream", "offline", "server"))
    if single and single.latency:
        p95 = single.latency.p95
        beyond = "" if p95 is None else f"; 95\u00a0% within {figures.seconds(p95)}"
        words = f"half of single mentions are answered within this time{beyond}"
        yield _tile(figures.seconds(single.latency.p50), words)
    if offline and offline.throughput_of_repeats:
        words = f"mentions linked a second, {offline.settings['mentions_per_repeat']:,} at once"
        yield Tile(figures.significant(offline.throughput_of_repeats.median), "/s", words)
    if server:
        yield _server_tile(server)
    if result.memory.peak is not None:
        words = f"resident at the peak; {figures.memory(result.memory.opened)} before the first query"
        yield _tile(figures.memory(result.memory.peak), words)


def _tile(value: str, words: str) -> Tile:
    number, _, unit = value.partition(" ")
    return Tile(number, unit, words)


def _server_tile(entry: ScenarioResult) -> Tile:
    """Show the highest percentile that is known, or how many mentions were left without an answer."""
    rate = f"with {figures.significant(entry.settings['rate'])} mentions a second arriving"
    lost, known = entry.settings["unanswered"], _known(entry)
    if lost or not known:
        return Tile(f"{lost:,}", "", f"of {entry.queries:,} mentions were never answered, {rate}")
    percent, value = list(known.items())[-1]
    return _tile(figures.seconds(value), f"{percent}\u00a0% are answered within this time of their arrival, {rate}")


def _known(entry: ScenarioResult) -> dict[int, float]:
    """Return the percentiles that the samples allow."""
    found = {percent: getattr(entry.latency, f"p{percent}", None) for percent in PERCENTILES}
    return {percent: value for percent, value in found.items() if value is not None}


def _overview(scenarios: Sequence[ScenarioResult]) -> PageTable:
    unit = figures.Unit(value for entry in scenarios for value in figures.percentiles(entry.latency))
    rows = tuple(
        (
            _NAMES[entry.scenario],
            f"{entry.queries:,}",
            *(unit.write(value) for value in figures.percentiles(entry.latency)),
            _rate(entry),
            figures.significant(entry.processor_seconds / max(entry.seconds, 1e-9)),
            entry.ended_by,
        )
        for entry in scenarios
    )
    times = (f"{name}, {unit.name}" for name in figures.LATENCY)
    return PageTable("All figures", ("", "queries", *times, "mentions/s", "cores busy", "ended by"), rows)


def _rate(entry: ScenarioResult) -> str:
    repeated = entry.throughput_of_repeats
    return figures.significant(repeated.median if repeated else entry.throughput)


def _warnings(result: BenchResult) -> Iterator[str]:
    """Say what makes the figures worth less than they look."""
    load, processors = result.system.load, result.system.processors
    if load is not None and processors is not None and load > _BUSY * processors:
        yield (
            f"The machine was busy before the run began (load {figures.significant(load, 2)} on {processors} "
            "processors): the times hold the work of others too."
        )
    if cached := sum(entry.cached for entry in result.scenarios):
        yield f"{cached:,} links came from a cache: these are not the model’s times."


def _what(entry: ScenarioResult) -> str:
    """Say in two sentences what a scenario did and why it ended."""
    many = f"{entry.queries:,} {'repeats' if entry.scenario == 'offline' else 'queries'}"
    why = "ended by the budget of time" if entry.ended_by == "budget" else "all that were asked for"
    return f"{_describe(entry)} {many} in {figures.seconds(entry.seconds)}, {why}."


def _describe(entry: ScenarioResult) -> str:
    settings = entry.settings
    if entry.scenario == "single-stream":
        return "One mention a query; the next begins when the last is answered."
    if entry.scenario == "multi-stream":
        return f"{settings['mentions_per_query']} mentions a query; the next begins when the last is answered."
    if entry.scenario == "offline":
        size, whole = settings["mentions_per_repeat"], settings["mentions_of_workload"]
        part = "" if size == whole else f" (of {whole:,}: more would not fit into the budget)"
        return f"{size:,} mentions at once{part}, {entry.queries} times."
    rate, most = figures.significant(settings["rate"]), settings["most_per_batch"]
    return f"{rate} mentions a second arrive at random; whenever it is free, the linker takes up to {most}."


def _waits(entry: ScenarioResult) -> tuple[list[tuple[float, float]], list[float]]:
    """Return arrival and latency of each answered query, and the arrivals of those without an answer."""
    calls, queries = entry.samples.calls, entry.samples.queries
    answered = [(intended, calls[call][1] - intended) for intended, call in queries if call is not None]
    return answered, [intended for intended, call in queries if call is None]


def _latency(entry: ScenarioResult) -> _ScenarioView:
    answered, unanswered = _waits(entry)
    name = _NAMES[entry.scenario]
    waits = [latency for _, latency in answered]
    label = f"{name}: distribution of latencies"
    picture = plots.cdf(waits, label, unanswered=len(unanswered), marks=list(_known(entry)))
    values = zip(figures.LATENCY, figures.percentiles(entry.latency), strict=True)
    marks = tuple((mark, figures.seconds(value)) for mark, value in values)
    return _ScenarioView(name, _what(entry), picture, marks, offline=False)


def _offline(entry: ScenarioResult) -> _ScenarioView:
    rates = [call[2] / max(call[1] - call[0], 1e-9) for call in entry.samples.calls]
    found = entry.throughput_of_repeats
    assert found is not None
    picture = plots.repeats(rates, found, "Offline: throughput of each repeat")
    named = (("lower quartile", found.low), ("median", found.median), ("upper quartile", found.high))
    marks = tuple((name, f"{figures.significant(value)} /s") for name, value in named)
    return _ScenarioView("Offline", _what(entry), picture, marks, offline=True)


def _arrivals(scenarios: Sequence[ScenarioResult]) -> _ArrivalsView | None:
    entry = next((one for one in scenarios if one.scenario == "server"), None)
    if entry is None:
        return None
    answered, unanswered = _waits(entry)
    picture = plots.timeline(answered, unanswered, "Server: latency of each mention over its arrival")
    return _ArrivalsView(picture, len(unanswered))


def _stages(scenarios: Sequence[ScenarioResult]) -> _StagesView | None:
    totals = [sum(entry.stages.values()) for entry in scenarios]
    if not scenarios or not all(totals):
        return None
    names = list(scenarios[0].stages)
    colours = {name: LIGHT[colour] for name, colour in zip(names, _STAGE_COLOURS, strict=False)}
    stacks = [
        Stack(
            _NAMES[entry.scenario],
            f"{figures.seconds(total / entry.mentions)} / mention",
            {name: entry.stages[name] / total for name in names},
        )
        for entry, total in zip(scenarios, totals, strict=True)
    ]
    per_mention = [{name: entry.stages[name] / entry.mentions for name in names} for entry in scenarios]
    unit = figures.Unit(value for stages in per_mention for value in stages.values())
    rows = tuple(
        (stack.name, *(f"{value / unit.size:,.3f}" for value in (*stages.values(), sum(stages.values()))))
        for stack, stages in zip(stacks, per_mention, strict=True)
    )
    keys = tuple((name, themed(colour)) for name, colour in colours.items())
    table = PageTable(f"Time of each stage, {unit.name} per mention", ("", *names, "all"), rows)
    return _StagesView(keys, stacked(stacks, "Share of each stage", colours), table, unit.name)


def _memory(result: BenchResult) -> _MemoryView | None:
    memory = result.memory
    if memory.peak is None:
        return None
    rows = [("Linker opened, before the first query", figures.memory(memory.opened), DASH)]
    for entry in result.scenarios:
        steady, peak = map(figures.memory, (entry.memory.steady, entry.memory.peak))
        rows.append((f"{_NAMES[entry.scenario]}, at its end", steady, peak))
    table = PageTable("Resident memory", ("", "steady", "peak"), tuple(rows))
    return _MemoryView(table, memory.peak_by == "kernel", result.provenance.device == "cuda")


def _lengths(result: BenchResult) -> Iterator[_LengthView]:
    published: Mapping[str, float] = PUBLISHED_CHARACTERS if result.workload.name == "default" else {}
    shown: tuple[tuple[str, str, str, Mapping[str, float]], ...] = (
        ("prompt_characters", "Prompts", "characters", published),
        ("input_tokens", "Inputs", "tokens", {}),
        ("output_tokens", "Outputs", "tokens", {}),
    )
    for name, title, unit, marks in shown:
        if found := result.lengths.get(name):
            middle = f"mean {figures.significant(found.mean)}, median {found.p50:,}"
            what = f"{found.count:,} of them: {middle}, p95 {found.p95:,}, max\u00a0{found.max:,}."
            picture = plots.histogram(found.histogram, unit, f"{title}: lengths in {unit}", marks)
            yield _LengthView(name, title, what, picture)


def _machine(system: System) -> Iterator[tuple[str, str]]:
    granted = f"; the time of {system.processors_granted:g} granted" if system.processors_granted else ""
    cores = f"{system.cores} usable, {system.processors} logical processor(s) of {system.processors_in_all}"
    yield "processor", system.processor
    yield "cores", cores + granted
    yield "GPU", ", ".join(system.gpus) or "none seen"
    yield "instruction sets", " ".join(system.instruction_sets) or DASH
    yield "memory", figures.memory(system.memory)
    yield "load at the start", figures.significant(system.load, 2)
    yield "system", ", ".join(filter(None, (system.kernel, system.libc, system.architecture)))
    variables = " ".join(f"{name}={value}" for name, value in system.environment.items())
    yield "environment", variables or "nothing set"
    yield "libraries", ", ".join(f"{name} {version}" for name, version in system.libraries.items())
    yield "machine key", system.machine_key


def _run(result: BenchResult) -> Iterator[tuple[str, str]]:
    settings, workload, bundle = result.settings, result.workload, result.provenance.bundle
    own = "cielo’s own" if workload.name == "default" else "a file"
    left_out = f", {workload.left_out:,} row(s) left out" if workload.left_out else ""
    methods: dict[str, int] = {}
    for entry in result.scenarios:
        for name, count in entry.methods.items():
            methods[name] = methods.get(name, 0) + count
    linked = sum(methods.values())
    plan = ((one.name.replace("_", " "), getattr(result.plan, one.name)) for one in fields(result.plan))
    yield "bundle", f"{bundle.name}, sha256 {bundle.sha256}"
    yield "thread plan", ", ".join(f"{name} {value}" for name, value in plan)
    counts = f"{workload.mentions:,} mentions, {workload.distinct:,} distinct{left_out}"
    yield "workload", f"{own}: {counts}; sha256 {workload.sha256[:12]}"
    yield "found by", ", ".join(f"{name} {figures.share(count / linked)}" for name, count in methods.items())
    yield "budget", f"{settings.seconds:g} s a scenario, {settings.least} to {settings.queries:,} queries"
    warmup = ", ".join(f"{_NAMES[entry.scenario]} {entry.warmup_mentions:,}" for entry in result.scenarios)
    yield "warm-up, not counted", f"{warmup} mentions"
    yield "seed", str(settings.seed)
