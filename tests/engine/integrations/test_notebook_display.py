from __future__ import annotations

from dataclasses import replace
from xml.etree import ElementTree

from cielo import Linker, Mention


def test_a_link_shows_itself_in_a_notebook(linker: Linker) -> None:
    (link,) = linker.link([Mention("tos")])
    shown = ElementTree.fromstring(link._repr_html_())  # well-formed
    assert shown.findtext("b") == "R05"
    assert [row.findtext("td") for row in shown.iter("tr")][1:] == [candidate.code for candidate in link.candidates]


def test_what_a_knowledge_base_holds_is_no_markup(linker: Linker) -> None:
    (link,) = linker.link([Mention("tos")])
    shown = replace(link, title="<script>x</script>", code=None, confidence=None)._repr_html_()
    assert "<script>" not in shown and "no code" in shown
