"""The report as one HTML page: no network, no script, plots as inline SVG, light and dark.

It is made of the record that the JSON holds, so that a page can be made again from a kept JSON file
(`results.from_json`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from cielo.text.language import say
from cielo.workbench.bench import figures, plots
from cielo.workbench.bench.circumstances import machine_facts, run_facts, scenario_name
from cielo.workbench.bench.results import BenchResult, ScenarioResult
from cielo.workbench.bench.statistics import PERCENTILES
from cielo.workbench.bench.workload import PUBLISHED_CHARACTERS
from cielo.workbench.page.canvas import Picture
from cielo.workbench.page.colours import LIGHT, themed
from cielo.workbench.page.parts import DASH, Facts, PageTable, Tile, count, figure
from cielo.workbench.page.plots import Stack, stacked
from cielo.workbench.page.render import render

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
    unanswered: str


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
    title: str
    what: str
    read: str
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
    machine: Facts
    run: Facts


def to_html(result: BenchResult) -> str:
    """Return the page of a result, in the language of `cielo.text.language.speaking`.

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
        machine=tuple(machine_facts(result.system)),
        run=tuple(run_facts(result)),
    )
    return render("bench.html.j2", f"cielo bench: {view.bundle}{view.bundle_hash}", view)


def _below(result: BenchResult) -> tuple[str, ...]:
    made_by, system = result.provenance, result.system
    decoding = say("decoding {decoding}", decoding=made_by.decoding)
    origin = (made_by.bundle.edition, decoding, f"{made_by.compute_type}, {made_by.device}")
    # The GPUs come first where one of them does the work.
    processors = [*(system.gpus if made_by.device == "cuda" else ()), system.processor]
    made = result.made.replace("T", " ").replace("+00:00", " UTC")
    return " · ".join(origin), " · ".join((*processors, say("{count} core(s)", count=system.cores), made))


def _tiles(result: BenchResult) -> Iterator[Tile]:
    """Show the one figure of each scenario that matters most, in words."""
    found = {entry.scenario: entry for entry in result.scenarios}
    single, offline, server = (found.get(name) for name in ("single-stream", "offline", "server"))
    if single and single.latency:
        p95 = single.latency.p95
        beyond = "" if p95 is None else say("; 95\u00a0% within {time}", time=figures.seconds(p95))
        words = say("half of single mentions are answered within this time{beyond}", beyond=beyond)
        yield _tile(figures.seconds(single.latency.p50), words)
    if offline and offline.throughput_of_repeats:
        words = say("mentions linked a second, {count} at once", count=count(offline.settings["mentions_per_repeat"]))
        yield Tile(figures.significant(offline.throughput_of_repeats.median), "/s", words)
    if server:
        yield _server_tile(server)
    if result.memory.peak is not None:
        opened = figures.memory(result.memory.opened)
        words = say("resident at the peak; {opened} before the first query", opened=opened)
        yield _tile(figures.memory(result.memory.peak), words)


def _tile(value: str, words: str) -> Tile:
    number, _, unit = value.partition(" ")
    return Tile(number, unit, words)


def _server_tile(entry: ScenarioResult) -> Tile:
    """Show the highest percentile that is known, or how many mentions were left without an answer."""
    rate = figures.significant(entry.settings["rate"])
    lost, known = entry.settings["unanswered"], _known(entry)
    if lost or not known:
        words = say("of {count} mentions were never answered, with {rate} mentions a second arriving",
                    count=count(entry.queries), rate=rate)  # fmt: skip
        return Tile(count(lost), "", words)
    percent, value = list(known.items())[-1]
    words = say(
        "{percent}\u00a0% are answered within this time of their arrival, with {rate} mentions a second arriving",
        percent=percent,
        rate=rate,
    )
    return _tile(figures.seconds(value), words)


def _known(entry: ScenarioResult) -> dict[int, float]:
    """Return the percentiles that the samples allow."""
    found = {percent: getattr(entry.latency, f"p{percent}", None) for percent in PERCENTILES}
    return {percent: value for percent, value in found.items() if value is not None}


