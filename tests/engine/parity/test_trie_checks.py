"""The checks of the constrained search: what a search that lies would show, each caught by the check of its name."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cielo.bundle.manifest import Check
from cielo.bundle.opening import open_bundle
from cielo.bundle.stages import Stages
from cielo.bundle.trie import DescriptionTrie
from cielo.generation.backends import BACKENDS
from cielo.generation.constrained import ConstrainedSearch, Found
from cielo.generation.trie import Trie
from cielo.parity.bounds import Bounds
from cielo.parity.references import References
from cielo.parity.tries import constrained_checks, trie_checks
from cielo.text.tokenizer import Encoded

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "generation"))

from toy_backend import constrained_mini, constrained_toy

TOLERANCE = 1e-4


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Stages, References]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(BACKENDS, "toy", constrained_toy())
        bundle = constrained_mini(tmp_path_factory.mktemp("both") / "bundle")
        stages = open_bundle(bundle.path, backend="toy", decoding="constrained").stages
        whole = References.load(bundle.references, bundle.reference_vectors)
        few = slice(0, 20)
        references = replace(
            whole, prompts=whole.prompts[few], prompt_ids=whole.prompt_ids[few], targets=whole.targets[few],
            target_log_probs=whole.target_log_probs[few], outputs=whole.outputs[few],
            output_log_probs=whole.output_log_probs[few],
            searches={name: found[few] for name, found in whole.searches.items()},
        )  # fmt: skip
        yield stages, references
        stages.close()


class Lying:
    """A generator that changes what its search found."""

    def __init__(self, generator: Any, change: Callable[[Found], Found]) -> None:
        self._generator, self._change = generator, change

    def search_tries(self, prompts: Sequence[Encoded], tries: Sequence[Trie], search: ConstrainedSearch) -> list[Found]:
        return [self._change(found) for found in self._generator.search_tries(prompts, tries, search)]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._generator, name)


def checks(opened: tuple[Stages, References], change: Callable[[Found], Found] = lambda found: found) -> list[Check]:
    stages, references = opened
    assert stages.trie is not None
    lying = replace(stages, generator=Lying(stages.generator, change))  # type: ignore[arg-type]
    return list(constrained_checks(stages.trie, lying, references, TOLERANCE, Bounds({})))


def failed(found: list[Check]) -> set[str]:
    return {check.name for check in found if not check.passed}


def test_a_sound_search_passes(opened: tuple[Stages, References]) -> None:
    stages, _ = opened
    assert stages.trie is not None
    found = checks(opened)
    assert failed(found) == set(), found
    assert [check.name for check in found] == ["generator.constrained.scores", "generator.constrained.best"]
    assert failed(list(trie_checks(stages.trie, stages, Bounds({})))) == set()


def test_scores_of_the_allowed_tokens_alone_are_caught(opened: tuple[Stages, References]) -> None:
    def renormalised(found: Found) -> Found:
        return replace(found, leaves=tuple(replace(leaf, log_prob=leaf.log_prob / 2) for leaf in found.leaves))

    assert "generator.constrained.scores" in failed(checks(opened, renormalised))


def test_a_best_one_that_was_passed_over_is_caught(opened: tuple[Stages, References]) -> None:
    def cut(found: Found) -> Found:
        return replace(found, leaves=found.leaves[1:])

    assert failed(checks(opened, cut)) == {"generator.constrained.best"}


@pytest.mark.parametrize(("gap", "lost"), [(0.01, True), (1000.0, False)])
def test_where_nothing_is_proven_the_gap_must_hold(opened: tuple[Stages, References], gap: float, lost: bool) -> None:
    def unproven(found: Found) -> Found:
        return replace(found, leaves=found.leaves[1:], proof=replace(found.proof, exact=False, gap=gap))

    assert failed(checks(opened, unproven)) == ({"generator.constrained.best"} if lost else set())


def test_where_nothing_is_known_nothing_is_shown(opened: tuple[Stages, References]) -> None:
    def unknown(found: Found) -> Found:
        return replace(found, proof=replace(found.proof, exact=False, gap=math.inf))

    (best,) = [check for check in checks(opened, unknown) if not check.passed]
    assert (best.name, best.detail) == ("generator.constrained.best", "there is nothing to compare")


def test_a_search_that_finds_nothing_shows_nothing(opened: tuple[Stages, References]) -> None:
    names = failed(checks(opened, lambda found: replace(found, leaves=())))
    assert names == {"generator.constrained.scores", "generator.constrained.best"}


def test_what_is_left_out_although_it_can_be_written_is_caught(opened: tuple[Stages, References]) -> None:
    stages, _ = opened
    texts, lost = stages.knowledge_base.texts(), stages.tokenizer.encode_target("Síntoma de tos")[-1]
    assert stages.trie is not None
    trie = DescriptionTrie.build(texts, stages.tokenizer, lambda tokens: tokens != lost)
    assert failed(list(trie_checks(trie, stages, Bounds({})))) == {"trie.descriptions"}


def test_without_a_description_in_the_references_others_are_compared(opened: tuple[Stages, References]) -> None:
    stages, references = opened
    titles = [f"cosa inventada número {number}" for number in range(30)]
    trie = DescriptionTrie.build(titles, stages.tokenizer)
    found = list(constrained_checks(trie, stages, references, TOLERANCE, Bounds({})))
    assert failed(found) == set(), found

    def passed_over(one: Found) -> Found:
        return replace(one, leaves=one.leaves[-1:], proof=replace(one.proof, exact=True))

    lying = replace(stages, generator=Lying(stages.generator, passed_over))  # type: ignore[arg-type]
    search = list(constrained_checks(trie, lying, references, TOLERANCE, Bounds({})))
    assert failed(search) <= {"generator.constrained.best"}
