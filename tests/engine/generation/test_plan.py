"""Thread plans: their defaults, and the backend that answers where nobody measured."""

from __future__ import annotations

import os

import pytest
from cielo.generation import plan as plans
from cielo.generation.backends import BACKENDS, preferred
from cielo.generation.plan import USES, Use, batch_on_all_cores, batch_on_each_core


def test_one_thread_for_each_batch_and_a_batch_for_each_core() -> None:
    plan = batch_on_each_core("cpu")
    assert (plan.threads, plan.replicas, plan.first_search) == (1, plans.usable_cores(), "beams")
    assert batch_on_each_core("cpu", 3).replicas == 3
    assert batch_on_each_core("cuda").replicas == 1


@pytest.mark.parametrize("cores", [1, 2, 8, 64])
def test_one_batch_on_all_cores(monkeypatch: pytest.MonkeyPatch, cores: int) -> None:
    monkeypatch.setattr(plans, "usable_cores", lambda: cores)
    plan = batch_on_all_cores("cpu")
    assert (plan.replicas, plan.threads, plan.wait_policy, plan.source) == (1, cores, "passive", "default")
    assert batch_on_all_cores("cpu", 3) == plans.ThreadPlan(1, 3, source="given")
    assert batch_on_all_cores("cuda") == batch_on_each_core("cuda")


@pytest.mark.parametrize("name", BACKENDS)
def test_a_backend_s_default_uses_every_core_once(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    for cores in (1, 2, 3, 8, 64):
        monkeypatch.setattr(plans, "usable_cores", lambda cores=cores: cores)
        for use in USES:
            plan = BACKENDS[name].default_plan("cpu", use=use)
            assert plan.replicas * plan.threads == cores
            assert (plan.wait_policy, plan.source) == ("passive", "default")
            given = BACKENDS[name].default_plan("cpu", 3, use=use)
            assert (given.replicas * given.threads, given.source) == (3, "given")


@pytest.mark.parametrize(
    ("names", "device", "use", "first"),
    [
        (["ctranslate2", "onnx"], "cpu", "single", "onnx"),
        (["onnx", "ctranslate2"], "cpu", "single", "onnx"),
        (["ctranslate2", "onnx"], "cpu", "bulk", "ctranslate2"),
        (["onnx", "ctranslate2"], "cpu", "bulk", "onnx"),
        (["ctranslate2", "onnx"], "cuda", "single", "ctranslate2"),
        (["ctranslate2"], "cpu", "single", "ctranslate2"),
        (["toy", "ctranslate2"], "cpu", "single", "toy"),
    ],
)
def test_the_stated_rule(names: list[str], device: str, use: Use, first: str) -> None:
    assert preferred(names, device, use) == first


def test_cores_are_counted_within_the_affinity() -> None:
    assert 1 <= plans.usable_cores() <= len(os.sched_getaffinity(0))


def test_half_a_processor_is_one_core(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cielo.machine.granted_processors", lambda: 0.5)
    assert plans.usable_cores() == 1
