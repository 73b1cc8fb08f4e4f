from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from cielo import Linker, MentionError, OptionError
from cielo.errors import CieloError
from cielo.integrations.uima import add_codes

TEXT = "😷 La TC abdominal es normal. Refiere tos seca."
TYPES = """<?xml version="1.0" encoding="UTF-8"?>
<typeSystemDescription xmlns="http://uima.apache.org/resourceSpecifier"><types>
<typeDescription><name>mine.Mention</name><supertypeName>uima.tcas.Annotation</supertypeName></typeDescription>
<typeDescription><name>mine.Test</name><supertypeName>mine.Mention</supertypeName><features>
<featureDescription><name>depth</name><rangeTypeName>uima.cas.Integer</rangeTypeName></featureDescription>
</features></typeDescription></types></typeSystemDescription>"""


def cas_of(marked: list[tuple[str, str]], offsets: list[tuple[int, int]] = []) -> str:  # noqa: B006
    """Return a CAS in which the offsets are UTF-16 units, as UIMA's are: one more than characters, after the emoji."""
    places = [(name, TEXT.index(text) + 1, TEXT.index(text) + 1 + len(text)) for name, text in marked]
    places += [("Mention", *place) for place in offsets]
    rows = "".join(
        f'<mine:{name} xmi:id="{number}" sofa="1" begin="{begin}" end="{end}"/>'
        for number, (name, begin, end) in enumerate(places, start=10)
    )
    members = " ".join(str(number) for number in range(10, 10 + len(places)))
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<xmi:XMI xmlns:xmi="http://www.omg.org/XMI" xmlns:cas="http:///uima/cas.ecore" xmlns:mine="http:///mine.ecore"
 xmi:version="2.0"><cas:NULL xmi:id="0"/>{rows}
<cas:Sofa xmi:id="1" sofaNum="1" sofaID="_InitialView" mimeType="text" sofaString="{TEXT}"/>
<cas:View sofa="1" members="{members}"/></xmi:XMI>"""


MARKED = [("Test", "TC abdominal"), ("Mention", "tos")]


def codes(coded: Any) -> list[tuple[str, str | None]]:
    cassis = pytest.importorskip("cassis")
    cas = cassis.load_cas_from_xmi(coded.xmi, cassis.load_typesystem(coded.typesystem))
    return sorted((found.get_covered_text(), found.code) for found in cas.select("mine.Mention"))


@pytest.mark.integrations
def test_annotations_get_their_codes_and_keep_their_offsets(linker: Linker) -> None:
    coded = add_codes(cas_of(MARKED), TYPES, linker, types={"mine.Mention": None, "mine.Test": "procedure"})
    assert codes(coded) == [("TC abdominal", "BW20"), ("tos", "R05")]
    kinds = {number: link.link.kind for number, link in coded.links.items() if link.link}
    assert kinds == {10: "procedure", 11: "diagnosis"} and coded.problems == ()
    again = add_codes(coded.xmi, coded.typesystem, linker, types={"mine.Mention": None, "mine.Test": "procedure"})
    assert codes(again) == codes(coded)


@pytest.mark.integrations
@pytest.mark.filterwarnings("ignore:Not mapping:UserWarning")
def test_a_bad_annotation_loses_no_neighbour(linker: Linker) -> None:
    coded = add_codes(cas_of(MARKED, [(900, 905), (1, 2), (5, 5)]), TYPES, linker, types={"mine.Mention": None})
    assert sorted(coded.links) == [10, 11]
    assert sorted(problem.split(":")[0] for problem in coded.problems) == ["12", "13", "14"]


@pytest.mark.integrations
def test_types_that_do_not_fit_are_refused(linker: Linker) -> None:
    for given, said in (
        ({"types": {"mine.None": None}}, "full name"),
        ({"types": {"mine.Test": None}, "feature": "depth"}, "expected uima.cas.String"),
        ({"types": {"mine.Test": None}, "feature": "a b"}, "underscores"),
    ):
        with pytest.raises(OptionError, match=said):
            add_codes(cas_of(MARKED), TYPES, linker, **given)  # type: ignore[arg-type]


@pytest.mark.integrations
@pytest.mark.parametrize(
    "broken",
    [
        "", "no XML", "<xmi:XMI/>", cas_of(MARKED)[:-20], cas_of([("Unknown", "tos")]), cas_of(MARKED, [(9, 3)]) + "<",
        cas_of(MARKED).replace('begin="3', 'begin="x'),
    ],
)  # fmt: skip
def test_what_is_no_cas_is_refused(linker: Linker, broken: str) -> None:
    with pytest.raises(MentionError, match="cannot be read") as refused:
        add_codes(broken, TYPES, linker, types={"mine.Mention": None})
    assert "tos" not in str(refused.value)


@pytest.mark.integrations
@pytest.mark.parametrize("declared", ["", '<?xml version="1.0" encoding="UTF-7"?>'])
def test_no_file_is_read_by_an_entity(linker: Linker, tmp_path: Path, declared: str) -> None:
    (secret := tmp_path / "secret").write_text("secret")
    body = cas_of(MARKED).partition("?>")[2]
    kind = f'<!DOCTYPE x [<!ENTITY e SYSTEM "{secret.as_uri()}">]>'
    hidden = kind.replace("<", "+ADw-").replace("!", "+ACE-") if declared else kind
    with pytest.raises(MentionError):
        add_codes(declared + hidden + body, TYPES, linker, types={"mine.Mention": None})


def test_without_cassis_the_extra_is_named(linker: Linker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cassis", None)
    with pytest.raises(CieloError, match=r"cielo\[uima\]"):
        add_codes("", "", linker, types={"mine.Mention": None})