def _overview(scenarios: Sequence[ScenarioResult]) -> PageTable:
    unit = figures.Unit(value for entry in scenarios for value in figures.percentiles(entry.latency))
    rows = tuple(
        (
            scenario_name(entry.scenario),
            count(entry.queries),
            *(unit.write(value) for value in figures.percentiles(entry.latency)),
            _rate(entry),
            figures.significant(entry.processor_seconds / max(entry.seconds, 1e-9)),
            say("budget") if entry.ended_by == "budget" else say("samples"),
        )
        for entry in scenarios
    )
    times = (f"{say(name)}, {unit.name}" for name in figures.LATENCY)
    head = ("", say("queries"), *times, say("mentions/s"), say("cores busy"), say("ended by"))
    return PageTable(say("All figures"), head, rows)


def _rate(entry: ScenarioResult) -> str:
    repeated = entry.throughput_of_repeats
    return figures.significant(repeated.median if repeated else entry.throughput)


def _warnings(result: BenchResult) -> Iterator[str]:
    """Say what makes the figures worth less than they look."""
    load, processors = result.system.load, result.system.processors
    if load is not None and processors is not None and load > _BUSY * processors:
        yield say(
            "The machine was busy before the run began (load {load} on {processors} processors): the times hold the "
            "work of others too.",
            load=figures.significant(load, 2),
            processors=processors,
        )
    if cached := sum(entry.cached for entry in result.scenarios):
        yield say("{count} links came from a cache: these are not the model’s times.", count=count(cached))


def _what(entry: ScenarioResult) -> str:
    """Say in two sentences what a scenario did and why it ended."""
    told = {
        "what": _describe(entry),
        "count": count(entry.queries),
        "time": figures.seconds(entry.seconds),
        "why": say("ended by the budget of time") if entry.ended_by == "budget" else say("all that were asked for"),
    }
    if entry.scenario == "offline":
        return say("{what} {count} repeats in {time}, {why}.", **told)
    return say("{what} {count} queries in {time}, {why}.", **told)


def _describe(entry: ScenarioResult) -> str:
    settings = entry.settings
    if entry.scenario == "single-stream":
        return say("One mention a query; the next begins when the last is answered.")
    if entry.scenario == "multi-stream":
        size = settings["mentions_per_query"]
        return say("{count} mentions a query; the next begins when the last is answered.", count=size)
    if entry.scenario == "offline":
        size, whole = settings["mentions_per_repeat"], settings["mentions_of_workload"]
        part = "" if size == whole else say(" (of {all}: more would not fit into the budget)", all=count(whole))
        return say("{count} mentions at once{part}, {times} times.", count=count(size), part=part, times=entry.queries)
    return say(
        "{rate} mentions a second arrive at random; whenever it is free, the linker takes up to {most}.",
        rate=figures.significant(settings["rate"]),
        most=settings["most_per_batch"],
    )


def _waits(entry: ScenarioResult) -> tuple[list[tuple[float, float]], list[float]]:
    """Return arrival and latency of each answered query, and the arrivals of those without an answer."""
    calls, queries = entry.samples.calls, entry.samples.queries
    answered = [(intended, calls[call][1] - intended) for intended, call in queries if call is not None]
    return answered, [intended for intended, call in queries if call is None]


def _latency(entry: ScenarioResult) -> _ScenarioView:
    answered, unanswered = _waits(entry)
    name = scenario_name(entry.scenario)
    waits = [latency for _, latency in answered]
    label = say("{scenario}: distribution of latencies", scenario=name)
    picture = plots.cdf(waits, label, unanswered=len(unanswered), marks=list(_known(entry)))
    values = zip(figures.LATENCY, figures.percentiles(entry.latency), strict=True)
    marks = tuple((say(mark), figures.seconds(value)) for mark, value in values)
    return _ScenarioView(name, _what(entry), picture, marks, offline=False)


def _offline(entry: ScenarioResult) -> _ScenarioView:
    rates = [call[2] / max(call[1] - call[0], 1e-9) for call in entry.samples.calls]
    found = entry.throughput_of_repeats
    assert found is not None
    picture = plots.repeats(rates, found, say("Offline: throughput of each repeat"))
    named = ((say("lower quartile"), found.low), (say("median"), found.median), (say("upper quartile"), found.high))
    marks = tuple((name, f"{figures.significant(value)} /s") for name, value in named)
    return _ScenarioView(scenario_name("offline"), _what(entry), picture, marks, offline=True)


