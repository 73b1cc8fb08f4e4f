"""The page and the table of a benchmark in Spanish."""

from __future__ import annotations

import io
from dataclasses import fields, replace

import pytest
from bench_fakes import FakeLinker, FakeTime
from cielo.generation.plan import ThreadPlan
from cielo.text.language import catalogue, speaking
from cielo.workbench.bench.circumstances import PLAN
from cielo.workbench.bench.page import to_html
from cielo.workbench.bench.report import show
from cielo.workbench.bench.results import BenchResult
from page_reading import english_left, points_left, read, refers_to_nothing
from rich.console import Console
from test_bench_report import make_result


def shown(result: BenchResult) -> BenchResult:
    """Return a result with all that a page can warn of, on a machine whose names hold no numbers with points."""
    system = replace(
        result.system, processor="CPU", kernel="Linux", libc=None, libraries={}, load=900.0, processors=2,
        processors_granted=1.5, gpus=("NVIDIA",), environment={},
    )  # fmt: skip
    scenarios = tuple(replace(one, cached=3) for one in result.scenarios)
    workload = replace(result.workload, name="default")
    return replace(result, cielo="main", system=system, scenarios=scenarios, workload=workload)


@pytest.mark.parametrize("rate", [None, 50.0])
def test_nothing_that_cielo_says_is_left_in_english(rate: float | None) -> None:
    linker = FakeLinker(FakeTime(), lambda mentions: 0.01 + (0.11 if rate else 0.01) * mentions)
    result = shown(make_result(linker, rate=rate, seconds=2.0))
    before = to_html(result)
    with speaking("es"):
        page = to_html(result)
    assert '<html lang="es">' in page
    refers_to_nothing(page)
    assert english_left(page) == []
    assert points_left(page) == []
    assert len(english_left(before)) > 50
    assert to_html(result) == before
    for tag in ("h2", "h3", "table", "td", "dt", "svg", "circle"):
        assert read(page).tags.count(tag) == read(before).tags.count(tag)


def test_the_table_of_the_terminal_is_spanish() -> None:
    stream = io.StringIO()
    with speaking("es"):
        show(make_result(FakeLinker(FakeTime()), rate=50.0, seconds=2.0), Console(file=stream, width=200))
    for words in ("escenario", "consultas", "máx. ms", "menciones/s", "sin respuesta", "8,00", "single-stream"):
        assert words in stream.getvalue()


def test_every_part_of_a_plan_has_a_name() -> None:
    assert {field.name.replace("_", " ") for field in fields(ThreadPlan)} == set(PLAN) <= set(catalogue()["sentences"])
