"""The references: what they hold, that they are right by another way of counting, and how their process fails."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from cielo.bundle.layout import Layout
from cielo.errors import ParityError
from cielo.parity.texts import parity_texts
from cielo.records import Decoding
from cielo_convert import reference
from cielo_convert.checkpoint import load_generator, load_tokenizer
from cielo_convert.generator import output_ids
from cielo_convert.prompts import hostile_strings, parity_prompts
from cielo_convert.reference import ReferenceRequest, make_references

from tests.checkpoints import descriptions

_PROMPTS = parity_prompts(None, 12, prepare=True, window=60)


def _request(generator: Path, encoder: Path, **changes: Any) -> ReferenceRequest:
    return ReferenceRequest(
        generator, encoder, _PROMPTS, hostile_strings(descriptions()), parity_texts(descriptions()), descriptions(),
        max_tokens=32, threads=1, **changes,
    )  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, generator: Path, encoder: Path) -> Iterator[dict[str, Any]]:
    output = tmp_path_factory.mktemp("references")
    steps: list[tuple[str, int, int]] = []
    layout = Layout(output)
    make_references(_request(generator, encoder), layout, lambda *step: steps.append(step))
    with np.load(layout.reference_vectors) as arrays:
        yield {**json.loads(layout.references.read_text(encoding="utf-8")), "steps": steps, **arrays}


def test_what_they_hold(made: dict[str, Any], generator: Path, encoder: Path) -> None:
    assert made["format"] == 1
    assert made["prompts"] == _PROMPTS
    assert made["prompt_ids"] == load_tokenizer(generator)(_PROMPTS)["input_ids"]
    assert all(ids[-1] == 1 for ids in made["prompt_ids"])
    assert len(made["strings"]) == len(made["generator_string_ids"]) == len(made["encoder_string_ids"]) >= 2000
    assert made["encoder_string_ids"][40] == load_tokenizer(encoder)(made["strings"][40])["input_ids"]
    assert made["vectors"].shape == (len(made["texts"]), 32)
    np.testing.assert_allclose(np.linalg.norm(made["vectors"], axis=1), 1, atol=1e-5)
    for search in ("published", "probable"):
        assert [len(row) for row in made["searches"][search]] == [5] * len(_PROMPTS)
    assert len({row[0]["text"] for row in made["searches"]["probable"]}) > 3
    for target, scores in zip(made["targets"], made["target_log_probs"], strict=True):
        assert len(scores) == len(target) + 1


def test_the_progress_is_told(made: dict[str, Any]) -> None:
    last = {step: (done, total) for step, done, total in made["steps"]}
    assert set(last) == {"vectors", "search (published)", "search (probable)", "scores"}
    assert all(done == total for done, total in last.values())


@pytest.mark.parametrize("decoding", ["published", "probable"])
@pytest.mark.parametrize("restricted", [False, True])
def test_log_probs_of_hypotheses_agree_with_teacher_forcing(
    generator: Path, monkeypatch: pytest.MonkeyPatch, decoding: Decoding, restricted: bool
) -> None:
    monkeypatch.setattr(reference, "_report", lambda *step: None)
    tokenizer, model = load_tokenizer(generator), load_generator(generator)
    kept = output_ids(tokenizer, descriptions())
    if restricted:
        reference.restrict_outputs(model, kept)
    ids = tokenizer(_PROMPTS)["input_ids"]
    monkeypatch.setattr(tokenizer, "decode", lambda tokens, **settings: tokens)
    with torch.inference_mode():
        found = reference.search(model, tokenizer, ids, decoding)
        checked = 0
        for prompt, rows in zip(ids, found, strict=True):
            ended = [row.hypothesis for row in rows if row.hypothesis.text[-1] == 1]
            forced = reference.log_probs(model, [prompt] * len(ended), [row.text[:-1] for row in ended])
            np.testing.assert_allclose([row.log_prob for row in ended], [sum(row) for row in forced], atol=1e-3)
            checked += len(ended)
            assert not restricted or {token for row in rows for token in row.hypothesis.text} <= set(kept)
    assert checked > len(ids)


def test_a_batch_does_not_matter(generator: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reference, "_report", lambda *step: None)
    tokenizer, model = load_tokenizer(generator), load_generator(generator)
    ids = tokenizer(_PROMPTS[:6])["input_ids"]
    with torch.inference_mode():
        together = reference.search(model, tokenizer, ids, "published")
        for prompt, rows in zip(ids, together, strict=True):
            (alone,) = reference.search(model, tokenizer, [prompt], "published")
            assert [row.hypothesis.text for row in alone] == [row.hypothesis.text for row in rows]
            np.testing.assert_allclose(
                [row.hypothesis.score for row in alone], [row.hypothesis.score for row in rows], atol=1e-5
            )


def test_a_failure_is_told_without_the_prompts(tmp_path: Path, encoder: Path) -> None:
    with pytest.raises(ParityError) as caught:
        make_references(_request(tmp_path / "nothing", encoder), Layout(tmp_path / "out"))
    assert "nothing" in str(caught.value) and "tokenizer" in str(caught.value)
    assert _PROMPTS[0] not in str(caught.value)


def test_other_errors_lose_their_message(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    request = tmp_path / "request.json"
    request.write_text('{"dolor secreto": 1}', encoding="utf-8")
    assert reference.main([str(request), str(tmp_path)]) == 1
    said = capsys.readouterr().err
    assert "prompts is missing" in said and "secreto" not in said


def test_a_killed_process_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, generator: Path) -> None:
    monkeypatch.setattr(reference.sys, "executable", str(_suicide(tmp_path)))
    with pytest.raises(ParityError, match="want of memory"):
        make_references(_request(generator, generator), Layout(tmp_path / "out"))


def _suicide(folder: Path) -> Path:
    script = folder / "suicide"
    script.write_text("#!/bin/sh\nkill -9 $$\n", encoding="utf-8")
    os.chmod(script, 0o755)  # noqa: PTH101
    return script
