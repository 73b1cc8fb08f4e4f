"""Examples of mistakes: clinical text of the user's, for a page that says so."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from cielo.workbench.evaluation.analysis import CLASSES, classify
from cielo.workbench.evaluation.records import Outcome
from cielo.workbench.evaluation.results import Example
from cielo.workbench.evaluation.scores import Systems

_OF_A_CLASS = 8


def examples(outcomes: Sequence[Outcome], systems: Systems) -> Iterator[Example]:
    """Yield the first mistakes of each class, the nearest class first."""
    taken: Counter[str] = Counter()
    for name, outcome in sorted(
        ((classify(outcome, systems), outcome) for outcome in outcomes), key=lambda pair: CLASSES.index(pair[0])
    ):
        taken[name] += 1
        if name == "right" or taken[name] > _OF_A_CLASS:
            continue
        annotated = outcome.annotated
        yield Example(
            name=name,
            mention=annotated.mention.text,
            sentence=annotated.mention.sentence,
            kind=annotated.mention.kind,
            codes=annotated.codes,
            right_description=annotated.description,
            code=outcome.code,
            description=outcome.description,
            generated=outcome.generated,
        )