def _arrivals(scenarios: Sequence[ScenarioResult]) -> _ArrivalsView | None:
    entry = next((one for one in scenarios if one.scenario == "server"), None)
    if entry is None:
        return None
    answered, unanswered = _waits(entry)
    picture = plots.timeline(answered, unanswered, say("Server: latency of each mention over its arrival"))
    lost = say("{count} mentions were not answered before the end: the coloured strokes.", count=count(len(unanswered)))
    return _ArrivalsView(picture, lost if unanswered else "")


def _stages(scenarios: Sequence[ScenarioResult]) -> _StagesView | None:
    totals = [sum(entry.stages.values()) for entry in scenarios]
    if not scenarios or not all(totals):
        return None
    names = list(scenarios[0].stages)
    colours = {name: LIGHT[colour] for name, colour in zip(names, _STAGE_COLOURS, strict=False)}
    stacks = [
        Stack(
            scenario_name(entry.scenario),
            say("{time} / mention", time=figures.seconds(total / entry.mentions)),
            {name: entry.stages[name] / total for name in names},
        )
        for entry, total in zip(scenarios, totals, strict=True)
    ]
    per_mention = [{name: entry.stages[name] / entry.mentions for name in names} for entry in scenarios]
    unit = figures.Unit(value for stages in per_mention for value in stages.values())
    rows = tuple(
        (stack.name, *(figure(value / unit.size, 3) for value in (*stages.values(), sum(stages.values()))))
        for stack, stages in zip(stacks, per_mention, strict=True)
    )
    keys = tuple((say(name), themed(colour)) for name, colour in colours.items())
    caption = say("Time of each stage, {unit} per mention", unit=unit.name)
    table = PageTable(caption, ("", *map(say, names), say("all")), rows)
    return _StagesView(keys, stacked(stacks, say("Share of each stage"), colours), table, unit.name)


def _memory(result: BenchResult) -> _MemoryView | None:
    memory = result.memory
    if memory.peak is None:
        return None
    rows = [(say("Linker opened, before the first query"), figures.memory(memory.opened), DASH)]
    for entry in result.scenarios:
        steady, peak = map(figures.memory, (entry.memory.steady, entry.memory.peak))
        rows.append((say("{scenario}, at its end", scenario=scenario_name(entry.scenario)), steady, peak))
    table = PageTable(say("Resident memory"), ("", say("steady"), say("peak")), tuple(rows))
    return _MemoryView(table, memory.peak_by == "kernel", result.provenance.device == "cuda")


def _lengths(result: BenchResult) -> Iterator[_LengthView]:
    published: Mapping[str, float] = PUBLISHED_CHARACTERS if result.workload.name == "default" else {}
    before = say("How to read it: each bar counts those of one length. Before the bundle shortens them.")
    lines = say(" The broken lines are those of the published test set, which this workload follows.")
    shown: tuple[tuple[str, str, str, str, str, Mapping[str, float]], ...] = (
        ("prompt_characters", say("Prompts"), say("characters"), say("Prompts: lengths in characters"),
         before + lines if published else before, published),
        ("input_tokens", say("Inputs"), say("tokens"), say("Inputs: lengths in tokens"),
         say("How to read it: each bar counts those of one length. What the model reads of each prompt."), {}),
        ("output_tokens", say("Outputs"), say("tokens"), say("Outputs: lengths in tokens"),
         say("How to read it: each bar counts those of one length. What the model wrote, its first output."), {}),
    )  # fmt: skip
    for name, title, unit, label, read, marks in shown:
        if found := result.lengths.get(name):
            what = say(
                "{count} of them: mean {mean}, median {median}, p95 {p95}, max\u00a0{most}.",
                count=count(found.count),
                mean=figures.significant(found.mean),
                median=count(found.p50),
                p95=count(found.p95),
                most=count(found.max),
            )
            yield _LengthView(title, what, read, plots.histogram(found.histogram, unit, label, marks))
