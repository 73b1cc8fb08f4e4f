"""What plots are drawn with: a thin layer over matplotlib that gives small, plain SVG.

Texts stay text and take the page's font. Each shape can have a class and a title, which shows where a pointer rests on
it. Nothing refers to anything: no identifiers, no definitions, no clipping, so that any number of plots can stand in
one page. The same numbers give the same bytes.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal
from xml.etree import ElementTree

from cielo.text.visible import visible
from cielo.workbench.page.colours import LIGHT, themed
from cielo.workbench.page.extra import require
from cielo.workbench.page.svg import PATH, plain, short, write

if TYPE_CHECKING:
    from matplotlib.artist import Artist

Shape = Literal["circle", "square", "diamond"]
Anchor = Literal["left", "center", "right"]
Place = Literal["data", "row", "axes"]

TEXT_SIZE = 12.0
_VALUE_SIZE = 10.5
WIDE, HALF, NARROW, THIRD = 900.0, 440.0, 330.0, 290.0  # pixels: a page, half of it, a phone, a third of a page
_MARKERS: dict[Shape, tuple[str, float]] = {"circle": ("o", 10.0), "square": ("s", 9.0), "diamond": ("D", 8.5)}
_DPI = 72  # one point is one pixel
_EDGE = 12  # pixels around a plot that is a file of its own
_SETTINGS = {"svg.fonttype": "none", "svg.hashsalt": "cielo", "path.simplify": False}
_FONT = "system-ui,'Segoe UI',Roboto,'Liberation Sans',Arial,sans-serif"


@dataclass(frozen=True, slots=True)
class Margins:
    """Pixels between the area of a plot and the ends of its picture."""

    left: float = 46
    right: float = 14
    top: float = 12
    bottom: float = 44


class Canvas:
    """A picture with one area of a plot. Colours are names of `LIGHT`, or written as ``#rrggbb``."""

    def __init__(
        self,
        width: float,
        height: float,
        margins: Margins,
        *,
        x: tuple[float, float],
        y: tuple[float, float],
        floor: bool = True,
    ) -> None:
        """Begin an empty picture of `width` by `height` pixels, whose area shows the ranges `x` and `y`.

        Its lower edge is drawn where `floor` is true.

        Raises:
            CieloError: where matplotlib is not installed.
        """
        self.width, self.height, self.margins = width, height, margins
        self._tags: dict[str, tuple[str, str]] = {}
        self._figure = require("matplotlib.figure").Figure(figsize=(width / _DPI, height / _DPI), dpi=_DPI)
        self._figure.patch.set_visible(False)
        inner = (width - margins.left - margins.right, height - margins.top - margins.bottom)
        self._axes: Any = self._figure.add_axes(
            (margins.left / width, margins.bottom / height, inner[0] / width, inner[1] / height)
        )
        self._axes.patch.set_visible(False)
        self._axes.set(xlim=x, ylim=y, xticks=[], yticks=[])
        for name, spine in self._axes.spines.items():
            spine.set(visible=floor and name == "bottom", color=LIGHT["soft"], alpha=0.55, linewidth=1)

    def _tag(self, artist: Artist, kind: str, title: str = "") -> None:
        name = f"kind-{len(self._tags)}"
        artist.set_gid(name)
        self._tags[name] = (kind, visible(title))

    def axis_x(self, ticks: Sequence[float], write: Callable[[float], str], label: str, *, grid: bool = False) -> None:
        """Write numbers and a label below the area, with lines of a grid above them if wanted."""
        self._axes.set_xticks(ticks, [write(value) for value in ticks])
        self._axes.tick_params(
            axis="x", color=_mixed("soft"), labelcolor=_colour("soft"), labelsize=TEXT_SIZE, length=4, pad=5
        )
        if grid:
            self._grid("x")
        if label:
            width = self.width - self.margins.left - self.margins.right
            self.text(label, 0.5, 0, place="axes", dx=0, dy=-(self.margins.bottom - 8), anchor="center", kind="label",
                      room=width + 2 * min(self.margins.left, self.margins.right))  # fmt: skip

    def axis_y(self, ticks: Sequence[float], write: Callable[[float], str], label: str = "") -> None:
        """Write numbers left of the area and lines of a grid across it; the label stands above them."""
        self._axes.set_yticks(ticks, [write(value) for value in ticks])
        self._axes.tick_params(axis="y", labelcolor=_colour("soft"), labelsize=TEXT_SIZE, length=0, pad=7)
        self._grid("y")
        if label:
            self.text(label, 0, 1, place="axes", dx=-self.margins.left + 4, dy=12, kind="label")

    def _grid(self, axis: str) -> None:
        self._axes.set_axisbelow(True)
        self._axes.grid(axis=axis, color=LIGHT["grid"], linewidth=1, clip_on=False)

    def text(
        self,
        content: str,
        x: float,
        y: float,
        *,
        place: Place = "data",
        dx: float = 0,
        dy: float = 0,
        anchor: Anchor = "left",
        kind: str = "note",
        colour: str = "soft",
        size: float = TEXT_SIZE,
        room: float | None = None,
    ) -> None:
        """Write a line, its middle at the height of `y`.

        Args:
            content: shown as it is: no mathematics, no markup.
            x, y: where, in data; with the place ``row`` x, and with ``axes`` both are shares of the area.
            place: see above.
            dx, dy: pixels to the right and upwards from there.
            anchor: which end of the line stands there.
            kind: its class.
            colour: of the letters.
            size: of the letters, in pixels.
            room: pixels; smaller letters are taken for a longer line, down to two thirds.
        """
        content = visible(content)
        if room is not None:
            size = max(size * 2 / 3, min(size, room / (0.56 * max(1, len(content)))))
        transform = {"data": "transData", "axes": "transAxes"}.get(place)
        coordinates = getattr(self._axes, transform) if transform else self._axes.get_yaxis_transform()
        artist = self._axes.annotate(
            content, (x, y), xycoords=coordinates, xytext=(dx, dy), textcoords="offset points", ha=anchor, va="center",
            fontsize=size, color=_colour(colour), annotation_clip=False, parse_math=False,
        )  # fmt: skip
        self._tag(artist, kind)

    def box(
        self, x: tuple[float, float], y: tuple[float, float], kind: str, colour: str, title: str = "", alpha: float = 1
    ) -> None:
        """Fill a rectangle, given by its ends in data."""
        patch = require("matplotlib.patches").Rectangle(
            (x[0], y[0]), x[1] - x[0], y[1] - y[0], facecolor=_colour(colour), edgecolor="none", alpha=alpha,
            clip_on=False,
        )  # fmt: skip
        self._tag(self._axes.add_patch(patch), kind, title)

    def line(
        self,
        points: Sequence[tuple[float, float]],
        kind: str,
        colour: str,
        *,
        width: float = 1.0,
        dashes: Sequence[float] = (),
        title: str = "",
        alpha: float = 1,
        steps: bool = False,
    ) -> None:
        """Draw a line through points; where one is not a number there is a gap.

        Args:
            points: in data, in their order.
            kind: the class.
            colour: of the line.
            width: in pixels.
            dashes: pixels on and off, by turns; none: the line is whole.
            title: where a pointer rests on it.
            alpha: 0 is not seen, 1 hides what is below.
            steps: whether it stays level until the next point.
        """
        xs, ys = [x for x, _ in points], [y for _, y in points]
        (drawn,) = self._axes.plot(
            xs, ys, color=_colour(colour), linewidth=width, alpha=alpha, clip_on=False,
            drawstyle="steps-post" if steps else "default", solid_capstyle="butt",
        )  # fmt: skip
        if dashes:
            drawn.set_dashes([length / width for length in dashes])
        self._tag(drawn, kind, title)

    def area(self, points: Sequence[tuple[float, float]], floor: float, kind: str, colour: str, alpha: float) -> None:
        """Fill what lies between a line in steps and `floor`."""
        xs, ys = [x for x, _ in points], [y for _, y in points]
        filled = self._axes.fill_between(
            xs, ys, floor, step="post", color=_colour(colour), alpha=alpha, linewidth=0, clip_on=False
        )
        self._tag(filled, kind)

    def mark(self, x: float, y: float, shape: Shape, title: str) -> None:
        """Draw a value: a filled circle, an empty square, or an empty diamond."""
        marker, size = _MARKERS[shape]
        face, edge = ("accent", "card") if shape == "circle" else ("card", "ink")
        self._marks([(x, y)], marker, size, face, f"mark-{shape}", title, edge=edge)

    def beside(self, content: str, low: float, high: float, y: float) -> None:
        """Write a short value right of a bar from `low` to `high`; left of it where the area ends."""
        (start, end), inner = self._axes.get_xlim(), self.width - self.margins.left - self.margins.right
        room = (end - high) / (end - start) * inner
        if room > 12 + 0.6 * _VALUE_SIZE * len(content):
            self.text(content, high, y, dx=8, kind="estimate", size=_VALUE_SIZE)
        else:
            self.text(content, low, y, dx=-8, anchor="right", kind="estimate", size=_VALUE_SIZE)

    def dots(
        self, points: Sequence[tuple[float, float]], radius: float, kind: str, colour: str, title: str = "",
        alpha: float = 1,
    ) -> None:  # fmt: skip
        """Draw small circles, all of one kind."""
        self._marks(points, "o", 2 * radius, colour, kind, title, alpha=alpha)

    def _marks(
        self, points: Sequence[tuple[float, float]], marker: str, size: float, face: str, kind: str, title: str,
        *, edge: str = "", alpha: float = 1,
    ) -> None:  # fmt: skip
        (drawn,) = self._axes.plot(
            [x for x, _ in points], [y for _, y in points], linestyle="none", marker=marker, markersize=size,
            markerfacecolor=_colour(face), markeredgecolor=_colour(edge) if edge else "none",
            markeredgewidth=1.4 if edge else 0, alpha=alpha, clip_on=False, zorder=3,
        )  # fmt: skip
        self._tag(drawn, kind, title)

    def svg(self, label: str, kind: str = "", *, standalone: bool = False) -> str:
        """Return the picture as SVG.

        Args:
            label: what a screen reader says.
            kind: class of the whole picture.
            standalone: a file of its own, on a light ground, rather than a part of a page.
        """
        from xml.sax.saxutils import escape, quoteattr

        size = f"{short(self.width)} {short(self.height)}"
        inner = "".join(write(node, None if standalone else themed) for node in self._nodes())
        label = visible(label)
        if not standalone:
            named = f' class="{escape(kind)}"' if kind else ""
            return f'<svg viewBox="0 0 {size}"{named} role="img" aria-label={quoteattr(label)}>{inner}</svg>'
        across, down = self.width + 2 * _EDGE, self.height + 2 * _EDGE
        pixels = f'width="{short(across)}" height="{short(down)}"'
        box = f"-{_EDGE} -{_EDGE} {short(across)} {short(down)}"
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{box}" {pixels} role="img" '
            f"aria-label={quoteattr(label)}><title>{escape(label)}</title><style>text{{font-family:{_FONT}}}</style>"
            f'<rect x="-{_EDGE}" y="-{_EDGE}" {pixels} rx="8" style="fill:{LIGHT["card"]}"/>{inner}</svg>\n'
        )

    def _nodes(self) -> Iterator[ElementTree.Element]:
        stream = io.StringIO()
        with require("matplotlib").rc_context(_SETTINGS), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Glyph .* missing")  # the reader's fonts have it, or not
            canvas = require("matplotlib.backends.backend_svg").FigureCanvasSVG(self._figure)
            canvas.print_svg(stream, metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
        root = ElementTree.fromstring(stream.getvalue())  # noqa: S314  what matplotlib wrote just now
        marks = {node.attrib["id"]: node for node in root.iter(PATH) if "id" in node.attrib}
        for node in root:
            yield from plain(node, marks, self._tags)


def _colour(name: str) -> str:
    return LIGHT.get(name, name)


def _mixed(name: str) -> tuple[str, float]:
    return _colour(name), 0.55


@dataclass(frozen=True, slots=True)
class Picture:
    """A plot for a page: drawn for a wide screen and, where letters would get too small on it, for a phone.

    Attributes:
        label: what a screen reader says.
        draw: draws it, so many pixels wide.
        widths: in pixels, the widest first; one or two.
    """

    label: str
    draw: Callable[[float], Canvas] = field(repr=False)
    widths: tuple[float, ...]

    def __html__(self) -> str:
        """Return the plot as a template puts it in."""
        kinds = ("",) if len(self.widths) == 1 else ("at-desk", "at-phone")
        drawn = [self.draw(width).svg(self.label, kind) for width, kind in zip(self.widths, kinds, strict=True)]
        return f'<div class="plot" style="max-width:{short(self.widths[0] * 1.2)}px">{"".join(drawn)}</div>'

    def standalone(self, width: float | None = None) -> str:
        """Return the plot as an SVG file, as wide as it is on a wide screen if not told otherwise."""
        return self.draw(width or self.widths[0]).svg(self.label, standalone=True)
