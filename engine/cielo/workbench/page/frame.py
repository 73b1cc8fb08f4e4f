"""A report as one HTML file: no network, no script, light and dark. What is given as text is escaped here.

Small functions return parts of a page; a part that is markup already is `Markup`, anything else is text.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

from cielo.errors import CieloError
from cielo.files import atomic_write

DASH = "–"  # in the place of what is not known
_STYLE = Path(__file__).with_name("page.css")
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"


class Markup(str):
    """HTML that is put into a page as it is."""

    __slots__ = ()


def markup(content: str) -> Markup:
    """Return `content` as HTML: escaped, unless it is HTML already."""
    return content if isinstance(content, Markup) else Markup(escape(content))


def page(title: str, sections: Iterable[str], style: str = "") -> str:
    """Return a whole page.

    Args:
        title: of the browser's window.
        sections: HTML, one after the other.
        style: rules that are added to those of every page.
    """
    rules = _STYLE.read_text(encoding="utf-8") + style
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>\n{rules}</style>\n"
        f"</head>\n<body>\n<main>\n{''.join(sections)}</main>\n</body>\n</html>\n"
    )


def header(above: str, name: str, detail: str, below: Iterable[str]) -> str:
    """Return the top of a page: a line above the headline, the headline with a fainter end, and lines below it."""
    lines = "".join(f'<p class="sub">{escape(line)}</p>\n' for line in below)
    return (
        f'<header>\n<p class="eyebrow">{escape(above)}</p>\n'
        f"<h1>{escape(name)}<span>{escape(detail)}</span></h1>\n{lines}</header>\n"
    )


def tiles(shown: Iterable[tuple[str, str]]) -> str:
    """Return cards of one figure each, with a sentence below; what follows the figure's first space is its unit."""
    cards = "".join(f'<div class="card">{_tile(value)}<p>{escape(words)}</p></div>\n' for value, words in shown)
    return f'<div class="grid tiles">\n{cards}</div>\n'


def _tile(value: str) -> str:
    number, _, unit = value.partition(" ")
    return f'<div class="tile">{escape(number)} <small>{escape(unit)}</small></div>'


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table; its first column holds names, the others figures."""
    first = "".join(f"<th>{markup(name)}</th>" for name in head)
    body = "".join("<tr>" + "".join(f"<td>{markup(cell)}</td>" for cell in row) + "</tr>\n" for row in rows)
    return f'<div class="wide"><table>\n<thead><tr>{first}</tr></thead>\n<tbody>\n{body}</tbody>\n</table></div>\n'


def card(title: str, what: str, plot: str, read: str, extra: str = "") -> str:
    """Return a card: what is shown, a picture, more HTML, and how to read it."""
    return (
        f'<div class="card"><h3>{escape(title)}</h3>\n<p class="what">{escape(what)}</p>\n{plot}\n{extra}'
        f'<p class="read">{escape(read)}</p></div>\n'
    )


def wide(plot: str) -> str:
    """Let a plot be pushed sideways on a small screen, so that its letters stay large enough."""
    return f'<div class="wide">{plot}</div>'


def notices(sentences: Iterable[str]) -> str:
    """Return warnings, a paragraph each."""
    return "".join(f'<p class="read notice">{escape(words)}</p>\n' for words in sentences)


def keys(entries: Iterable[tuple[str, str]]) -> str:
    """Return the key to a plot's colours: of each the class and the name."""
    items = "".join(f'<li class="{escape(kind, quote=True)}">{escape(name)}</li>' for kind, name in entries)
    return f'<ul class="keys">{items}</ul>\n'


def legend(entries: Iterable[tuple[str, str]]) -> str:
    """Return the key to a plot's shapes: of each a small picture, as SVG, and the name."""
    items = "".join(f"<li>{picture}{escape(name)}</li>" for picture, name in entries)
    return f'<ul class="keys legend">{items}</ul>\n'


def facts(title: str, told: Iterable[tuple[str, str]]) -> str:
    """Return a card of names and what they stand for."""
    rows = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>\n" for name, value in told)
    return f'<div class="card"><h3>{escape(title)}</h3>\n<dl class="facts">\n{rows}</dl></div>\n'


def write(path: Path, content: str, error: type[CieloError] = CieloError) -> None:
    """Write a file, whole or not at all.

    Args:
        path: where to.
        content: as UTF-8.
        error: what is raised, naming `path`, where it cannot be written.

    Raises:
        CieloError: see `error`.
    """
    try:
        with atomic_write(path) as temporary:
            # Names of files can hold bytes that are no text; they must not cost the report.
            temporary.write_text(content, encoding="utf-8", errors="backslashreplace")
    except OSError as problem:
        raise error(f"{path}: cannot be written ({problem.strerror}); name a file in a writable directory") from problem
