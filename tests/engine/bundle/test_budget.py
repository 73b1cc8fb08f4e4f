"""Sizes, and a linker that stays within a budget."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

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
import json, sys
from pathlib import Path
from cielo.link.linker import Linker
from cielo.machine import bytes_in
from cielo.generation.plan import ThreadPlan
from cielo.records import Mention
budget = int(sys.argv[1]) or None
words = "dolor de garganta con fiebre y tos seca desde hace tres días".split()
mentions = [Mention(f"{words[n % 12]} {n}", " ".join(words[: n % 12]) * (1 + n % 40)) for n in range(600)]
plan = ThreadPlan(2, batch_tokens=1_000_000)
with Linker.open(device="cpu", plan=plan, memory=budget, cache=False) as linker:
    links = linker.link(mentions)
peak = bytes_in(Path("/proc/self/status"), "VmHWM")  # getrusage would count the process that this one came from
print(json.dumps({"peak": peak, "codes": [link.code for link in links]}))
"""


def work(budget: int) -> dict[str, object]:
    done = subprocess.run(
        [sys.executable, "-c", WORK, str(budget)], capture_output=True, text=True, check=True, env={**os.environ}
    )
    return dict(json.loads(done.stdout))


@pytest.mark.skipif(resident_bytes() is None, reason="no /proc")
def test_a_budget_holds_and_changes_no_code() -> None:
    free, kept = work(0), work(BUDGET)
    assert kept["peak"] <= BUDGET < free["peak"]  # type: ignore[operator]
    assert kept["codes"] == free["codes"]


def test_the_command_takes_a_budget(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "cielo.cli", "link", "TC abdominal", "--json", "--memory"]
    good = subprocess.run([*command, "1GB"], capture_output=True, text=True, check=False)
    assert json.loads(good.stdout)["code"] == "BW20"
    bad = subprocess.run([*command, "some"], capture_output=True, text=True, check=False)
    assert (bad.returncode, "such as 3GB" in bad.stderr) == (2, True)
    small = subprocess.run([*command, "20MB"], capture_output=True, text=True, check=False)
    assert (small.returncode, "give at least" in small.stderr) == (1, True)
    assert Mention("TC abdominal").text not in small.stderr
