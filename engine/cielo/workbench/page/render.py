"""Pages from templates: one HTML file each, no network, no script, light and dark."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from cielo.text.language import say, spoken
from cielo.text.visible import visible
from cielo.workbench.page.colours import DARK, LIGHT
from cielo.workbench.page.extra import require

if TYPE_CHECKING:
    from jinja2 import Environment

_TEMPLATES = Path(__file__).with_name("templates")


def render(template: str, title: str, view: object) -> str:
    """Return a page in the language of `cielo.text.language.speaking`.

    In a template ``_`` is `cielo.text.language.say`: its sentences stand in the call.

    Args:
        template: its file in the folder of templates, which extends ``base.html.j2``.
        title: of the browser's window.
        view: what the template shows, under the name ``view``: everything in it is text and is escaped, but for
            plots (`Picture`).

    Raises:
        CieloError: where Jinja or, for plots, matplotlib is not installed.
    """
    return _environment().get_template(template).render(title=title, view=view)


@cache
def _environment() -> Environment:
    jinja2 = require("jinja2")
    environment: Environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES, encoding="utf-8"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_finalize,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update({"light": LIGHT, "dark": DARK, "_": say, "spoken": spoken})
    return environment


def _finalize(value: object) -> object:
    """Make what stands in names visible; what is HTML already, such as a macro's, is left as it is."""
    return visible(value) if isinstance(value, str) and not hasattr(value, "__html__") else value
