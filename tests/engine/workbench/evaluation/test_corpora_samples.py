"""The readers on samples of the real corpora, where ``CIELO_CORPORA`` names a folder that holds them.

The folder holds ``codiesp``, ``codiesp_sentences``, ``e3c``, ``ctebmsp`` and ``mantra``.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pytest
from cielo.text.prompt import prepare_sentence
from cielo.workbench.evaluation.corpora import MappedCode, detect_format, read_corpus, read_sentences
from cielo.workbench.evaluation.records import Corpus

FOLDER = os.environ.get("CIELO_CORPORA")
pytestmark = pytest.mark.skipif(not FOLDER, reason="CIELO_CORPORA names no folder of samples")


class Everything(dict[str, tuple[MappedCode, ...]]):
    """A map that gives each CUI itself as its code."""

    def get(self, cui: str, default: object = None) -> tuple[MappedCode, ...]:  # type: ignore[override]
        return (MappedCode(cui, "diagnosis"),)


def sample(name: str, code_map: Mapping[str, tuple[MappedCode, ...]] | None = None) -> tuple[Path, Corpus]:
    path = Path(FOLDER or "", name)
    if not path.is_dir():
        pytest.skip(f"there is no {name}")
    return path, read_corpus(path, code_map=Everything() if code_map is None else code_map)


def texts_of(corpus: Corpus, folder: Path) -> list[tuple[str, str]]:
    """Return each mention's text, and what stands at its spans."""
    texts = {one.document: Path(folder, f"{one.document}.txt").read_bytes().decode() for one in corpus.mentions}
    return [
        (one.mention.text, " ".join(texts[one.document][start:end] for start, end in one.spans))
        for one in corpus.mentions
    ]


def test_codiesp() -> None:
    path, corpus = sample("codiesp")
    lines = (path / "trainX.tsv").read_bytes().count(b"\n")
    assert detect_format(path) == "codiesp"
    assert len(corpus.mentions) == lines
    assert corpus.skipped == ()
    assert all(text == there for text, there in texts_of(corpus, path / "text_files"))
    assert any(len(one.spans) > 1 for one in corpus.mentions)
    documents = {document for document, _ in corpus.document_codes}
    assert {one.document for one in corpus.mentions} == documents
    # The codes of the documents are those of their mentions.
    for (document, kind), codes in corpus.document_codes.items():
        own = {one.codes[0] for one in corpus.mentions if (one.document, one.mention.kind) == (document, kind)}
        assert own == set(codes)


def test_our_sentences_are_the_paper_s_where_its_splitter_was_right() -> None:
    _, corpus = sample("codiesp")
    (file,) = sample_files("codiesp_sentences")
    theirs: dict[tuple[str | None, str, str], set[str]] = {}
    for one in read_sentences(file).mentions:
        key = (one.document, one.mention.text, one.codes[0].lower())
        theirs.setdefault(key, set()).add(squeezed(one.mention.sentence))
    same = [
        squeezed(one.mention.sentence) in theirs[key]
        for one in corpus.mentions
        if (key := (one.document, one.mention.text, one.codes[0])) in theirs
    ]
    # Theirs break decimals and abbreviations, and look for offsets of one text in another.
    assert len(same) > 200
    assert sum(same) / len(same) > 0.9


def sample_files(name: str) -> list[Path]:
    found = sorted(Path(FOLDER or "", name).glob("*.tsv"))
    if not found:
        pytest.skip(f"there is no {name}")
    return found


def squeezed(sentence: str | None) -> str:
    return "".join(prepare_sentence(sentence or "").split())


def test_the_sentence_files() -> None:
    for file in sample_files("codiesp_sentences"):
        corpus = read_corpus(file)
        assert len(corpus.mentions) == file.read_bytes().count(b"\n") - 1
        assert corpus.skipped == ()
        assert all(one.description and one.document and one.mention.sentence for one in corpus.mentions)
        assert not any('""' in str(one.mention.sentence) for one in corpus.mentions)
        assert {one.mention.kind for one in corpus.mentions} == {"diagnosis", "procedure"}


def test_e3c() -> None:
    path, corpus = sample("e3c")
    entities = sum(file.read_text(encoding="utf-8").count("<custom:CLINENTITY") for file in path.glob("*.xml"))
    assert len(corpus.mentions) + corpus.uncoded == entities
    assert 0 < corpus.uncoded < len(corpus.mentions)
    assert corpus.skipped == ()
    assert all(one.mention.text in str(one.mention.sentence) for one in corpus.mentions)
    assert all(one.mention.text == one.mention.text.strip() for one in corpus.mentions)
    assert sample("e3c", {})[1].uncoded == entities


@pytest.mark.parametrize("name", ["ctebmsp", "mantra"])
def test_brat(name: str) -> None:
    path, corpus = sample(name)
    notes = sum(file.read_text(encoding="utf-8").count("\tAnnotatorNotes ") for file in path.rglob("*.ann"))
    assert detect_format(path) == "brat"
    assert len(corpus.mentions) == notes
    assert corpus.skipped == ()
    assert all(text == there for text, there in texts_of(corpus, path))
    assert all(code.startswith("C") for one in corpus.mentions for code in one.codes)
    assert sample(name, {})[1].uncoded == notes
