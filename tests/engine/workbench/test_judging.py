"""What counts as slow, of machines that are not this one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from cielo.generation.plan import ThreadPlan
from cielo.workbench.bench.system import System
from cielo.workbench.doctor.judging import judge
from cielo.workbench.doctor.records import (
    BackendFacts,
    BundleFacts,
    MemoryFacts,
    ParityFacts,
    PlanFacts,
    Report,
    StateFacts,
)

MACHINE = System(
    processor="A processor", machine_key="0" * 16, architecture="x86_64", cores=4, processors=4, processors_in_all=8,
    processors_granted=None, gpus=(), instruction_sets=("avx2", "avx512_vnni"), memory=16_000_000_000, load=0.5,
    kernel="Linux", libc=None, libraries={}, environment={},
)  # fmt: skip
BUNDLE = BundleFacts(
    name="b", sha256="0" * 64, path="/some where", files=1, size=10, models=2_000_000_000, intact=True,
    licence="CC0-1.0", edition="", codes={}, decoding="probable", calibrated=("probable",),
)  # fmt: skip
PLAN = PlanFacts("bulk", "onnx", "cpu", "int8", ThreadPlan(1, 4, source="tuned"), 2.0, outdated=False)
# A machine on which nothing is slow.
WELL = Report(
    bundle=BUNDLE,
    backends=(BackendFacts("onnx", "int8", {"cpu": ("int8",)}),),
    parity=(ParityFacts("onnx/cpu/int8", True, 1, 1, "A processor", here=True),),
    plans=(PLAN,),
    machine=MACHINE,
    memory=MemoryFacts(16_000_000_000, 8_000_000_000, None),
    state=StateFacts("/state", writable=True),
    cache=None,
    extras=(),
    telemetry=False,
)


def told(report: Report) -> list[str]:
    return [f"{entry.severity}: {entry.what} | {entry.remedy}" for entry in judge(report)]


def machine(**changed: Any) -> Report:
    return replace(WELL, machine=replace(MACHINE, **changed))


def test_where_all_is_well_nothing_is_said() -> None:
    assert told(WELL) == []


@pytest.mark.parametrize(
    ("report", "words"),
    [
        (replace(WELL, plans=(replace(PLAN, plan=ThreadPlan(1, 4)),)), ["nobody measured", "cielo tune '/some where'"]),
        (
            replace(WELL, plans=(replace(PLAN, plan=ThreadPlan(1, 4), outdated=True),)),
            ["other processors", "cielo tune"],
        ),
        (machine(processors_granted=2.5), ["4 threads, and the control group grants the time of 2.5", "--threads 2"]),
        (machine(processors=2), ["4 threads, for 2 processors", "--threads 4"]),
        (machine(instruction_sets=("avx2",)), ["no VNNI", "onnx/cpu/int8", "cielo bench"]),
        (machine(instruction_sets=("avx", "avx_vnni")), ["no AVX2"]),
        (machine(load=9.0), ["9.0 processes wanted to run on 4 processors"]),
        (machine(gpus=("A card",)), ["A card is not used", "no backend of this bundle finds it"]),
        (
            replace(machine(gpus=("A card",)), backends=(BackendFacts("onnx", "int8", {"cpu": (), "cuda": ()}),)),
            ["parity of onnx was not shown", "--parity --device cuda"],
        ),
        (replace(WELL, memory=MemoryFacts(16, 1_000_000_000, None)), ["2.0 GB", "1.0 GB"]),
        (replace(WELL, memory=MemoryFacts(16, 8_000_000_000, 500_000_000)), ["0.5 GB"]),
        (replace(WELL, state=StateFacts("/state", writable=False)), ["/state", "CIELO_STATE"]),
        (replace(WELL, state=StateFacts(None, writable=False)), ["no home", "CIELO_STATE"]),
    ],
)
def test_what_is_slow_comes_with_what_mends_it(report: Report, words: list[str]) -> None:
    (line,) = told(report)
    assert line.startswith("slow: ")
    assert all(word in line for word in words), line


def test_half_a_processor_is_too_little_for_one_thread() -> None:
    (line,) = told(replace(machine(processors_granted=0.5), plans=(replace(PLAN, plan=ThreadPlan(1, source="tuned")),)))
    assert "1 thread, and the control group grants the time of 0.5" in line
    assert "--threads" not in line.partition("|")[2]


@pytest.mark.parametrize(
    ("report", "words"),
    [
        (
            replace(WELL, parity=()),
            ["another kind of processor", "--parity --backend onnx --device cpu --compute-type int8"],
        ),
        (replace(WELL, bundle=replace(BUNDLE, calibrated=("greedy",))), ["no confidence", "cielo calibrate"]),
    ],
)
def test_what_is_better_known_is_a_note(report: Report, words: list[str]) -> None:
    (line,) = told(report)
    assert line.startswith("note: ")
    assert all(word in line for word in words), line


@pytest.mark.parametrize(
    "report",
    [
        machine(instruction_sets=()),  # nobody knows
        machine(instruction_sets=("asimd", "asimddp"), architecture="aarch64"),
        machine(processors_granted=4.0),
        machine(load=None),
        replace(machine(instruction_sets=("avx2",)), plans=(replace(PLAN, compute_type="float32"),), parity=(
            ParityFacts("onnx/cpu/float32", True, 1, 1, None, here=True),
        )),
        replace(WELL, memory=MemoryFacts(None, None, None)),
        replace(WELL, bundle=None, plans=(), parity=()),
    ],
)  # fmt: skip
def test_what_is_well_or_unknown_is_not_slow(report: Report) -> None:
    assert told(report) == []
