"""Which plan wins, and what is kept of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from cielo.bundle.layout import Bundle, default_bundle
from cielo.bundle.state import load_plan
from cielo.cli import main
from cielo.errors import TuningError
from cielo.generation.plan import ThreadPlan
from cielo.workbench import tuning
from cielo.workbench.tuning import describe, tune
from click.testing import CliRunner


@pytest.fixture
def bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bundle:
    monkeypatch.setenv("CIELO_STATE", str(tmp_path))
    monkeypatch.setattr(tuning, "usable_cores", lambda: 4)
    return Bundle.open(default_bundle())


def answering(monkeypatch: pytest.MonkeyPatch, cost: Any) -> list[ThreadPlan]:
    asked: list[ThreadPlan] = []

    def measure(plan: ThreadPlan, task: Any) -> dict[str, float] | None:
        asked.append(plan)
        figures = cost(plan)
        return None if figures is None else {"offline_ms": figures[0], "alone_ms": figures[1]}

    monkeypatch.setattr(tuning, "_in_own_process", measure)
    return asked


def offline_likes_two_threads(plan: ThreadPlan) -> tuple[float, float]:
    return (
        10.0 + abs(plan.threads - 2) + abs(plan.batch_tokens - 2048) / 1000 + (plan.first_search == "greedy"),
        10.0 - plan.threads - (plan.first_search == "greedy"),
    )


def test_the_best_share_then_the_best_size_then_the_best_search(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    answering(monkeypatch, offline_likes_two_threads)
    best = tune(bundle, bundle.execution("cpu", compute_type="float32"))[0].plan
    assert (best.replicas, best.threads, best.batch_tokens, best.first_search) == (2, 2, 2048, "beams")
    assert best.source == "tuned"


def test_the_goal_decides(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    answering(monkeypatch, offline_likes_two_threads)
    best = tune(bundle, bundle.execution("cpu", compute_type="float32"), goal="latency")[0].plan
    assert (best.replicas, best.threads, best.first_search) == (1, 4, "greedy")


def test_every_share_of_the_cores_is_measured_in_every_round(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = answering(monkeypatch, offline_likes_two_threads)
    tune(bundle, bundle.execution("cpu", compute_type="float32"), rounds=3)
    shares = {(plan.replicas, plan.threads, plan.wait_policy) for plan in asked}
    assert shares == {
        (4, 1, "passive"), (2, 2, "passive"), (1, 4, "passive"), (2, 2, "active"), (1, 4, "active"),
    }  # fmt: skip
    assert all(asked.count(plan) == 3 for plan in asked)


def test_a_plan_that_fails_is_left_out(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    answering(monkeypatch, lambda plan: None if plan.threads > 1 else (1.0, 1.0))
    assert {entry.plan.threads for entry in tune(bundle, bundle.execution("cpu", compute_type="float32"))} == {1}


def test_where_every_plan_fails_it_says_so(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    answering(monkeypatch, lambda plan: None)
    with pytest.raises(TuningError, match="no thread plan"):
        tune(bundle, bundle.execution("cpu", compute_type="float32"))


def test_a_real_process_that_cannot_open_the_model_is_a_failure(bundle: Bundle) -> None:
    task = tuning.Task("ctranslate2", "/nowhere", "/nowhere", 64, "cpu", "float32", "probable", ["x"])
    assert tuning._in_own_process(ThreadPlan(1), task) is None


def test_the_command_measures_the_mini_and_keeps_the_winner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CIELO_STATE", str(tmp_path))
    done = CliRunner().invoke(main, ["tune", "--prompts", "2", "--rounds", "1", "--device", "cpu"])
    assert done.exit_code == 0, done.output
    assert "1 thread, 1024 tokens a batch" in done.output
    bundle = Bundle.open(default_bundle())
    plan = load_plan(bundle, bundle.execution("cpu", compute_type="float32"))
    assert plan is not None
    assert plan.source == "tuned"
    (file,) = (tmp_path / "plans").iterdir()
    kept = json.loads(file.read_text(encoding="utf-8"))
    assert kept["measured"]["goal"] == "throughput"
    assert "sentence" not in file.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("plan", "text"),
    [
        (ThreadPlan(2), "2 x 1 thread, 1024 tokens a batch"),
        (ThreadPlan(1, 4, 512, "greedy", "active"), "1 x 4 threads (active), 512 tokens a batch, greedy first"),
    ],
)
def test_plans_in_words(plan: ThreadPlan, text: str) -> None:
    assert describe(plan) == text
