"""Words for kinds: those of Spanish files and of the shared tasks."""

from __future__ import annotations

import pytest
from cielo.errors import MentionError
from cielo.records import Mention
from cielo.text.kinds import kind_of, named_kind


@pytest.mark.parametrize(
    ("word", "kind"),
    [
        ("diagnosis", "diagnosis"), ("DIAGNOSTICO", "diagnosis"), ("Diagnóstico", "diagnosis"), ("D", "diagnosis"),
        ("Dx", "diagnosis"), ("ENFERMEDAD", "diagnosis"), ("SINTOMA", "diagnosis"), ("PROCEDIMIENTO", "procedure"),
        ("procedimientos", "procedure"), ("p", "procedure"), ("Proc.", "procedure"), ("fármaco", None), ("", None),
    ],
)  # fmt: skip
def test_a_word_means_a_kind(word: str, kind: str | None) -> None:
    assert kind_of(word) == kind


def test_a_knowledge_base_names_its_own_kinds() -> None:
    assert kind_of("Diagnóstico", ("D", "P")) == "D"
    assert kind_of("d", ("d", "diagnosis")) == "d"  # as it is written
    assert kind_of("morfología", ("Morfologia", "topografia")) == "Morfologia"
    assert kind_of("D", ("diagnosis", "diagnostico")) is None  # two could be meant


def test_a_mention_is_named_or_refused_without_its_words() -> None:
    assert named_kind(Mention("tos", kind="DIAGNOSTICO"), ("diagnosis", "procedure")).kind == "diagnosis"
    assert named_kind(Mention("tos"), ("diagnosis",)).kind is None
    with pytest.raises(MentionError, match="expected diagnosis, or none") as caught:
        named_kind(Mention("tos", kind="Zutanito"), ("diagnosis",))
    assert "Zutanito" not in str(caught.value)
