"""How many right codes the knowledge base lacks, as where annotations are of another edition, and what that costs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from cielo.knowledge.reading import KnowledgeBase
from cielo.knowledge.subsets import Subset
from cielo.workbench.evaluation.records import Annotated, Outcome
from cielo.workbench.evaluation.scores import UNKNOWN

Judged = tuple[Annotated, bool]  # a mention, and whether one of its right codes can be answered


@dataclass(frozen=True, slots=True)
class GoldCount:
    """Mentions, and those none of whose right codes can be answered; the distinct right codes, and those of these."""

    mentions: int
    unknown: int
    codes: int
    unknown_codes: int


@dataclass(frozen=True, slots=True)
class GoldSummary:
    """The right codes of a corpus against a knowledge base, or the subset of it that was asked for.

    Attributes:
        all: of every mention.
        kinds: by annotated kind.
        ceiling: the accuracy that nothing can pass, in percent: the share of mentions with a known right code.
    """

    all: GoldCount
    kinds: dict[str, GoldCount]
    ceiling: float


def is_known(entry: Annotated, base: KnowledgeBase, subset: Subset | None = None, *, as_written: bool = False) -> bool:
    """Tell whether a right code of a mention can be answered: it is in the knowledge base, the kind and the subset."""
    return any(base.holds(code, entry.mention.kind, subset, as_written=as_written) for code in entry.codes)


def judge(entries: Iterable[Annotated], base: KnowledgeBase) -> list[Judged]:
    """Return each mention with whether one of its right codes is in the knowledge base."""
    return [(entry, is_known(entry, base)) for entry in entries]


def judged_by(outcomes: Iterable[Outcome]) -> list[Judged]:
    """Return the mentions of outcomes of which that is known."""
    return [(outcome.annotated, outcome.known) for outcome in outcomes if outcome.known is not None]


def count_gold(judged: Iterable[Judged]) -> GoldSummary | None:
    """Return the counts of all mentions and of each kind; None where there is no mention."""
    groups: dict[str, list[Judged]] = {}
    for entry, known in judged:
        groups.setdefault(entry.mention.kind or UNKNOWN, []).append((entry, known))
    every = [pair for group in groups.values() for pair in group]
    if not every:
        return None
    found = _count(every)
    ceiling = 100.0 * (found.mentions - found.unknown) / found.mentions
    return GoldSummary(found, {kind: _count(groups[kind]) for kind in sorted(groups)}, ceiling)


def _count(judged: list[Judged]) -> GoldCount:
    codes = {(entry.mention.kind, entry.codes) for entry, _ in judged}
    unknown = {(entry.mention.kind, entry.codes) for entry, known in judged if not known}
    return GoldCount(len(judged), sum(not known for _, known in judged), len(codes), len(unknown))


def describe(summary: GoldSummary, where: str = "the knowledge base") -> str:
    """Say how many right codes are unknown, and of which kinds."""
    kinds = "; ".join(f"{kind} {_shown(count)}" for kind, count in summary.kinds.items())
    return (
        f"the right code of {_shown(summary.all)} mentions ({100 - summary.ceiling:.1f} %; "
        f"{summary.all.unknown_codes:,} of {summary.all.codes:,} codes) is not in {where}: {kinds}"
    )


def _shown(count: GoldCount) -> str:
    return f"{count.unknown:,} of {count.mentions:,}"
