"""The README's plots of an evaluation: ``python -m benchmarks.evaluation_plots evaluation.json benchmarks/results``.

``evaluation.json`` is what ``cielo evaluate --json`` prints; the plots are those of its page, each a file of its own.
"""

from __future__ import annotations

import json
import re
from importlib import resources
from pathlib import Path

import click
from cielo.workbench.evaluation.report import to_html

# By the label that the page gives them for readers who do not see them.
PLOTS = {"coverage": "Accuracy of the answers", "reliability": "Reliability"}
_MARGIN = 12


def standalone(page: str, label: str, style: str) -> str:
    """Return the plot of a page whose label begins with `label`, as an SVG file with the page's style.

    Raises:
        ValueError: where the page has no such plot.
    """
    found = re.search(rf'<svg viewBox="0 0 (\d+) (\d+)" role="img" aria-label="{label}.*?</svg>', page, re.DOTALL)
    if found is None:
        raise ValueError(f"the page has no plot whose label begins with {label!r}")
    width, height = (int(size) + 2 * _MARGIN for size in found.groups())
    inside = found.group().partition(">")[2].removesuffix("</svg>")
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{-_MARGIN} {-_MARGIN} {width} {height}" width="{width}" '
        f'height="{height}" role="img"><style>{style} svg {{ font-family: system-ui, sans-serif; }}</style>'
        f'<rect x="{-_MARGIN}" y="{-_MARGIN}" width="{width}" height="{height}" fill="var(--card)"/>{inside}</svg>\n'
    )


@click.command()
@click.argument("evaluation", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
def main(evaluation: Path, folder: Path) -> None:
    """Write the plots of EVALUATION into FOLDER."""
    page = to_html(json.loads(evaluation.read_text(encoding="utf-8")))
    style = (resources.files("cielo.workbench.page") / "page.css").read_text(encoding="utf-8")
    for name, label in PLOTS.items():
        (folder / f"{name}.svg").write_text(standalone(page, label, style), encoding="utf-8")


if __name__ == "__main__":
    main()
