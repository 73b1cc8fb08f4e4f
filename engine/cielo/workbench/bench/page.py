"""The report as one HTML page: no network, no script, plots as inline SVG, light and dark.

It is made from the dictionary that the JSON holds, so that a page can be made again from a kept JSON file.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from cielo.workbench.bench import figures, plots
from cielo.workbench.bench.statistics import PERCENTILES, Histogram
from cielo.workbench.bench.workload import PUBLISHED_CHARACTERS
from cielo.workbench.page.frame import DASH, card, facts, header, keys, notices, page, table, tiles, wide
from cielo.workbench.page.plots import Stack

_STYLE = Path(__file__).with_name("page.css")
_NAMES = {
    "single-stream": "Single stream",
    "multi-stream": "Multi-stream",
    "offline": "Offline",
    "server": "Server",
}
_LATENCY = ("p50", "p90", "p95", "p99", "max")
_BUSY = 0.5  # of the processors, wanted by others: from there on a page warns


def to_html(report: dict[str, Any]) -> str:
    """Return the page of a report (`BenchResult.to_dict`)."""
    bundle = report["provenance"]["bundle"]
    title = f"{bundle['name']}@{bundle['sha256'][:12]}"
    sections = (
        _header(report),
        _tiles(report),
        _overview(report),
        _scenarios(report["scenarios"]),
        _arrivals(report["scenarios"]),
        _stages(report["scenarios"]),
        _memory(report),
        _lengths(report),
        _circumstances(report),
        _footer(),
    )
    return page(f"cielo bench: {title}", sections, _STYLE.read_text(encoding="utf-8"))


def _header(report: dict[str, Any]) -> str:
    provenance, bundle, system = report["provenance"], report["provenance"]["bundle"], report["system"]
    origin = (
        bundle["edition"],
        f"decoding {provenance['decoding']}",
        f"{provenance['compute_type']}, {provenance['device']}",
    )
    made = report["made"].replace("T", " ").replace("+00:00", " UTC")
    place = (*_processors(system, provenance), f"{system['cores']} core(s)", made)
    lines = (" · ".join(origin), " · ".join(place))
    return header(f"cielo {report['cielo']} · bench", bundle["name"], f"@{bundle['sha256'][:12]}", lines)


def _processors(system: dict[str, Any], provenance: dict[str, Any]) -> list[str]:
    """Name the processor, and before it the GPUs where one of them does the work."""
    return [*(system["gpus"] if provenance["device"] == "cuda" else ()), system["processor"]]


def _by_name(scenarios: Iterable[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {entry["scenario"]: entry for entry in scenarios}


def _tiles(report: dict[str, Any]) -> str:
    """Show the one figure of each scenario that matters most, in words."""
    found = _by_name(report["scenarios"])
    shown = []
    if single := found.get("single-stream"):
        told = single["latency"]
        beyond = f"; 95\u00a0% within {figures.seconds(told['p95'])}" if told["p95"] is not None else ""
        shown.append((figures.seconds(told["p50"]), f"half of single mentions are answered within this time{beyond}"))
    if offline := found.get("offline"):
        rate = figures.significant(offline["throughput_of_repeats"]["median"])
        shown.append(
            (f"{rate} /s", f"mentions linked a second, {offline['settings']['mentions_per_repeat']:,} at once")
        )
    if server := found.get("server"):
        shown.append(_server_tile(server))
    if report["memory"]["peak"] is not None:
        shown.append(
            (
                figures.memory(report["memory"]["peak"]),
                f"resident at the peak; {figures.memory(report['memory']['opened'])} before the first query",
            )
        )
    return tiles(shown)


def _server_tile(entry: dict[str, Any]) -> tuple[str, str]:
    """Show the highest percentile that can be told, or how many mentions were left without an answer."""
    rate = f"with {figures.significant(entry['settings']['rate'])} mentions a second arriving"
    lost = entry["settings"]["unanswered"]
    told = [percent for percent in PERCENTILES if entry["latency"][f"p{percent}"] is not None]
    if lost or not told:
        return f"{lost:,}", f"of {entry['queries']:,} mentions were never answered, {rate}"
    within = f"{told[-1]}\u00a0% are answered within this time of their arrival, {rate}"
    return figures.seconds(entry["latency"][f"p{told[-1]}"]), within


def _overview(report: dict[str, Any]) -> str:
    scenarios = report["scenarios"]
    unit = figures.Unit(value for entry in scenarios for value in _percentiles(entry))
    rows = [
        (
            _NAMES[entry["scenario"]],
            f"{entry['queries']:,}",
            *(unit.write(value) for value in _percentiles(entry)),
            _rate(entry),
            figures.significant(entry["processor_seconds"] / max(entry["seconds"], 1e-9)),
            "budget" if entry["ended_by"] == "budget" else "samples",
        )
        for entry in scenarios
    ]
    head = ("", "queries", *(f"{name}, {unit.name}" for name in _LATENCY), "mentions/s", "cores busy", "ended by")
    note = (
        "A dash stands where there are too few samples for a percentile (p99 needs 100), where queries that were never "
        "answered reach it, or where a scenario has no latency. Offline: the median of its repeats. "
        "Cores busy: the processor time of all threads over the time that passed."
    )
    warnings = notices(_warnings(report))
    return f'<h2>All figures</h2>\n<div class="card">{table(head, rows)}{warnings}<p class="read">{note}</p></div>\n'


def _warnings(report: dict[str, Any]) -> Iterator[str]:
    """Say what makes the figures worth less than they look."""
    load, processors = report["system"]["load"], report["system"]["processors"]
    if load is not None and processors is not None and load > _BUSY * processors:
        yield (
            f"The machine was busy before the run began (load {figures.significant(load, 2)} on {processors} "
            "processors): the times hold the work of others too."
        )
    if cached := sum(entry["cached"] for entry in report["scenarios"]):
        yield f"{cached:,} links came from a cache: these are not the model’s times."


def _percentiles(entry: dict[str, Any]) -> list[float | None]:
    return [(entry["latency"] or {}).get(name) for name in _LATENCY]


def _rate(entry: dict[str, Any]) -> str:
    repeated = entry["throughput_of_repeats"]
    return figures.significant(repeated["median"] if repeated else entry["throughput"])


def _scenarios(scenarios: Sequence[dict[str, Any]]) -> str:
    cards = "".join(
        _offline_card(entry) if entry["scenario"] == "offline" else _latency_card(entry) for entry in scenarios
    )
    return f'<h2>Scenario by scenario</h2>\n<div class="grid two">\n{cards}</div>\n'


def describe(entry: dict[str, Any]) -> str:
    """Say in a sentence what a scenario did."""
    settings = entry["settings"]
    if entry["scenario"] == "single-stream":
        return "One mention a query; the next begins when the last is answered."
    if entry["scenario"] == "multi-stream":
        return f"{settings['mentions_per_query']} mentions a query; the next begins when the last is answered."
    if entry["scenario"] == "offline":
        size, whole = settings["mentions_per_repeat"], settings["mentions_of_workload"]
        part = "" if size == whole else f" (of {whole:,}: more would not fit into the budget)"
        return f"{size:,} mentions at once{part}, {entry['queries']} times."
    rate = figures.significant(settings["rate"])
    most = settings["most_per_batch"]
    return f"{rate} mentions a second arrive at random; whenever it is free, the linker takes up to {most}."


def _ended(entry: dict[str, Any]) -> str:
    many = f"{entry['queries']:,} {'repeats' if entry['scenario'] == 'offline' else 'queries'}"
    why = "ended by the budget of time" if entry["ended_by"] == "budget" else "all that were asked for"
    return f"{many} in {figures.seconds(entry['seconds'])}, {why}."


def _waits(entry: dict[str, Any]) -> tuple[list[tuple[float, float]], list[float]]:
    """Return arrival and latency of each answered query, and the arrivals of those without an answer."""
    calls, queries = entry["samples"]["calls"], entry["samples"]["queries"]
    answered = [(intended, calls[call][1] - intended) for intended, call in queries if call is not None]
    return answered, [intended for intended, call in queries if call is None]


def _latency_card(entry: dict[str, Any]) -> str:
    answered, unanswered = _waits(entry)
    name = _NAMES[entry["scenario"]]
    told = [percent for percent in PERCENTILES if entry["latency"][f"p{percent}"] is not None]
    plot = plots.cdf(
        [latency for _, latency in answered],
        f"{name}: distribution of latencies",
        unanswered=len(unanswered),
        marks=told,
    )
    read = "How to read it: the curve shows which share of the queries was answered within a time; steep is steady. "
    read += "The dots are p50, p90, p95 and p99, as far as the samples reach."
    marks = "".join(
        f"<div><dt>{mark}</dt><dd>{figures.seconds(entry['latency'][mark])}</dd></div>" for mark in _LATENCY
    )
    return card(name, f"{describe(entry)} {_ended(entry)}", plot, read, f'<dl class="marks">{marks}</dl>\n')


def _offline_card(entry: dict[str, Any]) -> str:
    rates = [call[2] / max(call[1] - call[0], 1e-9) for call in entry["samples"]["calls"]]
    told = entry["throughput_of_repeats"]
    plot = plots.repeats(rates, told["low"], told["median"], told["high"], "Offline: throughput of each repeat")
    marks = "".join(
        f"<div><dt>{name}</dt><dd>{figures.significant(value)} /s</dd></div>"
        for name, value in (
            ("lower quartile", told["low"]),
            ("median", told["median"]),
            ("upper quartile", told["high"]),
        )
    )
    read = "How to read it: a bar is a repeat, its height the mentions linked a second. The broken line is the median, "
    read += "the band the quartiles: bars of uneven height mean that something else was at work on the machine."
    return card("Offline", f"{describe(entry)} {_ended(entry)}", plot, read, f'<dl class="marks">{marks}</dl>\n')


def _arrivals(scenarios: Sequence[dict[str, Any]]) -> str:
    entry = _by_name(scenarios).get("server")
    if entry is None:
        return ""
    answered, unanswered = _waits(entry)
    plot = wide(plots.timeline(answered, unanswered, "Server: latency of each mention over its arrival"))
    read = (
        "How to read it: each dot is a mention, further up the longer it waited for its answer; each stroke below is "
        "an arrival. Where strokes crowd, dots rise and fall again; dots that only rise mean that more arrives than "
        "the linker can answer."
    )
    lost = ""
    if unanswered:
        words = f"{len(unanswered):,} mentions were not answered before the end: the coloured strokes."
        lost = notices([words])
    what = "Latency counts from the arrival that was drawn, whether or not the linker was free, so that waiting shows."
    return f"<h2>Server: latency over time</h2>\n{card('Each mention', what, plot, read, lost)}"


def _stages(scenarios: Sequence[dict[str, Any]]) -> str:
    totals = [sum(entry["stages"].values()) for entry in scenarios]
    if not scenarios or not all(totals):
        return ""
    names = list(scenarios[0]["stages"])
    rows = [
        Stack(
            _NAMES[entry["scenario"]],
            f"{figures.seconds(total / entry['mentions'])} / mention",
            {name: entry["stages"][name] / total for name in names},
        )
        for entry, total in zip(scenarios, totals, strict=True)
    ]
    plot = keys((f"stage-{name}", name) for name in names) + wide(plots.stacked(rows, "Share of each stage"))
    per_mention = [{name: entry["stages"][name] / entry["mentions"] for name in names} for entry in scenarios]
    unit = figures.Unit(value for stages in per_mention for value in stages.values())
    times = table(
        ("", *names, "all"),
        (
            (
                row.name,
                *(f"{stages[name] / unit.size:,.3f}" for name in names),
                f"{sum(stages.values()) / unit.size:,.3f}",
            )
            for row, stages in zip(rows, per_mention, strict=True)
        ),
    )
    read = (
        f"How to read it: a bar is the time inside the linker, its parts the stages. The table has {unit.name} per "
        "mention: in a batch, its time divided by its mentions. “Other” is what no stage accounts for."
    )
    what = (
        "Tokenize the prompt, generate a description, match it with the knowledge base; embed and search what is left."
    )
    return f"<h2>Where the time goes</h2>\n{card('Stages', what, plot, read, times)}"


def _memory(report: dict[str, Any]) -> str:
    memory = report["memory"]
    if memory["peak"] is None:
        return ""
    rows = [("Linker opened, before the first query", figures.memory(memory["opened"]), DASH)]
    rows += [
        (
            f"{_NAMES[entry['scenario']]}, at its end",
            figures.memory(entry["memory"]["steady"]),
            figures.memory(entry["memory"]["peak"]),
        )
        for entry in report["scenarios"]
    ]
    how = (
        "as the kernel counted it"
        if memory["peak_by"] == "kernel"
        else "of samples, 20 a second, which a short peak escapes"
    )
    read = f"Resident memory of the whole process, model included. The peak is the most during the scenario, {how}."
    if report["provenance"]["device"] == "cuda":
        read += " The memory of the GPU, where the model lies, is not in it."
    shown = table(("", "steady", "peak"), rows)
    return f'<h2>Memory</h2>\n<div class="card narrow">{shown}<p class="read">{read}</p></div>\n'


def _lengths(report: dict[str, Any]) -> str:
    lengths, default = report["lengths"], report["workload"]["name"] == "default"
    shown: tuple[tuple[str, str, str, dict[str, int]], ...] = (
        ("prompt_characters", "Prompts", "characters", PUBLISHED_CHARACTERS if default else {}),
        ("input_tokens", "Inputs", "tokens", {}),
        ("output_tokens", "Outputs", "tokens", {}),
    )
    reads = {
        "prompt_characters": "Before the bundle shortens them."
        + (" The broken lines are those of the published test set, which this workload follows." if default else ""),
        "input_tokens": "What the model reads of each prompt.",
        "output_tokens": "What the model wrote, its first output.",
    }
    cards = []
    for name, title, unit, marks in shown:
        if name in lengths:
            told = lengths[name]
            middle = f"mean {figures.significant(told['mean'])}, median {told['p50']:,}"
            what = f"{told['count']:,} of them: {middle}, p95 {told['p95']:,}, max\u00a0{told['max']:,}."
            data = Histogram(**told["histogram"])
            plot = plots.histogram(data, unit, f"{title}: lengths in {unit}", marks)
            cards.append(card(title, what, plot, f"How to read it: each bar counts those of one length. {reads[name]}"))
    return f'<h2>Lengths</h2>\n<div class="grid three">\n{"".join(cards)}</div>\n'


def _circumstances(report: dict[str, Any]) -> str:
    cards = (facts("Machine", _machine(report["system"])), facts("Run", _run(report)))
    return f'<h2>Circumstances</h2>\n<div class="grid two">\n{"".join(cards)}</div>\n'


def _machine(system: dict[str, Any]) -> list[tuple[str, str]]:
    allowed = system["processors_granted"]
    granted = f"; the time of {allowed:g} granted" if allowed else ""
    cores = f"{system['cores']} usable, {system['processors']} logical processor(s) of {system['processors_in_all']}"
    return [
        ("processor", system["processor"]),
        ("cores", cores + granted),
        ("GPU", ", ".join(system["gpus"]) or "none seen"),
        ("instruction sets", " ".join(system["instruction_sets"]) or DASH),
        ("memory", figures.memory(system["memory"])),
        ("load at the start", figures.significant(system["load"], 2)),
        ("system", ", ".join(filter(None, (system["kernel"], system["libc"], system["architecture"])))),
        ("environment", " ".join(f"{name}={value}" for name, value in system["environment"].items()) or "nothing set"),
        ("libraries", ", ".join(f"{name} {version}" for name, version in system["libraries"].items())),
        ("machine key", system["machine_key"]),
    ]


def _run(report: dict[str, Any]) -> list[tuple[str, str]]:
    settings, workload, bundle = report["settings"], report["workload"], report["provenance"]["bundle"]
    own = "cielo’s own" if workload["name"] == "default" else "a file"
    left_out = f", {workload['left_out']:,} row(s) left out" if workload["left_out"] else ""
    methods: dict[str, int] = {}
    for entry in report["scenarios"]:
        for name, count in entry["methods"].items():
            methods[name] = methods.get(name, 0) + count
    linked = sum(methods.values())
    warmup = ", ".join(f"{_NAMES[entry['scenario']]} {entry['warmup_mentions']:,}" for entry in report["scenarios"])
    return [
        ("bundle", f"{bundle['name']}, sha256 {bundle['sha256']}"),
        ("thread plan", ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in report["plan"].items())),
        ("workload", f"{own}: {workload['mentions']:,} mentions, {workload['distinct']:,} distinct{left_out}; "
                     f"sha256 {workload['sha256'][:12]}"),
        ("found by", ", ".join(f"{name} {figures.share(count / linked)}" for name, count in methods.items())),
        ("budget", f"{settings['seconds']:g} s a scenario, {settings['least']} to {settings['queries']:,} queries"),
        ("warm-up, not counted", f"{warmup} mentions"),
        ("seed", str(settings["seed"])),
    ]  # fmt: skip


def _footer() -> str:
    return (
        "<footer><p>Percentiles are by nearest rank: p95 is the smallest measured value that 95 % of all values do not "
        "exceed. The scenarios follow MLPerf Inference. This page holds times, lengths and counts, and none of the "
        "texts that were linked; the JSON beside it holds every sample.</p></footer>\n"
    )
