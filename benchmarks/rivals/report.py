"""What is told of a comparison: the JSON file with every sample, tables in Markdown, plots as SVG."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Sequence
from html import escape
from pathlib import Path
from typing import Any

from cielo.workbench.bench.statistics import Spread, nice_step, spread

CTRANSLATE2 = "ctranslate2_defaults"
_GIGABYTE = 1e9
_NONE = "–"

_WIDTH, _LEFT, _RIGHT, _TOP, _FOOT = 760, 210, 96, 44, 34
_BAR, _GAP = 13, 12
# One hue, darker for wider batches; they differ in lightness enough to be told apart without colour.
_SHADES = ("#9ecae1", "#4292c6", "#08519c", "#08306b")
_STYLE = (
    "text{font:12px system-ui,sans-serif;fill:#24292f}.title{font-weight:600;font-size:14px}"
    ".tick,.note{fill:#57606a;font-size:11px}.grid{stroke:#d0d7de}.spread{stroke:#24292f}"
)

Result = dict[str, Any]
_Bar = tuple[str, Spread | None, Callable[[float], str]]  # colour, value, and how to write it
_Row = tuple[str, list[_Bar], list[str | None]]


def write_reports(result: Result, output: Path) -> None:
    """Write ``results.json``, ``table.md`` and the plots into the directory `output`."""
    output.mkdir(parents=True, exist_ok=True)
    (output / "results.json").write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    (output / "table.md").write_text(markdown(result), encoding="utf-8")
    for decoding in result["settings"]["decodings"]:
        (output / f"speed-{decoding}.svg").write_text(speed_plot(result, decoding), encoding="utf-8")
    (output / "memory.svg").write_text(memory_plot(result), encoding="utf-8")


def timings(result: Result, rival: Result, decoding: str, batch: int) -> Spread | None:
    """Return the milliseconds per mention over a cell's calls, or None where it has none."""
    cell = _cell(rival, decoding, batch)
    values = [1e3 * seconds / mentions for _, seconds, mentions in cell["samples"]]
    return spread(values) if values else None


def best(result: Result, rival: Result, decoding: str) -> float | None:
    """Return the median milliseconds per mention at the batch size that suits the rival best."""
    found = [timings(result, rival, decoding, batch) for batch in result["settings"]["batches"]]
    return min((one.median for one in found if one is not None), default=None)


def _cell(rival: Result, decoding: str, batch: int) -> Result:
    return next(cell for cell in rival["cells"] if (cell["decoding"], cell["batch"]) == (decoding, batch))


def _rival(result: Result, name: str) -> Result | None:
    return next((rival for rival in result["rivals"] if rival["name"] == name), None)


def markdown(result: Result) -> str:
    """Return the tables, and below them what has to be known to read them."""
    parts = []
    for decoding in result["settings"]["decodings"]:
        parts += [f"### `{decoding}`", "", *_speed_table(result, decoding), ""]
    parts += ["### Memory and opening", "", *_memory_table(result), "", *_notes(result)]
    return "\n".join(parts) + "\n"


def _speed_table(result: Result, decoding: str) -> list[str]:
    batches = result["settings"]["batches"]
    against = {"PyTorch float32": result["baseline"], "CTranslate2": CTRANSLATE2}
    head = ["ms per mention: median (quartiles)", *(f"batch {batch}" for batch in batches)]
    head += [f"× {name}: batch {batches[0]}, offline" for name in against]
    head += ["same texts", "score difference: median, largest", "rounds"]
    rows = []
    for rival in result["rivals"]:
        if rival["failure"]:
            rows.append([rival["title"], rival["failure"], *[_NONE] * (len(head) - 2)])
            continue
        row = [rival["title"], *(_time(result, rival, decoding, batch) for batch in batches)]
        for name in against.values():
            other = _rival(result, name)
            ratios = _first_ratio(result, rival, other, decoding), _best_ratio(result, rival, other, decoding)
            row.append(", ".join(ratios) if set(ratios) != {_NONE} else _NONE)
        rows.append([*row, *_agreement(rival, decoding), _rounds(result, rival, decoding)])
    return _table(head, rows)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines]


def _time(result: Result, rival: Result, decoding: str, batch: int) -> str:
    found, failure = timings(result, rival, decoding, batch), _cell(rival, decoding, batch)["failure"]
    if found is None:
        return failure or _NONE
    told = f"{_milliseconds(found.median)} ({_milliseconds(found.low)}–{_milliseconds(found.high)})"
    return f"{told}, then {failure}" if failure else told


