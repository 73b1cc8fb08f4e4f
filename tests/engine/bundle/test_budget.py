"""Sizes, and a linker that stays within a budget."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cielo.bundle import budget as memory
from cielo.errors import DeviceError
from cielo.link.linker import Linker
from cielo.machine import parse_size, resident_bytes
from cielo.records import Mention
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("text", "expected"),
    [("3GB", 3_000_000_000), ("2.5 GiB", 2_684_354_560), ("800mb", 800_000_000), ("1g", 10**9), ("12", 12), ("7B", 7)],
)
def test_sizes(text: str, expected: int) -> None:
    assert parse_size(text) == expected


@given(st.text(max_size=12))
def test_what_is_no_size_is_refused(text: str) -> None:
    try:
        assert parse_size(text) >= 0
    except ValueError as error:
        assert "such as 3GB" in str(error)


def test_a_budget_that_the_models_alone_exceed_is_refused() -> None:
    with pytest.raises(DeviceError, match="give at least"):
        Linker.open(device="cpu", memory=10_000_000)


def test_where_the_system_tells_nothing_a_budget_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "resident_bytes", lambda: None)
    with pytest.raises(DeviceError, match="does not tell"):
        Linker.open(device="cpu", memory=10**12)


BUDGET = 260_000_000
WORK = """
import gc, json, sys, threading
from pathlib import Path
from cielo.link.linker import Linker
from cielo.machine import bytes_in
from cielo.generation.plan import ThreadPlan
from cielo.options import LinkOptions
from cielo.records import Mention
budget, case = int(sys.argv[1]) or None, sys.argv[2]
words = "dolor de garganta con fiebre y tos seca desde hace tres días".split()

def mentions(count, first=0, times=1):
    numbers = range(first, first + count)
    return [Mention(f"{words[n % 12]} {n} " * times, " ".join(words[: n % 12]) * (1 + n % 40)) for n in numbers]

def held(found):
    # The bytes of what the caller keeps.
    seen, waiting, total = set(), [found], 0
    while waiting:
        one = waiting.pop()
        if id(one) not in seen:
            seen.add(id(one))
            total += sys.getsizeof(one)
            waiting += gc.get_referents(one) if not isinstance(one, type) else []
    return total

RERANKED = LinkOptions(rerank=True, decoding="probable", top_k=20)
PUBLISHED = LinkOptions(matching="published", decoding="published", neighbours="always", top_k=20)

def in_threads(linker):
    def work(first):
        options = (RERANKED, PUBLISHED, None, LinkOptions(neighbours="always"))[first % 4]
        linker.link(mentions(12, 100 * first, times=60), options)
    threads = [threading.Thread(target=work, args=(first,)) for first in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return []

CASES = {
    "plain": lambda linker: linker.link(mentions(300) + mentions(40, 300, times=60)),
    "rerank": lambda linker: linker.link(mentions(40, times=60), RERANKED),
    "published": lambda linker: linker.link(mentions(600), PUBLISHED),
    "one big call": lambda linker: linker.link(mentions(20_000, 0)[::9]),
    "threads": in_threads,
    "long": lambda linker: linker.link([Mention("tos " * 5_000_000, "x"), Mention("tos", "fiebre, " * 2_500_000)]),
}
plan = ThreadPlan(2, batch_tokens=1_000_000)
with Linker.open(device="cpu", plan=plan, memory=budget) as linker:
    links = CASES[case](linker)
peak = bytes_in(Path("/proc/self/status"), "VmHWM")  # getrusage would count the process that this one came from
print(json.dumps({"peak": peak, "kept": held(links), "codes": [link.code for link in links]}))
"""
SHORT, LONG = ("rerank", "published", "long"), ("one big call", "threads")


def work(budget: int, case: str) -> dict[str, Any]:
    command = [sys.executable, "-c", WORK, str(budget), case]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ})
    return dict(json.loads(done.stdout))


needs_proc = pytest.mark.skipif(resident_bytes() is None, reason="no /proc")


@needs_proc
def test_a_budget_holds_and_changes_no_code() -> None:
    free, kept = work(0, "plain"), work(BUDGET, "plain")
    assert kept["peak"] <= BUDGET < free["peak"]
    assert kept["codes"] == free["codes"]


@needs_proc
@pytest.mark.parametrize("case", [*SHORT, *(pytest.param(case, marks=pytest.mark.slow) for case in LONG)])
def test_a_budget_holds_for_all_kinds_of_work(case: str) -> None:
    done = work(BUDGET, case)
    # What the caller keeps, its mentions of 20 MB and its links, is the caller's.
    own = 40_000_000 if case == "long" else done["kept"]
    assert done["peak"] - own <= BUDGET, f"{case}: {done['peak']:,} bytes, of which {own:,} are the caller's"


def test_the_command_takes_a_budget(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "cielo.cli", "link", "TC abdominal", "--json", "--memory"]
    good = subprocess.run([*command, "1GB"], capture_output=True, text=True, check=False)
    assert json.loads(good.stdout)["code"] == "BW20"
    bad = subprocess.run([*command, "some"], capture_output=True, text=True, check=False)
    assert (bad.returncode, "such as 3GB" in bad.stderr) == (2, True)
    small = subprocess.run([*command, "20MB"], capture_output=True, text=True, check=False)
    assert (small.returncode, "give at least" in small.stderr) == (1, True)
    assert Mention("TC abdominal").text not in small.stderr
