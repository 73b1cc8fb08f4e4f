"""What was found, as the JSON file holds it: every sample, no text."""

from __future__ import annotations

from typing import Any

from benchmarks.compare.records import Contender
from benchmarks.compare.schedule import Schedule

BASELINE = "torch_float32"


def results(schedule: Schedule, about: dict[str, Any]) -> dict[str, Any]:
    """Return all that was found, as the JSON file holds it: every sample, no text."""
    base = next((entry for entry in schedule.entries if entry.rival.name == BASELINE), None)
    wanted = base.outputs if base is not None else {}
    return {**about, "rivals": [_result(entry, wanted) for entry in schedule.entries]}


def _result(entry: Contender, wanted: dict[str, list[tuple[str, float | None]]]) -> dict[str, Any]:
    return {
        "name": entry.rival.name,
        "title": entry.rival.title,
        "failure": entry.failure,
        "setting": entry.variant.name,
        "settings_tried": entry.tried,
        "about": entry.about,
        "prepared_seconds": entry.prepared,
        "open_seconds": entry.opened,
        "steady_bytes": entry.steady,
        "peak_bytes": entry.peak,
        "opened_in_turns": entry.in_turns,
        "prompts_encoded_differently": entry.ids_differ,
        "idle_cpu_share": entry.idle / entry.idle_wall if entry.idle_wall else 0.0,
        "cells": [
            {
                "decoding": decoding, "batch": batch, "failure": cell.failure,
                "samples": [list(sample) for sample in cell.samples],
                **_same_texts(cell.texts, wanted.get(decoding, [])),
            }
            for (decoding, batch), cell in entry.cells.items()
        ],
        "outputs": {decoding: _same_outputs(found, wanted.get(decoding)) for decoding, found in entry.outputs.items()},
        "output_failures": entry.output_failures,
    }  # fmt: skip


def _same_texts(found: list[tuple[int, str]], wanted: list[tuple[str, float | None]]) -> dict[str, int]:
    known = [(text, wanted[row][0]) for row, text in found if row < len(wanted)]
    return {"compared": len(known), "same": sum(text == other for text, other in known)}


def _same_outputs(
    found: list[tuple[str, float | None]], wanted: list[tuple[str, float | None]] | None
) -> dict[str, Any] | None:
    if wanted is None:
        return None
    pairs = list(zip(found, wanted, strict=True))
    differences = [abs(one - other) for (_, one), (_, other) in pairs if one is not None and other is not None]
    return {"compared": len(pairs), "same": sum(one[0] == two[0] for one, two in pairs), "differences": differences}
