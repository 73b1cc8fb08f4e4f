from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cielo import BundleError, Linker

TEXT = "La TC abdominal es normal. Refiere tos seca."


@pytest.fixture
def nlp() -> Any:
    spacy = pytest.importorskip("spacy")
    importlib.import_module("cielo.integrations.spacy")  # what the entry point does

    nlp = spacy.blank("es")
    ruler = nlp.add_pipe("entity_ruler")
    ruler.add_patterns([{"label": "PROC", "pattern": "TC abdominal"}, {"label": "DIAG", "pattern": "tos"}])
    nlp.add_pipe("cielo", config={"kinds": {"PROC": "procedure"}})
    return nlp


@pytest.mark.integrations
def test_entities_get_codes_and_candidates(nlp: Any, linker: Linker) -> None:
    doc = nlp(TEXT)
    assert [(entity.text, entity.label_, entity.kb_id_) for entity in doc.ents] == [
        ("TC abdominal", "PROC", "BW20"), ("tos", "DIAG", "R05"),
    ]  # fmt: skip
    (code, score), *_ = doc.ents[0]._.kb_ents
    expected = linker.link_document(TEXT, [(3, 15)], kinds=["procedure"])[0].link
    assert code == "BW20" and expected is not None and score == pytest.approx(expected.probability)


@pytest.mark.integrations
def test_a_stream_is_linked_in_batches_and_in_order(nlp: Any) -> None:
    texts = [TEXT, "Nada.", "", "Refiere tos."] * 3
    docs = list(nlp.pipe(texts, batch_size=5))
    assert [doc.text for doc in docs] == texts
    assert [[entity.kb_id_ for entity in doc.ents] for doc in docs] == [["BW20", "R05"], [], [], ["R05"]] * 3


@pytest.mark.integrations
def test_a_saved_pipeline_holds_the_hash_and_no_weights(nlp: Any, tmp_path: Path) -> None:
    import spacy

    nlp.to_disk(tmp_path / "pipeline")
    assert [file.name for file in (tmp_path / "pipeline" / "cielo").iterdir()] == ["bundle.json"]
    assert sum(file.stat().st_size for file in (tmp_path / "pipeline" / "cielo").iterdir()) < 200
    loaded = spacy.load(tmp_path / "pipeline")
    assert [entity.kb_id_ for entity in loaded(TEXT).ents] == ["BW20", "R05"]
    assert spacy.blank("es").from_bytes(spacy.blank("es").to_bytes())
    (tmp_path / "pipeline" / "cielo" / "bundle.json").write_text('{"name": "other", "sha256": "00"}')
    with pytest.raises(BundleError, match="other@00"):
        spacy.load(tmp_path / "pipeline")


def test_without_spacy_the_extra_is_named() -> None:
    source = "import sys; sys.modules['spacy'] = None; "
    source += "from cielo.integrations.spacy import make_pipe; make_pipe(None, 'cielo', None, None, 5, None)"
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=False)
    assert done.returncode and "pip install 'cielo[spacy]'" in done.stderr
