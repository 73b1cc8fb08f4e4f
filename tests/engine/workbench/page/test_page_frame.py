from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

import pytest
from cielo.errors import CieloError, TableError
from cielo.workbench.page import frame
from cielo.workbench.page.frame import Markup

HOSTILE = "<script>alert('a & \"b\"')</script>"
ESCAPED = "&lt;script&gt;alert(&#x27;a &amp; &quot;b&quot;&#x27;)&lt;/script&gt;"


class Texts(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


class TestParts:
    @pytest.mark.parametrize(
        "part",
        [
            frame.page(HOSTILE, []),
            frame.header(HOSTILE, HOSTILE, HOSTILE, [HOSTILE]),
            frame.tiles([(HOSTILE, HOSTILE)]),
            frame.table([HOSTILE], [[HOSTILE]]),
            frame.card(HOSTILE, HOSTILE, "", HOSTILE),
            frame.notices([HOSTILE]),
            frame.keys([(HOSTILE, HOSTILE)]),
            frame.legend([("", HOSTILE)]),
            frame.facts(HOSTILE, [(HOSTILE, HOSTILE)]),
        ],
    )
    def test_what_is_given_as_text_is_escaped(self, part: str) -> None:
        reader = Texts()
        reader.feed(part)
        assert "script" not in reader.tags
        assert HOSTILE in "".join(reader.texts) or "alert('a" in "".join(reader.texts)

    def test_markup_is_left_as_it_is_and_escaped_once(self) -> None:
        cells = frame.table(["a"], [[Markup("1<small>2</small>")], [frame.markup(frame.markup("<"))]])
        assert "<td>1<small>2</small></td>" in cells
        assert "<td>&lt;</td>" in cells
        assert frame.markup(HOSTILE) == ESCAPED

    def test_a_page_has_the_common_style_its_own_and_a_policy(self) -> None:
        page = frame.page("a", ["<p>b</p>", "<p>c</p>"], ".own { color: red; }\n")
        assert "<p>b</p><p>c</p>" in page
        assert page.index(":root {") < page.index(".own {") < page.index("</style>")
        assert "default-src 'none'" in page
        assert "prefers-color-scheme: dark" in page


class TestWrite:
    def test_a_file_is_replaced(self, tmp_path: Path) -> None:
        path = tmp_path / "a.html"
        for content in ("ä", "b"):
            frame.write(path, content)
            assert path.read_text(encoding="utf-8") == content
        assert list(tmp_path.iterdir()) == [path]

    def test_text_that_is_no_unicode_is_written_out(self, tmp_path: Path) -> None:
        frame.write(tmp_path / "a.html", "b\udcff")
        assert (tmp_path / "a.html").read_text(encoding="utf-8") == "b\\udcff"

    @pytest.mark.parametrize("error", [CieloError, TableError])
    def test_an_error_names_the_path_and_leaves_nothing(self, tmp_path: Path, error: type[CieloError]) -> None:
        (tmp_path / "a").mkdir()
        with pytest.raises(error, match=r"a: cannot be written \(.+\); name a file") as caught:
            frame.write(tmp_path / "a", "b", error)
        assert type(caught.value) is error
        assert [file.name for file in tmp_path.iterdir()] == ["a"]
        assert list((tmp_path / "a").iterdir()) == []
