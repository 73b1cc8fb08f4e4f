"""The plots of an evaluation as files: ``python -m benchmarks.evaluation_plots evaluation.json benchmarks/results``.

``evaluation.json`` is what ``cielo evaluate --json`` prints; the plots are those of its page, each a file of its own.
"""

from __future__ import annotations

from pathlib import Path

import click
from cielo.workbench.evaluation.results import from_json
from cielo.workbench.evaluation.views import reliability_view, withholding_view
from cielo.workbench.page.canvas import Picture


def pictures(evaluation: Path) -> dict[str, Picture]:
    """Return the plots of an evaluation, by the names of their files; those that it has no figures for are left out.

    Raises:
        TableError: where `evaluation` does not hold one.
    """
    told = from_json(evaluation.read_bytes())
    found: dict[str, Picture] = {}
    if withholding := withholding_view(told.runs):
        found["coverage"] = withholding.picture
    for decoding, reliability in told.calibration.items():
        found.setdefault("reliability", reliability_view(decoding, reliability).picture)
    return found


@click.command()
@click.argument("evaluation", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
def main(evaluation: Path, folder: Path) -> None:
    """Write the plots of EVALUATION into FOLDER."""
    for name, picture in pictures(evaluation).items():
        (folder / f"{name}.svg").write_text(picture.standalone(), encoding="utf-8")


if __name__ == "__main__":
    main()
