"""Licences: what they ask for in plain words, and that they are accepted once, each for what it is of."""

from __future__ import annotations

from pathlib import Path

import pytest
from cielo.licences import Licence, accept, not_accepted


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("CC BY-NC 4.0", "You may not use it, or what is made of it, commercially"),
        ("cc-by-nc-4.0", "You may not use it, or what is made of it, commercially"),
        ("cc-by-4.0", "You may use it for anything; name its authors"),
        ("apache-2.0", "keep its notices"),
        ("other", "Read it"),
        (None, "state no licence"),
    ],
)
def test_plain_words(name: str | None, expected: str) -> None:
    assert expected in Licence("x", name, "https://example.org").plain


def test_each_is_accepted_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CIELO_STATE", str(tmp_path / "state"))
    first, other = Licence("a", "mit", "p"), Licence("b", "mit", "p")
    assert not_accepted([first, other]) == [first, other]
    accept([first])
    assert not_accepted([first, other]) == [other]
    assert not_accepted([Licence("a", "cc-by-nc-4.0", "p")]) != []
    (tmp_path / "state" / "licences.json").write_text("{")
    assert not_accepted([first]) == [first]


def test_a_state_that_cannot_be_written_asks_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "state").write_text("")
    monkeypatch.setenv("CIELO_STATE", str(tmp_path / "state"))
    licence = Licence("a", "mit", "p")
    accept([licence])
    assert not_accepted([licence]) == [licence]
