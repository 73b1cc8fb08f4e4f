"""Turns at the models: one caller at a time, for a few mentions."""

from __future__ import annotations

import threading

import pytest
from cielo.bundle import turns as module
from cielo.bundle.turns import Turns
from hypothesis import given
from hypothesis import strategies as st


@given(st.integers(0, 700), st.integers(1, 100))
def test_the_parts_make_the_batch_and_are_small(count: int, candidates: int) -> None:
    parts = list(Turns(0).parts(range(count), candidates))
    assert [row for part in parts for row in part] == list(range(count))
    assert all(len(part) <= 256 and len(part) * candidates <= 4096 for part in parts)


@pytest.mark.usefixtures("every_processor")
def test_one_caller_has_the_turn_and_memory_goes_back_after_it(monkeypatch: pytest.MonkeyPatch) -> None:
    given_back: list[int] = []
    monkeypatch.setattr(module, "give_back_memory", lambda: given_back.append(len(at_work)))
    turns, at_work, most = Turns(0), set[int](), 0

    def work(number: int) -> None:
        nonlocal most
        for _ in range(50):
            with turns.taken():
                at_work.add(number)
                most = max(most, len(at_work))
                at_work.remove(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (most, len(given_back), set(given_back)) == (1, 400, {0})


def test_a_turn_that_fails_is_over() -> None:
    turns = Turns(0)
    with pytest.raises(RuntimeError, match="broken"), turns.taken():
        raise RuntimeError("broken")
    with turns.taken():
        pass
