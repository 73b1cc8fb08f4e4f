"""What every backend must do, as tests: subclass `BackendContract` and give it a `subject`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from cielo.errors import BundleError, DeviceError, OptionError
from cielo.generation.backends import BACKENDS, backend
from cielo.generation.capabilities import DEVICES, require_runnable, require_search, resolve_device
from cielo.generation.memory import Shape
from cielo.generation.plan import ThreadPlan
from cielo.generation.progress import listening
from cielo.generation.protocol import Backend, Generator
from cielo.generation.searches import SEARCHES, BeamSearch, certain_first, is_certain
from cielo.records import Decoding, Hypothesis
from cielo.text.prompt import build_prompt
from cielo.text.tokenizer import Encoded, Tokenizer

SHAPE = Shape(decoder_layers=2, width=256, inner=512, outputs=4032)
TERMS = (
    "tos", "TC abdominal", "dolor de garganta", "hipertensión arterial", "fiebre", "úlcera", "fractura de fémur",
    "resonancia de rodilla", "una mención de la que no habla ningún texto", "tos", "x",
)  # fmt: skip
DECODINGS = tuple(SEARCHES)
PLANS = (
    ThreadPlan(2), ThreadPlan(1, threads=2), ThreadPlan(2, batch_tokens=1), ThreadPlan(1, batch_tokens=1_000_000),
)  # fmt: skip


@dataclass(frozen=True)
class Subject:
    """A backend under test and a model of its own.

    Attributes:
        tolerance: by which the log-probability of one output may differ between batches.
    """

    backend: Backend
    directory: Path
    tokenizer: Tokenizer
    compute_type: str
    tolerance: float

    def open(self, plan: ThreadPlan | None = None, **changes: str) -> Generator:
        asked = {"device": "cpu", "compute_type": self.compute_type, **changes}
        return self.backend.open(self.directory, self.tokenizer, plan=plan or ThreadPlan(1), **asked)

    def encode(self, terms: Sequence[str]) -> list[Encoded]:
        return self.tokenizer.encode([build_prompt(term, f"Paciente con {term} desde ayer.") for term in terms])

    def assert_equal(self, found: list[list[Hypothesis]], wanted: list[list[Hypothesis]]) -> None:
        """Texts may change places only where their scores lie within the tolerance."""
        assert len(found) == len(wanted)
        for got, expected in zip(found, wanted, strict=True):
            scores = [entry.score for entry in expected]
            assert [entry.score for entry in got] == pytest.approx(scores, abs=self.tolerance)
            if len(scores) < 2 or scores[0] - scores[1] > self.tolerance:
                assert got[0].text == expected[0].text


class BackendContract:
    @pytest.fixture(scope="class")
    def subject(self, tmp_path_factory: pytest.TempPathFactory) -> Subject:
        raise NotImplementedError

    @pytest.fixture(scope="class")
    def generator(self, subject: Subject) -> Iterator[Generator]:
        with subject.open() as opened:
            yield opened

    @pytest.fixture(scope="class")
    def prompts(self, subject: Subject) -> list[Encoded]:
        return subject.encode(TERMS)

    @pytest.fixture
    def search(self, subject: Subject) -> BeamSearch:
        return SEARCHES["probable" if "probable" in subject.backend.decodings else "greedy"]

    def test_results_are_in_the_order_of_the_prompts(
        self, subject: Subject, generator: Generator, prompts: list[Encoded], search: BeamSearch
    ) -> None:
        found = generator.generate(prompts, search)
        assert len({rows[0].text for rows in found}) > 3, "the prompts are too alike to show an order"
        subject.assert_equal(generator.generate(prompts[::-1], search)[::-1], found)

    def test_the_composition_of_batches_changes_no_answer(
        self, subject: Subject, generator: Generator, prompts: list[Encoded], search: BeamSearch
    ) -> None:
        alone = [generator.generate([prompt], search)[0] for prompt in prompts]
        subject.assert_equal(generator.generate(prompts, search), alone)

    @pytest.mark.parametrize("plan", PLANS, ids=lambda plan: f"{plan.replicas}x{plan.threads}-{plan.batch_tokens}")
    def test_no_plan_changes_an_answer(
        self, subject: Subject, generator: Generator, prompts: list[Encoded], search: BeamSearch, plan: ThreadPlan
    ) -> None:
        with subject.open(plan) as other:
            subject.assert_equal(other.generate(prompts, search), generator.generate(prompts, search))

    @pytest.mark.usefixtures("every_processor")
    def test_threads_that_call_at_once_get_their_own_answers(
        self, subject: Subject, generator: Generator, prompts: list[Encoded], search: BeamSearch
    ) -> None:
        wanted = generator.generate(prompts, search)
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(lambda prompt: generator.generate([prompt], search)[0], prompts))
        subject.assert_equal(found, wanted)

    @pytest.mark.parametrize("decoding", DECODINGS)
    def test_hypotheses_are_sorted_and_their_numbers_agree(
        self, subject: Subject, generator: Generator, prompts: list[Encoded], decoding: Decoding
    ) -> None:
        if decoding not in subject.backend.decodings:
            pytest.skip("not a decoding of this backend")
        search = SEARCHES[decoding]
        for rows in generator.generate(prompts, search):
            assert 1 <= len(rows) <= search.beams
            scores = [entry.score for entry in rows]
            assert scores == sorted(scores, reverse=True)
            for entry in rows:
                assert entry.log_prob <= 1e-6
                assert entry.score == pytest.approx(entry.log_prob / entry.length**search.length_penalty, abs=1e-6)
                assert 1 <= entry.length <= search.max_new_tokens
                assert entry.text == entry.text.strip()

    def test_an_output_that_is_too_long_is_cut_and_says_so(
        self, subject: Subject, generator: Generator, prompts: list[Encoded], search: BeamSearch
    ) -> None:
        cut = generator.generate(prompts, replace(search, max_new_tokens=2))
        assert all(entry.length <= 2 for rows in cut for entry in rows)
        assert any(not entry.finished for rows in cut for entry in rows)

    def test_greedy_is_the_first_of_one_beam(
        self, subject: Subject, generator: Generator, prompts: list[Encoded], search: BeamSearch
    ) -> None:
        greedy = generator.generate(prompts, SEARCHES["greedy"])
        assert {len(rows) for rows in greedy} == {1}
        subject.assert_equal(generator.generate(prompts, replace(search, beams=1)), greedy)

    def test_a_certain_output_is_what_the_beams_find(
        self, subject: Subject, generator: Generator, prompts: list[Encoded], search: BeamSearch
    ) -> None:
        beams = [rows[:1] for rows in generator.generate(prompts, search)]
        found = certain_first(generator, prompts, search)
        assert any(is_certain(rows[0]) for rows in found), "no prompt is certain: the test shows nothing"
        subject.assert_equal(found, beams)

    def test_each_batch_is_reported_when_it_is_done(
        self, subject: Subject, prompts: list[Encoded], search: BeamSearch
    ) -> None:
        heard: list[float] = []
        with subject.open(ThreadPlan(2, batch_tokens=1)) as generator:
            wanted = generator.generate(prompts, search)
            with listening(heard.append):
                found = generator.generate(prompts, search)
        subject.assert_equal(found, wanted)
        assert heard == [pytest.approx(1 / len(prompts))] * len(prompts)

    def test_a_search_in_two_steps_reports_each_as_half(
        self, subject: Subject, generator: Generator, prompts: list[Encoded], search: BeamSearch
    ) -> None:
        heard: list[float] = []
        with listening(heard.append):
            found = certain_first(generator, prompts, search)
        unsure = not all(is_certain(rows[0]) for rows in found)
        assert sum(heard) == pytest.approx(1.0 if unsure else 0.5)
        assert max(heard) <= 0.5

    def test_no_prompt_gives_no_answer(self, subject: Subject, generator: Generator, search: BeamSearch) -> None:
        assert generator.generate([], search) == []
        if subject.backend.gives_log_probs:
            assert generator.log_probs([], []) == []

    def test_one_long_prompt_changes_no_other(
        self, subject: Subject, generator: Generator, prompts: list[Encoded], search: BeamSearch
    ) -> None:
        (long,) = subject.encode(["dolor " * 2000])
        assert long.truncated
        assert len(long.ids) == subject.tokenizer.max_tokens
        found = generator.generate([*prompts[:3], long, *prompts[3:]], search)
        assert found[3]
        subject.assert_equal(found[:3] + found[4:], generator.generate(prompts, search))

    def test_log_probs_have_one_number_for_each_token_and_one_for_the_end(
        self, subject: Subject, generator: Generator, prompts: list[Encoded]
    ) -> None:
        if not subject.backend.gives_log_probs:
            with pytest.raises(OptionError, match="log-probabilities"):
                generator.log_probs(prompts[:1], [[1]])
            return
        targets = [subject.tokenizer.encode_target(text) for text in ("", "tos", "Otro texto, algo más largo", "tos")]
        found = generator.log_probs(prompts[:4], targets)
        assert [row.shape for row in found] == [(len(target) + 1,) for target in targets]
        assert {row.dtype for row in found} == {np.dtype(np.float32)}
        assert all((row <= 1e-6).all() for row in found)
        alone = [
            generator.log_probs([prompt], [target])[0] for prompt, target in zip(prompts[:4], targets, strict=True)
        ]
        for row, other in zip(found, alone, strict=True):
            assert row == pytest.approx(other, abs=10 * subject.tolerance)

    def test_the_log_probability_of_an_output_is_that_of_its_tokens(
        self, subject: Subject, generator: Generator, prompts: list[Encoded], search: BeamSearch
    ) -> None:
        if not subject.backend.gives_log_probs:
            pytest.skip("gives no log-probabilities")
        best = [rows[0] for rows in generator.generate(prompts, search)]
        targets = [subject.tokenizer.encode_target(entry.text) for entry in best]
        # A text can have other tokens than those that were generated.
        same = [row for row, entry in enumerate(best) if entry.finished and len(targets[row]) + 1 == entry.length]
        assert len(same) > 3
        scored = generator.log_probs([prompts[row] for row in same], [targets[row] for row in same])
        sums = [float(np.sum(row)) for row in scored]
        assert sums == pytest.approx([best[row].log_prob for row in same], abs=10 * subject.tolerance)

    @pytest.mark.parametrize("working_bytes", [0, 1, 30_000_000])
    def test_a_limit_of_memory_changes_no_answer(
        self, subject: Subject, prompts: list[Encoded], search: BeamSearch, working_bytes: int
    ) -> None:
        with subject.open(ThreadPlan(2)) as generator:
            free = generator.generate(prompts, search)
            generator.limit_memory(working_bytes, SHAPE)
            subject.assert_equal(generator.generate(prompts, search), free)

    def test_closing_twice_does_no_harm_and_another_opens(
        self, subject: Subject, prompts: list[Encoded], search: BeamSearch
    ) -> None:
        with subject.open() as first:
            wanted = first.generate(prompts, search)
        first.close()
        with pytest.raises(RuntimeError, match="closed"):
            first.generate(prompts, search)
        with subject.open() as second:
            subject.assert_equal(second.generate(prompts, search), wanted)

    def test_a_model_that_is_not_there_is_a_bundle_s_fault(self, subject: Subject, tmp_path: Path) -> None:
        with pytest.raises(BundleError, match="cannot be loaded"):
            replace(subject, directory=tmp_path).open()

    def test_what_it_cannot_do_is_refused(self, subject: Subject) -> None:
        tested = subject.backend
        for compute_type in [*tested.compute_types, "default", "int3", ""]:
            if compute_type in tested.runnable_compute_types("cpu"):
                require_runnable(tested, "cpu", compute_type)
                continue
            with pytest.raises(DeviceError, match="compute type"):
                subject.open(compute_type=compute_type)
        for device in {*DEVICES, "tpu", ""} - set(tested.devices()):
            with pytest.raises(DeviceError, match="device"):
                subject.open(device=device)
            with pytest.raises(DeviceError, match="device"):
                resolve_device(tested, device)
        for decoding in {*DECODINGS, "sampled"} - set(tested.decodings):
            with pytest.raises(OptionError, match="the backend"):
                require_search(tested, decoding)
        require_search(tested, tested.decodings[0], log_probs=tested.gives_log_probs)
        if not tested.gives_log_probs:
            with pytest.raises(OptionError, match="log-probabilities"):
                require_search(tested, tested.decodings[0], log_probs=True)

    def test_it_tells_what_it_can_write(self, subject: Subject, generator: Generator, prompts: list[Encoded]) -> None:
        search = SEARCHES[next(name for name in SEARCHES if name in subject.backend.decodings)]
        texts = [rows[0].text for rows in generator.generate(prompts, search)]
        tokens = [token for text in texts for token in subject.tokenizer.encode_target(text)]
        found = generator.writes(np.array([*tokens, subject.tokenizer.end_id, 2**31 - 1], dtype=np.int32))
        assert found.tolist() == [*[True] * (len(tokens) + 1), False]

    def test_what_it_says_of_itself_is_sound(self, subject: Subject) -> None:
        tested = subject.backend
        assert "cpu" in tested.devices()
        assert set(tested.devices()) <= set(DEVICES)
        assert resolve_device(tested, "auto") in tested.devices()
        for device in tested.devices():
            assert tested.runnable_compute_types(device)
        assert subject.compute_type in set(tested.compute_types) & tested.runnable_compute_types("cpu")
        assert tested.decodings
        assert set(tested.decodings) <= {*SEARCHES, "constrained"}
        assert tested.gives_masks == ("constrained" in tested.decodings)
        assert all(isinstance(word, str) for pair in tested.environment(PLANS[1]).items() for word in pair)

    def test_it_is_found_by_its_name(self, subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(BACKENDS, subject.backend.name, subject.backend)
        assert backend(subject.backend.name) is subject.backend
