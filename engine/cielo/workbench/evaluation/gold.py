"""How many right codes the knowledge base lacks, as where annotations are of another edition, and what that costs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from cielo.knowledge.reading import KnowledgeBase
from cielo.knowledge.subsets import Subset
from cielo.text.language import say
from cielo.workbench.evaluation.records import Annotated, Outcome
from cielo.workbench.evaluation.scores import UNKNOWN
from cielo.workbench.page.parts import count as written
from cielo.workbench.page.parts import figure, value_name

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


def describe(summary: GoldSummary, *, kept_to_a_part: bool = False) -> str:
    """Say how many right codes are unknown, and of which kinds.

    Args:
        summary: the counts.
        kept_to_a_part: whether only a part of the knowledge base was asked for.
    """
    base, part = say("the knowledge base"), say("the part of the knowledge base that was asked for")
    return say(
        "the right code of {mentions} mentions ({share} %; {codes} codes) is not in {where}: {kinds}",
        mentions=_shown(summary.all.unknown, summary.all.mentions),
        share=figure(100 - summary.ceiling, 1),
        codes=_shown(summary.all.unknown_codes, summary.all.codes),
        where=part if kept_to_a_part else base,
        kinds="; ".join(
            f"{kind_name(kind)} {_shown(one.unknown, one.mentions)}" for kind, one in summary.kinds.items()
        ),
    )


def kind_name(kind: str) -> str:
    """Return what a kind of code is called, or the group of mentions without one."""
    return say(UNKNOWN) if kind == UNKNOWN else value_name(kind)


def _shown(some: int, of: int) -> str:
    return say("{some} of {all}", some=written(some), all=written(of))
