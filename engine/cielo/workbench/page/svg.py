"""Small, plain SVG out of what matplotlib writes: its groups, definitions and references are resolved."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from xml.etree import ElementTree

_SVG = "{http://www.w3.org/2000/svg}"
_LINK = "{http://www.w3.org/1999/xlink}href"
PATH = f"{_SVG}path"
_NUMBER = re.compile(r"-?\d+\.\d+")
_COLOUR = re.compile(r"#[0-9a-f]{6}")


def plain(
    node: ElementTree.Element, marks: dict[str, ElementTree.Element], tags: dict[str, tuple[str, str]]
) -> Iterator[ElementTree.Element]:
    """Yield what is seen of a node, with the classes and titles that `tags` gives to its group."""
    tag = node.tag.removeprefix(_SVG)
    if tag == "g":
        inner = [one for child in node for one in plain(child, marks, tags)]
        kind, title = tags.get(node.attrib.get("id", ""), ("", ""))
        for one in inner:
            if kind:
                one.set("class", kind)
            if title:
                ElementTree.SubElement(one, "title").text = title
        yield from inner
    elif tag == "path":
        yield _path(node.attrib.get("d", ""), node.attrib.get("style", ""))
    elif tag == "use":
        yield _mark(node, marks[node.attrib[_LINK].removeprefix("#")])
    elif tag == "text":
        written = ElementTree.Element("text", {name: _rounded(node.attrib[name]) for name in ("x", "y")})
        written.set("class", "tick")
        written.set("style", re.sub(r"font-family:[^;]*;? ?", "", node.attrib["style"]))
        written.text = node.text
        yield written


def _path(shape: str, style: str) -> ElementTree.Element:
    found = re.sub(r"\s*([A-Zz])\s*", r"\1", _rounded(" ".join(shape.split())))
    return ElementTree.Element("path", {"d": found, "style": style})


def _mark(use: ElementTree.Element, shape: ElementTree.Element) -> ElementTree.Element:
    """Return a marker: a circle where the shape is one, else the shape in its place."""
    style = use.attrib["style"]
    x, y = (_rounded(use.attrib[name]) for name in ("x", "y"))
    if shape.attrib["d"].count("C") == 8:  # matplotlib's circle; it begins at its lowest point
        radius = shape.attrib["d"].split()[2]
        return ElementTree.Element("circle", {"cx": x, "cy": y, "r": _rounded(radius), "style": style})
    node = _path(shape.attrib["d"], style)
    node.set("transform", f"translate({x} {y})")
    return node


def short(value: float) -> str:
    """Write a number of pixels: a tenth of a pixel is fine enough."""
    found = f"{value:.1f}".removesuffix(".0")
    return "0" if found == "-0" else found


def _rounded(content: str) -> str:
    """Shorten all numbers of a path."""
    return _NUMBER.sub(lambda found: short(float(found.group())), content)


def write(node: ElementTree.Element, paint: Callable[[str], str] | None) -> str:
    """Return a node as text; `paint` says how a colour is written, None: as it is."""
    style = node.attrib.get("style", "").replace("; ", ";").replace(": ", ":")
    node.set("style", _COLOUR.sub(lambda found: paint(found.group()), style) if paint else style)
    return ElementTree.tostring(node, encoding="unicode")
