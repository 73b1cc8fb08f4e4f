"""Which plan wins, and what is kept of it."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cielo.bundle.layout import Bundle, default_bundle
from cielo.bundle.manifest import Execution
from cielo.bundle.state import load_plans, plan_for, save_plans
from cielo.cli import main
from cielo.errors import TuningError
from cielo.generation.backends import BACKENDS
from cielo.generation.plan import ThreadPlan
from cielo.workbench import tuning
from cielo.workbench.tuning import describe, tune
from click.testing import CliRunner

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "generation"))

from toy_backend import ToyBackend

pytestmark = pytest.mark.usefixtures("with_one_backend")


@pytest.fixture
def bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bundle:
    monkeypatch.setenv("CIELO_STATE", str(tmp_path))
    monkeypatch.setattr(tuning, "usable_cores", lambda: 4)
    return Bundle.open(default_bundle())


@pytest.fixture
def own(bundle: Bundle) -> Execution:
    return bundle.execution("cpu", compute_type="float32")


def answering(monkeypatch: pytest.MonkeyPatch, cost: Any) -> list[tuple[str, ThreadPlan]]:
    asked: list[tuple[str, ThreadPlan]] = []

    def measure(plan: ThreadPlan, task: Any) -> dict[str, float] | None:
        asked.append((task.backend, plan))
        figures = cost(plan)
        return None if figures is None else {"bulk": figures[0], "single": figures[1]}

    monkeypatch.setattr(tuning, "_in_own_process", measure)
    return asked


def bulk_likes_two_threads(plan: ThreadPlan) -> tuple[float, float]:
    return (
        10.0 + abs(plan.threads - 2) + abs(plan.batch_tokens - 2048) / 1000 + (plan.first_search == "greedy"),
        10.0 - plan.threads - (plan.first_search == "greedy"),
    )


def test_the_best_share_then_the_best_size_then_the_best_search(
    bundle: Bundle, own: Execution, monkeypatch: pytest.MonkeyPatch
) -> None:
    answering(monkeypatch, bulk_likes_two_threads)
    found = tune(bundle, [own])[own]
    best = found[0].plan
    assert (best.replicas, best.threads, best.batch_tokens, best.first_search) == (2, 2, 2048, "beams")
    assert [entry.bulk_ms for entry in found] == sorted(entry.bulk_ms for entry in found)
    save_plans(bundle, own, found)
    assert plan_for(bundle, own) == replace(best, source="tuned")


def test_each_use_finds_its_own(bundle: Bundle, own: Execution, monkeypatch: pytest.MonkeyPatch) -> None:
    answering(monkeypatch, bulk_likes_two_threads)
    save_plans(bundle, own, tune(bundle, [own])[own])
    best = plan_for(bundle, own, use="single")
    assert (best.replicas, best.threads, best.first_search) == (1, 4, "greedy")


def test_every_share_of_the_cores_is_measured_in_every_round(
    bundle: Bundle, own: Execution, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = answering(monkeypatch, bulk_likes_two_threads)
    tune(bundle, [own], rounds=3)
    shares = {(plan.replicas, plan.threads, plan.wait_policy) for _, plan in asked}
    assert shares == {
        (4, 1, "passive"), (2, 2, "passive"), (1, 4, "passive"), (2, 2, "active"), (1, 4, "active"),
    }  # fmt: skip
    assert all(asked.count(entry) == 3 for entry in asked)


def test_backends_take_turns_in_every_round(bundle: Bundle, own: Execution, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(BACKENDS, "toy", ToyBackend())
    other = replace(own, backend="toy")
    asked = answering(monkeypatch, bulk_likes_two_threads)
    monkeypatch.setattr(tuning, "check_files", lambda *_, **__: None)
    found = tune(bundle, [own, other], rounds=2)
    assert list(found) == [own, other]
    shares = [{(entry.plan.replicas, entry.plan.threads) for entry in entries} for entries in found.values()]
    assert shares[0] == shares[1]
    turns = [name for name, _ in asked[:20]]
    assert turns == [*["ctranslate2"] * 5, *["toy"] * 5] * 2


def test_a_plan_that_fails_is_left_out(bundle: Bundle, own: Execution, monkeypatch: pytest.MonkeyPatch) -> None:
    answering(monkeypatch, lambda plan: None if plan.threads > 1 else (1.0, 1.0))
    assert {entry.plan.threads for entry in tune(bundle, [own])[own]} == {1}


def test_a_backend_that_fails_is_left_out(bundle: Bundle, own: Execution, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(BACKENDS, "toy", ToyBackend())
    other = replace(own, backend="toy")

    def measure(plan: ThreadPlan, task: Any) -> dict[str, float] | None:
        return None if task.backend == "toy" else {"bulk": 1.0, "single": 1.0}

    monkeypatch.setattr(tuning, "_in_own_process", measure)
    monkeypatch.setattr(tuning, "check_files", lambda *_, **__: None)
    assert list(tune(bundle, [own, other])) == [own]


def test_where_every_plan_fails_it_says_so(bundle: Bundle, own: Execution, monkeypatch: pytest.MonkeyPatch) -> None:
    answering(monkeypatch, lambda plan: None)
    with pytest.raises(TuningError, match="no thread plan"):
        tune(bundle, [own])


def test_a_real_process_that_cannot_open_the_model_is_a_failure(bundle: Bundle) -> None:
    task = tuning.Task("ctranslate2", "/nowhere", "/nowhere", 64, "cpu", "float32", "probable", ["x"])
    assert tuning._in_own_process(ThreadPlan(1), task) is None


def test_the_command_measures_the_mini_and_keeps_the_winner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CIELO_STATE", str(tmp_path))
    done = CliRunner().invoke(main, ["tune", "--prompts", "2", "--rounds", "1", "--device", "cpu"])
    assert done.exit_code == 0, done.output
    assert "1 thread, 1024 tokens a batch" in done.output
    bundle = Bundle.open(default_bundle())
    (file,) = (tmp_path / "plans").glob("*-ctranslate2-cpu-float32-*")
    kept = load_plans(bundle, bundle.execution("cpu", compute_type="float32"))
    assert kept is not None
    assert all(entry.single_ms > 0 and entry.bulk_ms > 0 for entry in kept.measured)
    assert plan_for(bundle, bundle.execution("cpu", compute_type="float32")).source == "tuned"
    assert "sentence" not in file.read_text(encoding="utf-8")


def measured_by(monkeypatch: pytest.MonkeyPatch, cost: Any) -> Any:
    answering(monkeypatch, cost)
    return CliRunner().invoke(main, ["tune", "--prompts", "1", "--rounds", "1", "--device", "cpu"])


def test_it_says_what_the_plan_for_bulk_costs_one_mention_alone(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = measured_by(monkeypatch, lambda plan: (float(plan.threads), 12.0 / plan.threads))
    assert done.exit_code == 0, done.output
    assert (
        "one mention alone: ctranslate2, 1 x 4 threads (passive), 1024 tokens a batch, 3.0 ms a mention" in done.output
    )
    assert "in bulk: ctranslate2, 4 x 1 thread, 1024 tokens a batch, 1.0 ms a mention" in done.output
    assert "takes 12.0 ms for one mention alone, 4.0 times as long: a plan is kept for each" in done.output
    own = bundle.execution("cpu", compute_type="float32")
    assert [plan_for(bundle, own, use=use).threads for use in ("single", "bulk")] == [4, 1]


def test_where_one_plan_is_the_fastest_for_both_nothing_is_compared(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = measured_by(monkeypatch, lambda plan: 2 * (plan.threads + plan.batch_tokens / 1e6 + len(plan.first_search),))
    assert "one mention alone" in done.output
    assert "times as long" not in done.output


def test_it_looks_whether_it_can_keep_anything_before_it_measures(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("CIELO_STATE", str(tmp_path / "file" / "state"))
    asked = answering(monkeypatch, lambda plan: (1.0, 1.0))
    done = CliRunner().invoke(main, ["tune", "--device", "cpu"])
    assert (done.exit_code, asked) == (1, [])
    assert "CIELO_STATE" in done.output


@pytest.mark.parametrize(
    ("plan", "text"),
    [
        (ThreadPlan(2), "2 x 1 thread, 1024 tokens a batch"),
        (ThreadPlan(1, 4, 512, "greedy", "active"), "1 x 4 threads (active), 512 tokens a batch, greedy first"),
    ],
)
def test_plans_in_words(plan: ThreadPlan, text: str) -> None:
    assert describe(plan) == text
