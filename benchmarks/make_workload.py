"""Make the workload that ``cielo bench`` runs by default: ``python benchmarks/make_workload.py``.

The mentions are the mini's held-out and development mentions, each in its own sentence. Further sentences of ours,
filled with other mentions, are set before and after it, until the prompts are as long as those of the published test
set (4,777 mentions of CodiEsp: characters mean 268, median 249, p95 458, p99 548, max 856). Mentions with a long
description are preferred, so that the outputs are as long as the published ones too (mean 39 characters). Every text
is written for this project (CC0-1.0). The same seed writes the same file.
"""

from __future__ import annotations

import csv
import math
from bisect import bisect_right
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from random import Random
from statistics import NormalDist

from cielo.text.prompt import build_prompt, prepare_sentence

ROOT = Path(__file__).resolve().parents[1]
MINI = ROOT / "models" / "mini"
TARGET = ROOT / "engine" / "cielo" / "workbench" / "bench" / "workload.tsv"
COLUMNS = ("text", "sentence", "kind")
COUNT = 512
SEED = 2026

# Characters of the published prompts at some quantiles. The lowest two make the mean 268; between the points, the
# logarithm of the length runs straight over the normal score, as it would for a log-normal distribution.
QUANTILES = {0.001: 84, 0.05: 140, 0.5: 249, 0.95: 458, 0.99: 548, 1 - 0.5 / COUNT: 856}
OUTPUT_WEIGHT = 1.5  # how strongly a mention with a long description is preferred
FILLER = (50, 110)  # characters of a sentence that others follow
LAST_FILLER = range(20, 120)


@dataclass(frozen=True, slots=True)
class Row:
    """A mention in its sentence; `described` is the length of its code's description."""

    text: str
    sentence: str
    kind: str
    described: int = 0

    @property
    def length(self) -> int:
        return len(build_prompt(self.text, self.sentence or None))


def read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))


def read_mentions() -> list[Row]:
    tables = sorted((MINI / "terms").glob("*.tsv"))
    described = {row["code"].strip(): len(row["description"].strip()) for path in tables for row in read(path)}
    rows = [row for name in ("heldout.tsv", "dev.tsv") for row in read(MINI / name)]
    return [Row(row["text"], row["sentence"], row["kind"], described[row["code"]]) for row in rows]


def read_templates() -> dict[str, list[str]]:
    """Return the sentences that the mini was not trained on, by kind; those without a slot serve both."""
    templates: dict[str, list[str]] = defaultdict(list)
    for row in read(MINI / "sentences.tsv"):
        if row["split"] == "test":
            for kind in ("diagnosis", "procedure") if row["kind"] == "any" else (row["kind"],):
                templates[kind].append(row["template"])
    return dict(templates)


def wanted_lengths() -> list[int]:
    """Return the lengths of the prompts in rising order: the distribution's values in the middles of equal parts."""
    points = [(NormalDist().inv_cdf(share), math.log(length)) for share, length in QUANTILES.items()]
    scores = [score for score, _ in points]
    lengths = []
    for place in range(COUNT):
        score = NormalDist().inv_cdf((place + 0.5) / COUNT)
        at = min(max(bisect_right(scores, score), 1), len(points) - 1)
        (left, low), (right, high) = points[at - 1], points[at]
        lengths.append(round(math.exp(low + (high - low) * (score - left) / (right - left))))
    return lengths


class Writer:
    """Sets sentences around mentions until a prompt has the length that is wanted."""

    def __init__(self, mentions: list[Row], templates: dict[str, list[str]], rng: Random) -> None:
        self.templates = templates
        self.rng = rng
        self.by_length: dict[int, list[str]] = defaultdict(list)
        for mention in mentions:
            for template in templates[mention.kind]:
                sentence = template.replace("{}", mention.text)
                if "{}" in template:  # the others would occur once for each mention
                    self.by_length[len(prepare_sentence(sentence))].append(sentence)

    def fill(self, row: Row, length: int) -> Row:
        """Return `row` with sentences around its own, its prompt `length` characters long."""
        own = row.sentence or self.rng.choice(self.templates[row.kind]).replace("{}", row.text)
        missing = length - Row(row.text, own, row.kind).length
        before: list[str] = []
        after: list[str] = []
        while missing > 0:
            filler = self.rng.choice(self.by_length[self._next(missing)])
            missing -= len(prepare_sentence(filler)) + 1
            (before if self.rng.random() < 0.5 else after).append(filler)
        return Row(row.text, " ".join([*before, own, *after]), row.kind)

    def _next(self, missing: int) -> int:
        """Return the length of the next sentence: one that fills up, or one that leaves room for another."""
        if missing - 1 in LAST_FILLER:
            return missing - 1
        low, high = FILLER
        return self.rng.randrange(low, min(high, missing - LAST_FILLER.start - 2) + 1)


def make() -> list[Row]:
    """Return the workload's rows."""
    rng = Random(SEED)  # noqa: S311  no secret
    mentions = read_mentions()
    rng.shuffle(mentions)
    writer = Writer(mentions, read_templates(), rng)
    # A weighted draw without replacement (Efraimidis and Spirakis).
    free = sorted(mentions, key=lambda row: rng.random() ** (row.described**-OUTPUT_WEIGHT), reverse=True)
    made: list[Row] = []
    for length in wanted_lengths():
        row = _choose(free, length)
        free.remove(row)
        made.append(row if row.length >= length - 1 else writer.fill(row, length))
    rng.shuffle(made)
    return made


def _choose(free: list[Row], length: int) -> Row:
    """Return the first mention that leaves room for a sentence, else the one whose prompt is nearest in length."""
    for row in free[:COUNT]:
        if row.sentence and row.length + LAST_FILLER.start + 1 <= length:
            return row
    return min(free, key=lambda row: abs(row.length - length))


def render(rows: list[Row]) -> str:
    """Return the file's content."""
    lines = [COLUMNS, *((row.text, row.sentence, row.kind) for row in rows)]
    return "".join("\t".join(cells) + "\n" for cells in lines)


if __name__ == "__main__":
    TARGET.write_text(render(make()), encoding="utf-8", newline="\n")
