"""The reports of a comparison: the JSON file with every sample, tables in Markdown, plots as SVG.

Table and plots are made again from a kept file by ``python -m benchmarks.rivals.report results.json FOLDER``.
"""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cielo.workbench.bench.statistics import Spread, spread
from cielo.workbench.page.canvas import Picture

from benchmarks.rivals.plots import MeasuredBar, MeasuredGroup, measured_bars

CTRANSLATE2 = "ctranslate2_defaults"
CONSTRAINED = "cielo_constrained"
_GIGABYTE = 1e9
_NONE = "–"

# One hue, darker for wider batches; they differ in lightness enough to be distinguished without colour.
_SHADES = ("#9ecae1", "#4292c6", "#08519c", "#08306b")

Result = dict[str, Any]


def write_reports(result: Result, output: Path) -> None:
    """Write ``results.json``, ``table.md`` and the plots into the directory `output`."""
    output.mkdir(parents=True, exist_ok=True)
    (output / "results.json").write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    write_forms(result, output)


def write_forms(result: Result, output: Path) -> None:
    """Write ``table.md`` and the plots, which can be made again from a kept ``results.json``."""
    (output / "table.md").write_text(markdown(result), encoding="utf-8")
    for decoding in result["settings"]["decodings"]:
        (output / f"speed-{decoding}.svg").write_text(speed_plot(result, decoding).standalone(), encoding="utf-8")
    (output / "memory.svg").write_text(memory_plot(result).standalone(), encoding="utf-8")


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
    if (constrained := _rival(result, CONSTRAINED)) and not constrained["failure"]:
        notes.append(
            f"{constrained['title']} answers with the most probable description of the knowledge base and no other "
            "text: where its text is not PyTorch's, PyTorch's is no description, or its beams missed this one."
        )
    for rival in result["rivals"]:
        notes += _rival_notes(rival)
    waiting = max((rival["idle_cpu_share"] for rival in result["rivals"]), default=0.0)
    notes.append(f"While others worked, no rival took more than {waiting:.1%} of one processor.")
    return [f"- {note}" for note in notes]


def _rival_notes(rival: Result) -> list[str]:
    if rival["failure"]:
        return []
    told = ", ".join(f"{name} {value}" for name, value in rival["about"].items())
    notes = [f"{rival['title']}: {told or 'nothing more'}."]
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


def speed_plot(result: Result, decoding: str) -> Picture:
    """Draw milliseconds per mention: a bar for each rival and batch size, its quartiles as a line."""
    batches = result["settings"]["batches"]
    groups = []
    for rival in result["rivals"]:
        bars = []
        for at, batch in enumerate(batches):
            found = None if rival["failure"] else timings(result, rival, decoding, batch)
            failure = rival["failure"] or _cell(rival, decoding, batch)["failure"]
            bars.append(_bar(at, found, failure))
        groups.append(MeasuredGroup(rival["title"], bars))
    keys = [(f"batch {batch}", _shade(at)) for at, batch in enumerate(batches)]
    return measured_bars(f"Milliseconds per mention, {decoding}", groups, keys, _milliseconds)


def memory_plot(result: Result) -> Picture:
    """Draw gigabytes: what stays resident, and the most that was."""
    groups = []
    for rival in result["rivals"]:
        sizes = [rival["steady_bytes"] / _GIGABYTE, rival["peak_bytes"] / _GIGABYTE]
        spreads = [None if rival["failure"] else Spread(1, size, size, size) for size in sizes]
        bars = [_bar(at + 1, spread, rival["failure"]) for at, spread in enumerate(spreads)]
        groups.append(MeasuredGroup(rival["title"], bars))
    keys = [("steady", _shade(1)), ("peak", _shade(2))]
    return measured_bars("Gigabytes resident", groups, keys, lambda value: f"{value:.2f}")


def _bar(shade: int, found: Spread | None, failure: str | None) -> MeasuredBar:
    if found is None:
        return MeasuredBar(_shade(shade), None, failure=failure or "not measured")
    return MeasuredBar(_shade(shade), found.median, found.low, found.high)


def _shade(at: int) -> str:
    return _SHADES[min(at, len(_SHADES) - 1)]


if __name__ == "__main__":
    source, folder = map(Path, sys.argv[1:])
    write_forms(json.loads(source.read_text(encoding="utf-8")), folder)
