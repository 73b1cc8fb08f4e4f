"""Each command of cielo once, as short as it can be; {out} is a folder of its own."""

from __future__ import annotations

import sys

import pytest
from graph import ROOT

COMMAND = [sys.executable, "-P", "-c", "from cielo.cli import main; main(prog_name='cielo')"]
DEV = ROOT / "models" / "mini" / "dev.tsv"
PROCEDURES = ROOT / "models" / "mini" / "terms" / "procedures.tsv"
BUNDLE = ROOT / "models" / "mini" / "bundle"
COMMANDS = {
    "link": "link tos",
    "link rows": "link --input {rows} --output {out}/links.csv",
    "documents": "documents {documents} --output {out}/links.jsonl",
    "info": "info",
    "doctor": "doctor",
    "completion": "completion bash",
    "verify": "verify",
    "verify parity": "verify --parity",
    "kb build": "kb build {out}/kb.sqlite --table procedure={procedures}",
    "kb show": "kb show BW20",
    "kb search": "kb search tos",
    "kb info": "kb info",
    "kb replace": "kb replace {bundle} --table procedure={procedures} --output {out}/next",
    "kb diff": "kb diff {bundle} procedure={procedures}",
    "kb fetch": "kb fetch",
    "lexicon build": "lexicon build {dev} --minimum-count 1 --output {out}/lexicon.tsv",
    "lexicon check": "lexicon check {rows}",
    "evaluate": "evaluate {annotated} --html {out}/report.html",
    "calibrate": "calibrate {bundle} {dev} --output {out}/calibrated",
    "bench": "bench --seconds 0.2 --workload {rows} --html {out}/bench.html",
    "tune": "tune --prompts 1 --rounds 1",
    "convert": "convert {recipe} --output {out}/converted",
    "bulk": "bulk {rows} --output {out}/bulk --format csv",
    "serve": "serve --print-config",
}
HEAVY = frozenset({"bench", "calibrate", "convert", "kb replace", "tune", "verify parity"})
EACH = [pytest.param(words, marks=pytest.mark.slow) if words in HEAVY else words for words in COMMANDS]
"""All of them, for tests; those that take long are slow tests."""
