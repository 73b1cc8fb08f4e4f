"""Thread plans: their defaults."""

from __future__ import annotations

import os

import pytest
from cielo.generation import plan as plans
from cielo.generation.plan import default_plan


def test_the_default_is_one_thread_for_each_batch_and_a_batch_for_each_core() -> None:
    plan = default_plan("cpu")
    assert (plan.threads, plan.replicas, plan.first_search) == (1, plans.usable_cores(), "beams")
    assert default_plan("cpu", 3).replicas == 3
    assert default_plan("cuda").replicas == 1


def test_cores_are_counted_within_the_affinity() -> None:
    assert 1 <= plans.usable_cores() <= len(os.sched_getaffinity(0))


def test_half_a_processor_is_one_core(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cielo.machine.granted_processors", lambda: 0.5)
    assert plans.usable_cores() == 1
