"""Templates: what is given as text is escaped and shown, whatever it holds."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cielo import extras
from cielo.errors import CieloError, TableError
from cielo.text.visible import visible
from cielo.workbench.page import colours, extra, render
from cielo.workbench.page.parts import DASH, PageCell, PageTable, Tile, count, figure, many, words
from cielo.workbench.page.text import shorten
from cielo.workbench.records import write_text
from hypothesis import given
from hypothesis import strategies as st
from page_reading import HOSTILE, read, tables_of

TABLE = PageTable(HOSTILE, (HOSTILE,), ((HOSTILE, PageCell(HOSTILE, HOSTILE)),))
PARTS = {
    "header": (HOSTILE, HOSTILE, HOSTILE, [HOSTILE]),
    "tiles": ([Tile(HOSTILE, HOSTILE, HOSTILE)],),
    "table": (TABLE,),
    "notices": ([HOSTILE],),
    "keys": ([(HOSTILE, HOSTILE)],),
    "shapes": ([(HOSTILE, "circle"), (HOSTILE, "square"), (HOSTILE, "diamond")],),
    "marks": ([(HOSTILE, HOSTILE)],),
    "facts": (HOSTILE, [(HOSTILE, HOSTILE)]),
}


def part(name: str, *given: object) -> str:
    module = render._environment().get_template("parts.html.j2").module
    return str(getattr(module, name)(*given))


PLACES = ("{count} place", "{count} places")


class TestParts:
    @pytest.mark.parametrize("name", PARTS)
    def test_what_is_given_as_text_is_escaped(self, name: str) -> None:
        reader = read(part(name, *PARTS[name]))
        assert not {"script", "b"} & set(reader.tags)
        assert not [attribute for attribute, _ in reader.attributes if attribute.startswith("on")]
        assert HOSTILE in "".join(reader.texts)

    def test_a_table_has_names_in_its_first_column_and_a_second_line_in_cells(self) -> None:
        shown = part(
            "table", PageTable("a caption", ("", "b"), (("c", PageCell("1", "2 to 3")), ("d", PageCell("4")))), "dense"
        )
        assert tables_of(shown) == [[["", "b"], ["c", "1|2 to 3"], ["d", "4"]]]
        assert shown.count('<th scope="row">') == shown.count('<th scope="col">') == 2
        assert "<caption>a caption</caption>" in shown and 'tabindex="0"' in shown and "wide dense" in shown

    def test_every_template_can_be_read(self) -> None:
        environment = render._environment()
        assert set(environment.list_templates()) == {
            "base.html.j2", "bench.html.j2", "evaluation.html.j2", "page.css", "parts.html.j2",
        }  # fmt: skip
        for name in environment.list_templates():
            environment.get_template(name)

    def test_a_page_has_its_style_and_a_policy(self) -> None:
        page = render.render("base.html.j2", HOSTILE, None)
        assert "script" not in read(page).tags
        assert "default-src 'none'" in page
        assert "prefers-color-scheme: dark" in page
        for name, value in colours.LIGHT.items():
            assert f"--{name}: {value};" in page

    def test_a_name_that_a_view_lacks_is_an_error(self) -> None:
        with pytest.raises(Exception, match="has no attribute"):
            render.render("bench.html.j2", "a", object())


class TestColours:
    def test_each_has_a_name_of_its_own_in_both_schemes(self) -> None:
        assert set(colours.LIGHT) == set(colours.DARK)
        assert len(set(colours.LIGHT.values())) == len(colours.LIGHT)
        assert colours.themed(colours.LIGHT["ink"]) == "var(--ink)"
        assert colours.themed("#123456") == "#123456"


class TestText:
    @given(st.text(st.characters(codec=None)))
    def test_what_is_shown_can_be_written_and_obeyed_by_nothing(self, text: str) -> None:
        shown = visible(text)
        shown.encode("utf-8")
        assert not any(ord(one) < 0x20 or 0x7F <= ord(one) < 0xA0 for one in shown)
        assert visible(shown) == shown

    @pytest.mark.parametrize(
        ("text", "shown"),
        [
            ("Año 1 – “ñ”", "Año 1 – “ñ”"),
            ("a\tb\nc", "a b c"),
            ("\x1b[2J\x07", "␛[2J␇"),
            ("a\u202eb", "a\\u202eb"),
            ("b\udcff", "b\\udcff"),
            ("\U000e0001", "\\U000e0001"),
            ("\x7f\x9b", "␡\\u009b"),
        ],
    )
    def test_examples(self, text: str, shown: str) -> None:
        assert visible(text) == shown

    def test_long_names_are_cut(self) -> None:
        assert (shorten("abcdef", 6), shorten("abcdefg", 6)) == ("abcdef", "abcde…")

    def test_figures(self) -> None:
        assert (figure(1234.567), figure(None), count(1234.0), many(1, *PLACES), many(2, *PLACES)) == (
            "1,234.57", DASH, "1,234", "1 place", "2 places",
        )  # fmt: skip
        assert words({"a": None, "b": [True, "c"]}) == "a –, b yes; c"


class TestExtra:
    @pytest.mark.parametrize(("name", "library"), [("jinja2", "jinja2"), ("matplotlib.figure", "matplotlib")])
    def test_what_is_not_installed_is_named_with_the_extra(
        self, monkeypatch: pytest.MonkeyPatch, name: str, library: str
    ) -> None:
        def missing(wanted: str) -> Any:
            raise ModuleNotFoundError(f"No module named {wanted!r}")

        monkeypatch.setattr(extras, "import_module", missing)
        for call in (lambda: extra.require(name), extra.require_all):
            with pytest.raises(CieloError, match=r"is not installed; install it with: pip install 'cielo\[report\]'"):
                call()
        with pytest.raises(CieloError, match=f"a page needs {library},"):
            extra.require(name)

    def test_neither_library_is_read_before_a_page_is_made(self) -> None:
        names = ("evaluation.report", "evaluation.views", "bench.page", "bench.report", "page.plots", "page.render")
        code = f"""import sys, {", ".join(f"cielo.workbench.{name}" for name in names)}
print(sorted({{"jinja2", "matplotlib"}} & set(sys.modules)))"""
        found = subprocess.run([sys.executable, "-P", "-c", code], check=True, capture_output=True, text=True)
        assert found.stdout.strip() == "[]"


class TestWrite:
    def test_a_file_is_replaced(self, tmp_path: Path) -> None:
        path = tmp_path / "a.html"
        for content in ("ä", "b"):
            write_text(path, content)
            assert path.read_text(encoding="utf-8") == content
        assert list(tmp_path.iterdir()) == [path]

    @pytest.mark.parametrize("error", [CieloError, TableError])
    def test_an_error_names_the_path_and_leaves_nothing(self, tmp_path: Path, error: type[CieloError]) -> None:
        (tmp_path / "a").mkdir()
        with pytest.raises(error, match=r"a: cannot be written \(.+\); name a file") as caught:
            write_text(tmp_path / "a", "b", error)
        assert type(caught.value) is error
        assert [file.name for file in tmp_path.iterdir()] == ["a"]
        assert list((tmp_path / "a").iterdir()) == []


def test_a_view_may_hold_names_that_are_no_text() -> None:
    table = replace(TABLE, rows=(("a\udcff", "\x1b[31m"),))
    part("table", table).encode("utf-8")
    assert tables_of(part("table", table))[0][1] == ["a\\udcff", "␛[31m"]
