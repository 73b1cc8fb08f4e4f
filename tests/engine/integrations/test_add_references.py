from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from cielo import DocumentLink, Linker, OptionError
from cielo.integrations.brat import add_references
from hypothesis import given, settings
from hypothesis import strategies as st

TEXT = "La TC abdominal es normal. Refiere tos seca."
ANN = "T1\tPROC 3 15\tTC abdominal\nT2\tDIAG 35 38\ttos\n#1\tAnnotatorNotes T1\tvisto\nN7\tReference T1 UMLS:C1\tx\n"


def test_codes_are_written_back_beside_all_that_stood_there(linker: Linker) -> None:
    found = add_references(ANN, TEXT, linker)
    assert found.annotations.startswith(ANN)
    first, second = found.annotations.removeprefix(ANN).splitlines()
    assert first.startswith("N8\tReference T1 CIE10ES:BW20\ttomografía")
    assert second.startswith("N9\tReference T2 CIE10ES:R05\t")
    assert found.problems == ()


def test_a_second_run_replaces_what_the_first_wrote(linker: Linker) -> None:
    once = add_references(ANN, TEXT, linker).annotations
    assert add_references(once, TEXT, linker).annotations == once


def test_every_code_of_a_description_is_a_reference(linker: Linker) -> None:
    class Sharing:
        def link_document(self, *given: Any, **more: Any) -> list[DocumentLink]:
            (found,) = linker.link_document(*given, **more)
            assert found.link is not None
            other = replace(found.link.candidates[0], code="R05X", title="Otra tos")
            link = replace(found.link, codes=("R05", "R05X", "R05Y"), candidates=(*found.link.candidates, other))
            return [replace(found, link=link)]

    once = add_references("T1\tDIAG 35 38\ttos\n", TEXT, Sharing()).annotations  # type: ignore[arg-type]
    assert once.splitlines()[1:] == [
        "N1\tReference T1 CIE10ES:R05\tSíntoma de tos",
        "N2\tReference T1 CIE10ES:R05X\tOtra tos",
        "N3\tReference T1 CIE10ES:R05Y\tSíntoma de tos",
    ]
    assert add_references(once, TEXT, Sharing()).annotations == once  # type: ignore[arg-type]


def test_kinds_choose_the_types(linker: Linker) -> None:
    found = add_references(ANN, TEXT, linker, kinds={"PROC": "procedure"})
    assert list(found.links) == ["T1"]


def test_a_bad_annotation_loses_no_neighbour(linker: Linker) -> None:
    bad = "T1\tPROC 3 15\tTC cerebral\nT2\tDIAG x y\ttos\nT3\tDIAG 35 38\ttos\nT3\tDIAG 0 2\tLa\nT4\tDIAG 9 900\tno"
    found = add_references(bad, TEXT, linker)
    assert list(found.links) == ["T3"]
    assert [problem.split(":")[0] for problem in found.problems] == ["line 2", "line 4", "T1", "T4"]
    assert "cerebral" not in "".join(found.problems)
    assert found.annotations.startswith(bad + "\nN1\tReference T3 CIE10ES:R05")


def test_line_ends_are_kept(linker: Linker) -> None:
    found = add_references(ANN.replace("\n", "\r\n"), TEXT, linker).annotations
    assert found.count("\n") == found.count("\r\n") == 6


def test_a_resource_that_brat_could_not_read_is_refused(linker: Linker) -> None:
    with pytest.raises(OptionError, match="white space"):
        add_references(ANN, TEXT, linker, resource="CIE 10")


@given(st.text(alphabet="TNR19\t :;#\r\nReference", max_size=60))
@settings(max_examples=50, deadline=None)
def test_whatever_stands_there_is_kept(annotations: str) -> None:
    class Nothing:
        def link_document(self, text: str, spans: list[object], **_: object) -> list[object]:
            from cielo import DocumentLink

            return [DocumentLink(error="no") for _ in spans]

    found = add_references(annotations, TEXT, Nothing())  # type: ignore[arg-type]
    assert found.annotations == annotations