def _milliseconds(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def _first_ratio(result: Result, rival: Result, other: Result | None, decoding: str) -> str:
    batch = result["settings"]["batches"][0]
    theirs = timings(result, other, decoding, batch) if other else None
    own = timings(result, rival, decoding, batch)
    return _ratio(theirs.median if theirs else None, own.median if own else None)


def _best_ratio(result: Result, rival: Result, other: Result | None, decoding: str) -> str:
    return _ratio(best(result, other, decoding) if other else None, best(result, rival, decoding))


def _ratio(theirs: float | None, own: float | None) -> str:
    return f"{theirs / own:.2f}" if theirs and own else _NONE


def _agreement(rival: Result, decoding: str) -> list[str]:
    """Return how many of all texts that were seen, timed ones too, are PyTorch's, and how far scores are apart."""
    if decoding in rival["output_failures"]:
        return [rival["output_failures"][decoding], _NONE]
    found = rival["outputs"].get(decoding)
    cells = [cell for cell in rival["cells"] if cell["decoding"] == decoding]
    compared = sum(part["compared"] for part in [*cells, *([found] if found else [])])
    if not found or not compared:
        return [_NONE, _NONE]
    same = sum(part["same"] for part in [*cells, found])
    share = f"{same / compared:.1%} of {compared}"
    values = found["differences"]
    return [share, f"{statistics.median(values):.1e}, {max(values):.1e}" if values else _NONE]


def _rounds(result: Result, rival: Result, decoding: str) -> str:
    cells = [_cell(rival, decoding, batch) for batch in result["settings"]["batches"]]
    return " / ".join(str(len({number for number, _, _ in cell["samples"]})) for cell in cells)


def _memory_table(result: Result) -> list[str]:
    head = ["", "seconds to open", "GB resident, steady", "GB resident, peak", "seconds to prepare", "setting"]
    rows = []
    for rival in result["rivals"]:
        if rival["failure"]:
            rows.append([rival["title"], rival["failure"], *[_NONE] * (len(head) - 2)])
            continue
        sizes = [f"{rival[key] / _GIGABYTE:.2f}" for key in ("steady_bytes", "peak_bytes")]
        prepared = _NONE if rival["prepared_seconds"] is None else f"{rival['prepared_seconds']:,.0f}"
        opened = f"{statistics.median(rival['open_seconds']):.1f}"
        rows.append([rival["title"], opened, *sizes, prepared, rival["setting"]])
    return _table(head, rows)


def _notes(result: Result) -> list[str]:
    system, settings, workload = result["system"], result["settings"], result["workload"]
    outputs = [f"{mean:.1f} ({decoding})" for decoding, mean in workload["output_tokens"].items()]
    notes = [
        f"{system['cores']} core(s) of {system['processor']} ({', '.join(system['instruction_sets'])}), "
        f"{(system['memory'] or 0) / _GIGABYTE:.0f} GB; {result['when'][:10]}.",
        f"{workload['prompts']} prompts with {workload['input_tokens']:.1f} tokens on average"
        + (f"; PyTorch's outputs have {' and '.join(outputs)}." if outputs else "."),
        "Five beams, five hypotheses, at most 128 new tokens; timed from token ids to texts. Rivals take turns on the "
        "same prompts in every round, in an order that rotates. A ratio says how many times faster than the other: at "
        f"batch {settings['batches'][0]}, and offline, each at the batch size that suits it best.",
        "“Same texts”: best texts equal to PyTorch float32's, of all that were seen, timed ones too. Scores are those "
        "by which the search ranks: log-probability per token for `published`, of the whole output for `probable`.",
        "Seconds to open run from the start of the process, imports among them. Steady is what is resident after the "
        "last timed call, peak the most at any time, the loading too.",
    ]
    for rival in result["rivals"]:
        notes += _rival_notes(rival)
    waiting = max((rival["idle_cpu_share"] for rival in result["rivals"]), default=0.0)
    notes.append(f"While others worked, no rival took more than {waiting:.1%} of one processor.")
    return [f"- {note}" for note in notes]


def _rival_notes(rival: Result) -> list[str]:
    if rival["failure"]:
        return []
    told = ", ".join(f"{name} {value}" for name, value in rival["about"].items())
    notes = [f"{rival['title']}: {told or 'nothing to tell'}."]
    if len(rival["settings_tried"]) > 1:
        tried = ", ".join(
            f"{name} {value:.2f} s" if isinstance(value, float) else f"{name} {value}"
            for name, value in rival["settings_tried"].items()
        )
        notes[0] += f" Settings tried on three prompts: {tried}."
    if rival["opened_in_turns"]:
        notes[0] += " Opened for its turns and closed after them, for want of memory."
    if rival["prompts_encoded_differently"]:
        notes[0] += f" Its own tokenizer encodes {rival['prompts_encoded_differently']} prompts differently."
    return notes


def speed_plot(result: Result, decoding: str) -> str:
    """Draw milliseconds per mention: a bar for each rival and batch size, its quartiles as a line."""
    batches = result["settings"]["batches"]
    rows: list[_Row] = []
    for rival in result["rivals"]:
        found = {batch: None if rival["failure"] else timings(result, rival, decoding, batch) for batch in batches}
        bars: list[_Bar] = [(_shade(at), found[batch], _milliseconds) for at, batch in enumerate(batches)]
        failures = [rival["failure"] or _cell(rival, decoding, batch)["failure"] for batch in batches]
        rows.append((rival["title"], bars, failures))
    legend = [(f"batch {batch}", _shade(at)) for at, batch in enumerate(batches)]
    return _bars(f"Milliseconds per mention, {decoding}", legend, rows)


def memory_plot(result: Result) -> str:
    """Draw gigabytes: what stays resident, and the most that was."""

    def gigabytes(value: float) -> str:
        return f"{value:.2f}"

    rows: list[_Row] = []
    for rival in result["rivals"]:
        sizes = [rival["steady_bytes"] / _GIGABYTE, rival["peak_bytes"] / _GIGABYTE]
        bars: list[_Bar] = [
            (_shade(at + 1), None if rival["failure"] else Spread(1, size, size, size), gigabytes)
            for at, size in enumerate(sizes)
        ]
        rows.append((rival["title"], bars, [rival["failure"]] * 2))
    return _bars("Gigabytes resident", [("steady", _shade(1)), ("peak", _shade(2))], rows)


def _shade(at: int) -> str:
    return _SHADES[min(at, len(_SHADES) - 1)]


def _bars(title: str, legend: Sequence[tuple[str, str]], rows: Sequence[_Row]) -> str:
    longest = max((bar.high for _, bars, _ in rows for _, bar, _ in bars if bar is not None), default=1.0) or 1.0
    scale = (_WIDTH - _LEFT - _RIGHT) / longest
    height = _TOP + sum(len(bars) * _BAR + _GAP for _, bars, _ in rows) + _FOOT
    floor = height - _FOOT
    parts = [_text(12, 20, title, "title")]
    at = _WIDTH - 90 * len(legend)
    for name, shade in legend:
        parts += [f'<rect x="{at}" y="11" width="10" height="10" fill="{shade}"/>', _text(at + 15, 20, name, "tick")]
        at += 90
    step = nice_step(longest, 6)
    for number in range(int(longest / step) + 1):
        x = _LEFT + number * step * scale
        parts.append(f'<line x1="{x:.1f}" y1="{_TOP - 8}" x2="{x:.1f}" y2="{floor}" class="grid"/>')
        parts.append(_text(x, floor + 16, f"{number * step:,g}", "tick", "middle"))
    y = float(_TOP)
    for name, bars, failures in rows:
        parts.append(_text(_LEFT - 10, y + len(bars) * _BAR / 2 + 4, name, "", "end"))
        for (shade, bar, write), failure in zip(bars, failures, strict=True):
            parts += _one_bar(y, scale, shade, bar, write, failure)
            y += _BAR
        y += _GAP
    body = "".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}" '
        f'role="img" aria-label="{escape(title, quote=True)}"><style>{_STYLE}</style>'
        f'<rect width="{_WIDTH}" height="{height}" rx="6" fill="#ffffff"/>{body}</svg>\n'
    )


def _one_bar(
    y: float, scale: float, shade: str, bar: Spread | None, write: Callable[[float], str], failure: str | None
) -> list[str]:
    middle = y + _BAR / 2
    if bar is None:
        return [_text(_LEFT + 4, middle + 4, failure or "not measured", "note")]
    end = _LEFT + bar.high * scale
    parts = [f'<rect x="{_LEFT}" y="{y:.1f}" width="{bar.median * scale:.1f}" height="{_BAR - 2}" fill="{shade}"/>']
    if bar.high > bar.low:
        low = _LEFT + bar.low * scale
        parts.append(f'<line x1="{low:.1f}" y1="{middle - 1}" x2="{end:.1f}" y2="{middle - 1}" class="spread"/>')
    return [*parts, _text(end + 5, middle + 3, write(bar.median), "tick")]


def _text(x: float, y: float, content: str, kind: str, anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}" text-anchor="{anchor}">{escape(content)}</text>'
