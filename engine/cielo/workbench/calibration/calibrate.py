"""Fitting the confidence of a bundle's links on annotated mentions, and keeping it in the bundle."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from cielo import schema
from cielo.bundle.calibration import Calibrations, KeptCalibration
from cielo.bundle.layout import CALIBRATION, Bundle
from cielo.bundle.writing import amend
from cielo.errors import BundleError
from cielo.link.confidence import LEAST_PROVEN
from cielo.link.linker import Linker
from cielo.link.progress import Told
from cielo.link.resolver import features_of
from cielo.options import LinkOptions
from cielo.records import Decoding
from cielo.workbench.calibration.fit import fit
from cielo.workbench.calibration.quality import reliability
from cielo.workbench.evaluation.records import Corpus
from cielo.workbench.evaluation.run import Run, link_corpus
from cielo.workbench.evaluation.scores import is_right
from cielo.workbench.evaluation.summary import corpus_hash


def calibrate(
    linker: Linker,
    corpus: Corpus,
    decodings: Sequence[Decoding],
    *,
    outside: Corpus | None = None,
    progress: Told | None = None,
) -> Calibrations:
    """Return the calibrations of each decoding, each with what it is worth on mentions left out.

    Args:
        linker: of the bundle.
        corpus: annotated mentions, which the bundle's model was not trained on; see `run.linkable`.
        decodings: the searches.
        outside: mentions that mean no concept of the knowledge base (`read_outside`); None: there are none.
        progress: is told how many more mentions are linked, of all in each decoding.

    Raises:
        CalibrationError: where the mentions are not enough for one.
    """
    if outside is not None:
        corpus = replace(corpus, mentions=(*corpus.mentions, *outside.mentions))
    data = corpus_hash(corpus)
    found = {}
    for decoding in decodings:
        options = LinkOptions(decoding=decoding, proven=LEAST_PROVEN)  # by default one alone, where there is none yet
        run = link_corpus(linker, corpus, decoding, options=options, progress=progress)
        found[decoding] = _calibration(run, data)
    return found


def _calibration(run: Run, data: str) -> KeptCalibration:
    found = [(features_of(link), outcome) for link, outcome in zip(run.links, run.outcomes, strict=True)]
    linked = [(features, outcome) for features, outcome in found if features is not None]
    features = [entry for entry, _ in linked]
    right = [is_right(outcome) for _, outcome in linked]
    texts = [outcome.annotated.mention.text for _, outcome in linked]
    model = fit(features, right)
    worth = reliability(features, right, texts, data=data)
    outside = sum(not outcome.annotated.codes for _, outcome in linked)
    return KeptCalibration(model, replace(worth, outside=outside))


def write_calibrated(bundle: Bundle, output: Path, calibrations: Calibrations, *, overwrite: bool = False) -> Bundle:
    """Write the bundle with calibrations in the directory `output`; those of other searches stay.

    Raises:
        BundleError: where `output` stands already, or cannot be written.
    """
    content = schema.encode({**bundle.calibrations(), **calibrations})
    try:
        return amend(bundle, output, {CALIBRATION: content}, overwrite=overwrite)
    except OSError as error:  # what stands there cannot be replaced (a mount point, say), or the disk is full
        raise BundleError(f"{output} cannot be written ({error.strerror}); name another output") from error
