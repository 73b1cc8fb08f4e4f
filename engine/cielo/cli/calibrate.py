"""``cielo calibrate``: what a confidence is worth, fitted on annotated mentions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from cielo.bundle.calibration import Reliability
from cielo.bundle.layout import Bundle
from cielo.cli import corpora
from cielo.cli.base import console, echo, main
from cielo.cli.linkers import open_linker
from cielo.cli.options import ALLOW_UNVERIFIED, VERIFY, BundlePath, language_option, model_options, searched
from cielo.cli.outputs import OVERWRITE, Output, check_outputs
from cielo.cli.progress import Progress
from cielo.text.language import numeral, say


@main.command()
@click.argument("bundle", type=BundlePath())
@click.argument("corpus", type=click.Path(path_type=Path))
@click.option(
    "--output",
    required=True,
    type=Output(path_type=Path),
    help="Directory of the calibrated bundle; with --overwrite it may be BUNDLE itself.",
)
@OVERWRITE
@click.option(
    "--outside",
    type=click.Path(path_type=Path),
    help="A table (text, sentence, kind) of mentions that mean no concept of BUNDLE's: no answer to them is right.",
)
@click.option(
    "--decoding",
    "decodings",
    multiple=True,
    type=click.Choice(["published", "probable", "constrained"]),
    help="Default: the bundle's own. May be repeated.",
)
@ALLOW_UNVERIFIED
@VERIFY
@corpora.CORPUS
@corpora.SPLIT
@corpora.rows_options
@corpora.CODE_MAP
@language_option
@model_options
def calibrate(
    bundle: Path,
    corpus: Path,
    output: Path,
    overwrite: bool,
    outside: Path | None,
    decodings: tuple[Any, ...],
    form: str | None,
    split: str | None,
    code_map: Path | None,
    **opening: Any,
) -> None:
    """Fit the confidence of BUNDLE's links on the annotated mentions of CORPUS, and keep it in a bundle.

    The mentions should be of the kind that is to be coded, and not those that the model was trained on.
    """
    from cielo.workbench.calibration.calibrate import calibrate as fit
    from cielo.workbench.calibration.calibrate import write_calibrated
    from cielo.workbench.calibration.outside import read_outside
    from cielo.workbench.evaluation.run import linkable

    check_outputs(overwrite=overwrite, besides=("bundle",))
    mapped, rows = corpora.read_map(code_map), corpora.rows_reading(opening)
    corpora.refuse_idle_options([corpus], form, rows)
    annotated = corpora.read(corpus, form, split, mapped, rows)
    others = None if outside is None else read_outside(outside)
    opening["decoding"] = searched(decodings)
    with open_linker(bundle=bundle, cache=False, **opening) as linker:
        annotated = linkable(annotated, linker)
        corpora.require_mentions(annotated, corpora.NONE_LINKABLE)
        corpora.report_unknown([annotated], linker.knowledge_base)
        if others is not None:
            others = linkable(others, linker)
            corpora.require_mentions(others, corpora.NONE_LINKABLE)
        chosen = decodings or (linker.provenance().decoding,)
        mentions = len(annotated.mentions) + (0 if others is None else len(others.mentions))
        with Progress(say("linking"), len(chosen) * mentions) as progress:
            found = fit(linker, annotated, chosen, outside=others, progress=progress.advance)
        progress.show_summary()
    for decoding, entry in found.items():
        _show_reliability(decoding, entry.reliability)
    written = write_calibrated(Bundle.open(bundle), output, found, overwrite=overwrite)
    made = say("bundle {name}", name=f"{written.name}@{written.sha256[:12]}")
    echo(f"{click.format_filename(written.path)}: {made}")
    corpora.report_skipped([annotated, *([] if others is None else [others])], mapped)


def _show_reliability(decoding: str, worth: Reliability) -> None:
    from rich.table import Table

    calibrated, raw = worth.calibrated, worth.raw
    outside = numeral(f"{worth.outside:,}")
    among = say(" ({count} of them to mentions outside of the knowledge base)", count=outside) if worth.outside else ""
    title = say(
        "{decoding}: confidence of {count} links{among}, each by a calibration that did not see its text; calibration "
        "error {error} (of the bare probability {bare})",
        decoding=decoding,
        count=numeral(f"{worth.mentions:,}"),
        among=among,
        error=numeral(f"{calibrated.expected_calibration_error:.3f}"),
        bare=numeral(f"{raw.expected_calibration_error:.3f}"),
    )
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in (say("confidence"), say("mean"), say("right"), say("mentions")):
        table.add_column(name, justify="right")
    for entry in calibrated.bins:
        span, *figures = (
            numeral(words)
            for words in (f"{entry.low:.3f}-{entry.high:.3f}", f"{entry.confidence:.3f}", f"{entry.accuracy:.3f}")
        )
        table.add_row(span, *figures, str(entry.count))
    out = console()
    out.print(title)
    out.print(table)
