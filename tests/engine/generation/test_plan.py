"""Thread plans: defaults, and keeping."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from cielo.bundle.layout import Bundle, default_bundle
from cielo.generation import plan as plans
from cielo.generation.plan import ThreadPlan, default_plan, load_plan, plan_file, plan_for, save_plan
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

TUNED = ThreadPlan(1, 2, 512, "greedy", "active", "tuned")


@pytest.fixture
def bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bundle:
    monkeypatch.setenv("CIELO_STATE", str(tmp_path))
    return Bundle.open(default_bundle())


def test_the_default_is_one_thread_for_each_batch_and_a_batch_for_each_core() -> None:
    plan = default_plan("cpu")
    assert (plan.threads, plan.replicas, plan.first_search) == (1, plans.usable_cores(), "beams")
    assert default_plan("cpu", 3).replicas == 3
    assert default_plan("cuda").replicas == 1


def test_a_kept_plan_is_used_unless_threads_are_named(bundle: Bundle) -> None:
    assert plan_for(bundle, "cpu", "int8").source == "default"
    save_plan(bundle, "cpu", "int8", TUNED, {"why": 1})
    assert plan_for(bundle, "cpu", "int8") == TUNED
    assert plan_for(bundle, "cpu", "float32").source == "default"
    assert plan_for(bundle, "cpu", "int8", threads=1) == ThreadPlan(1, source="given")


def test_a_plan_for_another_number_of_cores_is_not_used(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    save_plan(bundle, "cpu", "int8", TUNED, {})
    monkeypatch.setattr(plans, "usable_cores", lambda: 64)
    assert load_plan(bundle, "cpu", "int8") is None


@pytest.mark.parametrize(
    "content",
    [
        "", "[]", "{}", "null", '{"format": 1}', '{"format": 99, "plan": {"replicas": 1}}',
        '{"format": 1, "plan": {"replicas": 0}}', '{"format": 1, "plan": {"replicas": "2"}}',
        '{"format": 1, "plan": {"replicas": 1, "first_search": "other"}}', '{"format": 1, "plan": {"surprise": 1}}',
    ],
)  # fmt: skip
def test_a_damaged_file_is_told_and_not_used(bundle: Bundle, content: str) -> None:
    path = plan_file(bundle, "cpu", "int8")
    path.parent.mkdir(parents=True)
    path.write_text(content, encoding="utf-8")
    with pytest.warns(UserWarning, match="cielo tune"):
        assert plan_for(bundle, "cpu", "int8").source == "default"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=60))
def test_no_file_stops_the_linker(bundle: Bundle, content: bytes) -> None:
    path = plan_file(bundle, "cpu", "int8")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    with pytest.warns(UserWarning, match="cielo tune"):
        assert plan_for(bundle, "cpu", "int8").source == "default"


def test_what_is_kept_holds_the_figures(bundle: Bundle) -> None:
    path = save_plan(bundle, "cpu", "int8", TUNED, {"offline_ms": 1.5})
    assert json.loads(path.read_text(encoding="utf-8"))["measured"] == {"offline_ms": 1.5}


def test_cores_are_counted_within_the_affinity() -> None:
    assert 1 <= plans.usable_cores() <= len(os.sched_getaffinity(0))


def test_half_a_processor_is_one_core(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cielo.machine.granted_processors", lambda: 0.5)
    assert plans.usable_cores() == 1
