"""Reading pages back: whether they are well formed, and what their tables and plots show."""

from __future__ import annotations

import re
import string
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser

from cielo.text.language import catalogue

VOID = {"meta", "br", "hr", "link", "img", "input"}
HOSTILE = "<script>alert('1')</script>\"&amp;<b onclick=x>{{ 7 * 7 }}$x^2$"


class Reader(HTMLParser):
    """Checks that every tag is closed in its place, and collects tags, attributes, texts and the rows of tables."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.texts: list[str] = []
        self.rows: list[list[str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)
        if {"td", "th"} & set(self.open):
            self.rows[-1][-1] += ("|" if "small" in self.open else "") + data


def read(page: str) -> Reader:
    """Read a page that must be well formed, whose plots are named and hold numbers alone."""
    reader = Reader()
    reader.feed(page)
    reader.close()
    assert reader.open == []
    for picture in re.findall(r"<svg.*?</svg>", page, re.DOTALL):
        root = ElementTree.fromstring(picture)
        assert root.attrib.get("aria-label") or root.attrib.get("aria-hidden") == "true"
        assert not re.search(r"\bnan\b|\binf\b", picture)
    return reader


def refers_to_nothing(page: str) -> None:
    """Check that a page loads nothing, runs nothing, and says so to the browser."""
    reader = read(page)
    for reference in ("http://", "https://", "src=", "href", "url(", "@import", "<script", "<iframe", "<link"):
        assert reference not in page, reference
    assert not {"script", "link", "img", "iframe", "object", "a"} & set(reader.tags)
    assert not [name for name, _ in reader.attributes if name.startswith("on") or "href" in name or name == "id"]
    assert "default-src 'none'" in page


def tables_of(page: str) -> list[list[list[str]]]:
    """Return the rows of each table, the head first; each table has a caption."""
    found = re.findall(r"<table>.*?</table>", page, re.DOTALL)
    assert all(re.search(r"<caption>.+?</caption>", table) for table in found)
    return [read(table).rows for table in found]


def pictures_of(page: str, where: str = "at-desk") -> list[ElementTree.Element]:
    """Return the plots as they are seen on a wide screen, or ``at-phone``."""
    roots = [ElementTree.fromstring(found) for found in re.findall(r"<svg[^>]*aria-label.*?</svg>", page, re.DOTALL)]
    return [root for root in roots if root.attrib.get("class") in (where, None)]


def of_kind(picture: ElementTree.Element, kind: str) -> list[ElementTree.Element]:
    """Return the shapes or texts of a class."""
    return [node for node in picture.iter() if kind in node.attrib.get("class", "").split()]


def titles_of(picture: ElementTree.Element) -> list[str]:
    """Return what shows where a pointer rests on the shapes."""
    return [title.text or "" for title in picture.iter("title")]


def corners(shape: ElementTree.Element) -> tuple[list[float], list[float]]:
    """Return the places across and down of a path's points."""
    points = re.findall(r"[ML](-?[\d.]+) (-?[\d.]+)", shape.attrib["d"])
    return [float(x) for x, _ in points], [float(y) for _, y in points]


def width_of(bar: ElementTree.Element) -> float:
    """Return how wide a bar is."""
    across, _ = corners(bar)
    return max(across) - min(across)


def height_of(bar: ElementTree.Element) -> float:
    """Return how high a bar is."""
    _, down = corners(bar)
    return max(down) - min(down)


def seen_and_heard(page: str) -> list[str]:
    """Return every text that a reader sees, points at, or has read out."""
    reader = read(page)
    told = [value for name, value in reader.attributes if name in ("aria-label", "title", "alt") and value]
    style = page.partition("<style>")[2].partition("</style>")[0]
    return [text for text in (*reader.texts, *told) if text.strip() and text != style and text.strip() != style.strip()]


def english_left(page: str) -> list[str]:
    """Return the sentences of the catalogue that a Spanish page still says in English, of two words at least.

    Of a sentence with places, what stands between them counts where it has three words.
    """
    texts = [" ".join(text.split()) for text in seen_and_heard(page)]
    whole, every = set(texts), "\n".join(texts)
    left = []
    for english, spanish in catalogue()["sentences"].items():
        if english == spanish:
            continue
        parts = [" ".join(text.split()) for text, *_ in string.Formatter().parse(english)]
        said = [part for part in parts if part.count(" ") > 1 and part in every]
        if said or (english in whole and " " in english):
            left.append(english)
    return left


def points_left(page: str) -> list[str]:
    """Return the texts of a Spanish page in which a number has a decimal point; thousands have points, too."""
    number = re.compile(r"(?<![\d.])(0\.\d|\d+\.\d{1,2}(?!\d)|\d+\.\d{4})")
    return [text for text in seen_and_heard(page) if number.search(text)]
