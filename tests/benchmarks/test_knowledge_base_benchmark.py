from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from cielo.knowledge.reading import KnowledgeBase
from click.testing import CliRunner

from benchmarks import knowledge_base
from benchmarks.terminology import write_terminology

ROWS = 600


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    work = tmp_path_factory.mktemp("base")
    path = work / "knowledge_base.sqlite"
    built = knowledge_base.build(path, write_terminology(work / "tables", ROWS))
    assert sum(built["concepts"].values()) == built["descriptions"] == ROWS
    assert (built["rejected"], built["bytes"]) == (0, path.stat().st_size)
    return path


def descriptions(base: KnowledgeBase) -> list[str]:
    return [text for kind in base.kinds for text in base.descriptions(kind)]


def test_the_texts_are_matched_as_their_names_say(path: Path) -> None:
    base = KnowledgeBase(path)
    known = descriptions(base)
    asked = knowledge_base.texts(known, 50)
    assert {name: len(texts) for name, texts in asked.items()} == {"exact": 50, "normal form": 50, "unknown": 50}
    assert asked == knowledge_base.texts(known, 50)
    assert {concept.match for text in asked["exact"] for concept in base.match(text)[:1]} == {"literal"}
    assert {concept.match for text in asked["normal form"] for concept in base.match(text)} == {"normal"}
    assert all(base.match(text) for text in (*asked["exact"], *asked["normal form"]))
    assert not any(base.match(text) for text in asked["unknown"])
    base.close()


def test_the_words_are_found(path: Path) -> None:
    base = KnowledgeBase(path)
    for asked in knowledge_base.searches(descriptions(base), 30).values():
        assert len(asked) == 30
        assert all(base.search(text).found for text in asked)
    assert base.search(knowledge_base.UNKNOWN).total == 0
    base.close()


def test_an_opening_answers(path: Path) -> None:
    base = KnowledgeBase(path)
    text = descriptions(base)[0]
    base.close()
    once = knowledge_base.open_once(path, text)
    assert all(
        0 < opened <= answered for opened, answered in zip(once["opened"][:1], once["answered"][:1], strict=True)
    )
    with pytest.raises(RuntimeError, match="not found"):
        knowledge_base.open_once(path, f"{text} {knowledge_base.UNKNOWN}")


def test_a_summary_is_in_milliseconds() -> None:
    times = [(number / 1000, number / 2000) for number in range(1, 101)]
    assert knowledge_base.summary(times) == {
        "median_ms": pytest.approx(50.5), "p95_ms": pytest.approx(96), "processor_median_ms": pytest.approx(25.25),
    }  # fmt: skip
    assert knowledge_base.summary([(0.002, 0.001)])["p95_ms"] == 2


def test_times_of_wrong_answers_are_refused() -> None:
    right = {"exact": {"texts": 3, "answered": 3}, "unknown": {"texts": 3, "answered": 0}}
    knowledge_base.require(right, {"one word": {"texts": 2, "answered": 2}})
    wrongs: list[tuple[dict[str, Any], dict[str, Any]]] = [
        ({"exact": {"texts": 3, "answered": 2}}, {}),
        ({"unknown": {"texts": 3, "answered": 1}}, {}),
        (right, {"one word": {"texts": 2, "answered": 0}}),
    ]
    for matched, words in wrongs:
        with pytest.raises(RuntimeError, match="texts were answered"):
            knowledge_base.require(matched, words)


def test_the_command_writes_every_figure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENINGS", "TEXTS", "SEARCHES"):
        monkeypatch.setattr(knowledge_base, name, 2)
    output, work = tmp_path / "found.json", tmp_path / "work"
    work.mkdir()
    command = ["--rows", "200", "--work", str(work), "--json", str(output)]
    done = CliRunner().invoke(knowledge_base.main, command, catch_exceptions=False)
    assert done.exit_code == 0
    found = json.loads(output.read_text(encoding="utf-8"))
    assert found["settings"]["rows"] == found["build"]["descriptions"] == 200
    assert {"processor", "memory", "libraries", "load"} <= set(found["system"])
    assert found["sqlite"]
    assert [found[f"open_in_{where}_process"]["rounds"] for where in ("a_fresh", "the_same")] == [2, 2]
    assert [row["answered"] for row in found["match"].values()] == [2, 2, 0]
    assert [row["answered"] for row in found["search"].values()] == [2, 2, 2]
    assert len(done.stdout.splitlines()) == 2 + 1 + 2 + 3 + 3
    assert list(work.iterdir()) == []
