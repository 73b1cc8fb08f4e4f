"""The mini's decodings: which is right more often, how sure each may be, and what int8 changes.

``python -m benchmarks.decodings --float32 BUNDLE --int8 BUNDLE --output FILE``, of two bundles whose ONNX generator is
float32 and int8. Everything is fitted on the development mentions, and read off the held-out ones. ``--brief`` asks
what int8 changes alone: ONNX Runtime's three decodings in both compute types, over all codes.
"""

from __future__ import annotations

import csv
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click
import numpy as np
from cielo import schema
from cielo.bundle.calibration import Calibration
from cielo.knowledge.subsets import Subset
from cielo.link.confidence import Features, confidence
from cielo.link.linker import Linker
from cielo.link.resolver import features_of
from cielo.options import LinkOptions
from cielo.text.normal import fold_spaces
from cielo.workbench.bench.system import describe_system
from cielo.workbench.calibration.fit import fit
from cielo.workbench.calibration.outside import read_outside
from cielo.workbench.calibration.quality import quality
from cielo.workbench.evaluation.bootstrap import accuracy_interval, compare
from cielo.workbench.evaluation.corpora import read_corpus
from cielo.workbench.evaluation.records import Corpus, Outcome
from cielo.workbench.evaluation.run import Run, link_corpus
from cielo.workbench.evaluation.scores import is_right, kind_name, score, score_by, seen_name

MINI = Path(__file__).parents[1] / "models" / "mini"
SETS = ("dev", "heldout")
SUBSETS = {"leaf": Subset(leaf=True), "chapter I": Subset(chapters=frozenset({"I"}))}
BRIEF = ("published", "probable", "constrained, 2 proven")
PLAIN, PROVEN = "ctranslate2 probable", "onnx constrained, 2 proven"


@dataclass(frozen=True, slots=True)
class Way:
    """A bundle's backend and a decoding of it."""

    bundle: Path
    compute_type: str
    backend: str
    options: LinkOptions
    name: str


def ways(float32: Path, int8: Path) -> Iterator[Way]:
    """Yield what is compared: CTranslate2's beams, and all decodings of ONNX Runtime in both compute types."""
    for decoding in ("greedy", "published", "probable"):
        yield Way(float32, "float32", "ctranslate2", LinkOptions(decoding=decoding), f"ctranslate2 {decoding}")
    for bundle, compute_type in ((float32, "float32"), (int8, "int8")):
        mark = " int8" if compute_type == "int8" else ""
        for decoding in ("greedy", "published", "probable"):
            options = LinkOptions(decoding=decoding)
            yield Way(bundle, compute_type, "onnx", options, f"onnx{mark} {decoding}")
        for proven in (1, 2, 5):
            options = LinkOptions(decoding="constrained", proven=proven)
            yield Way(bundle, compute_type, "onnx", options, f"onnx{mark} constrained, {proven} proven")


def trained() -> frozenset[str]:
    """Return the mentions that the mini was trained on."""
    found: set[str] = set()
    for path in sorted((MINI / "terms").glob("*.tsv")):
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE):
                found.update(fold_spaces(text) for text in [row["description"], *row["mentions"].split("|")])
    return frozenset(found)


def is_right_exactly(outcome: Outcome) -> bool:
    """Tell whether the answer is right without a neighbour's help: what PLI counts."""
    return outcome.method == "exact" and is_right(outcome)


def figures(run: Run) -> dict[str, Any]:
    """Return the scores of a run, in percent, what it took, and what it proved."""
    proofs = [link.proof for link in run.links if link.proof is not None]
    passes = [proof.passes for proof in proofs]
    return {
        "mentions": len(run.outcomes),
        "pli": accuracy_interval(run.outcomes, is_right_exactly),
        "plii": accuracy_interval(run.outcomes),
        "recall_at_5": score(run.outcomes).recall_at_5,
        "answered": score(run.outcomes).coverage,
        "kinds": {name: (entry.count, entry.accuracy) for name, entry in score_by(run.outcomes, kind_name).items()},
        "seen": {name: (entry.count, entry.accuracy) for name, entry in score_by(run.outcomes, seen_name).items()},
        "ms_a_mention": 1000 * (run.seconds or 0.0) / len(run.outcomes),
        "passes": {"mean": statistics.fmean(passes), "median": statistics.median(passes), "most": max(passes)}
        if passes
        else None,
        "exact": statistics.fmean(proof.exact for proof in proofs) if proofs else None,
    }


def scored(runs: Mapping[str, Run]) -> dict[str, Any]:
    """Return the figures of the runs on mentions that have a code."""
    return {name: figures(run) for name, run in runs.items() if not name.startswith("outside")}


def restricted(linker: Linker, corpus: Corpus, options: LinkOptions) -> dict[str, Run]:
    """Return runs over the mentions whose code is among those of a subset, answered from that subset alone."""
    found = {}
    for name, subset in SUBSETS.items():
        run = link_corpus(linker, corpus, name, options=replace(options, subset=subset))
        kept = [number for number, outcome in enumerate(run.outcomes) if outcome.known]
        found[name] = replace(
            run,
            outcomes=tuple(run.outcomes[number] for number in kept),
            links=tuple(run.links[number] for number in kept),
            seconds=(run.seconds or 0.0) * len(kept) / len(run.outcomes),
        )
    return found


def versus(first: Run, second: Run) -> dict[str, Any]:
    """Return the paired comparison of a run with another."""
    return {
        "against": first.name,
        "pli": compare(first.outcomes, second.outcomes, is_right_exactly),
        "plii": compare(first.outcomes, second.outcomes),
        "same_code": statistics.fmean(
            one.code == other.code for one, other in zip(first.outcomes, second.outcomes, strict=True)
        ),
    }


# --- confidence ----------------------------------------------------------------------------------------------------


def linked(run: Run, *, proof: bool) -> tuple[list[Features], list[bool]]:
    """Return the features of the links that have a code, with the terms of the proof or not, and which are right."""
    found: list[Features] = []
    right: list[bool] = []
    for link, outcome in zip(run.links, run.outcomes, strict=True):
        features = features_of(link)
        if features is not None:
            found.append(features if proof else replace(features, mass=None, behind=None))
            right.append(is_right(outcome))
    return found, right


def told(model: Calibration, runs: Sequence[Run], *, proof: bool) -> dict[str, Any]:
    """Return what a calibration is worth on runs that it was not fitted on."""
    pairs = [linked(run, proof=proof) for run in runs]
    said = [confidence(model, features) for found, _ in pairs for features in found]
    right = [good for _, rights in pairs for good in rights]
    worth = quality(said, right)
    good, bad = (np.array([value for value, is_good in zip(said, right, strict=True) if is_good is one])
                 for one in (True, False))  # fmt: skip
    above = float((good[:, None] > bad).mean() + (good[:, None] == bad).mean() / 2) if len(good) and len(bad) else None
    return {
        "links": len(said),
        "calibration_error": worth.expected_calibration_error,
        "brier": worth.brier,
        "log_loss": worth.log_loss,
        "right_above_wrong": above,
    }


def surely(model: Calibration, run: Run, *, proof: bool) -> dict[str, int]:
    """Count mentions outside of the knowledge base that get an answer, and one that is called likely."""
    said = [confidence(model, features) for features in linked(run, proof=proof)[0]]
    return {
        "mentions": len(run.outcomes),
        "answered": len(said),
        "above_0.5": sum(value > 0.5 for value in said),
        "above_0.9": sum(value > 0.9 for value in said),
    }


def confidences(runs: Mapping[str, Run], *, proof: bool) -> dict[str, Any]:
    """Return what the confidence of one way is worth, fitted with and without mentions outside of the knowledge base.

    Args:
        runs: on ``dev``, ``heldout``, ``outside-dev`` and ``outside-heldout``.
        proof: whether the terms of the proof are used.
    """
    found: dict[str, Any] = {}
    for name, fitted_on in (("without", ["dev"]), ("with", ["dev", "outside-dev"])):
        pairs = [linked(runs[one], proof=proof) for one in fitted_on]
        model = fit([one for found, _ in pairs for one in found], [one for _, right in pairs for one in right])
        found[f"fitted {name} outside mentions"] = {
            "model": model,
            "heldout": told(model, [runs["heldout"]], proof=proof),
            "heldout and outside": told(model, [runs["heldout"], runs["outside-heldout"]], proof=proof),
            "outside": surely(model, runs["outside-heldout"], proof=proof),
            "heldout right above 0.5, 0.9": [
                statistics.fmean(
                    features is not None
                    and confidence(model, features if proof else replace(features, mass=None, behind=None)) > least
                    and is_right(outcome)
                    for features, outcome in (
                        (features_of(link), outcome)
                        for link, outcome in zip(runs["heldout"].links, runs["heldout"].outcomes, strict=True)
                    )
                )
                for least in (0.5, 0.9)
            ],
        }
    return found


@click.command()
@click.option("--float32", type=click.Path(path_type=Path), required=True)
@click.option("--int8", type=click.Path(path_type=Path), required=True)
@click.option("--output", type=click.Path(path_type=Path), required=True)
@click.option("--rows", type=click.IntRange(60), help="Of each table; default: all.")
@click.option("--brief", is_flag=True, help="What int8 changes alone.")
def main(float32: Path, int8: Path, output: Path, rows: int | None, brief: bool) -> None:
    """Run all decodings on the mini's mentions, and write the figures as JSON."""
    seen = trained()
    corpora = {name: Corpus(read_corpus(MINI / f"{name}.tsv").mentions[:rows]) for name in SETS}
    corpora |= {name: read_outside(MINI / f"{name}.tsv") for name in ("outside-dev", "outside-heldout")}
    runs: dict[str, dict[str, Run]] = {}
    asked = [way for way in ways(float32, int8) if not brief or (way.backend == "onnx" and way.name.endswith(BRIEF))]
    for way in asked:
        with Linker.open(way.bundle, backend=way.backend, device="cpu", decoding=way.options.decoding,
                         cache=False) as linker:  # fmt: skip
            link_corpus(linker, Corpus(corpora["dev"].mentions[:32]), "warm", options=way.options)
            runs[way.name] = {
                name: link_corpus(linker, corpus, way.name, seen, way.options) for name, corpus in corpora.items()
            }
            if way.options.proven in (None, 2) and not brief:
                runs[way.name] |= restricted(linker, corpora["heldout"], way.options)
        click.echo(f"{way.name:<30}" + "".join(f"{score(runs[way.name][one].outcomes).accuracy:8.2f}" for one in SETS))
    found = {
        "system": describe_system(),
        "runs": {way: scored(parts) for way, parts in runs.items()},
        "against_probable": {
            way: {name: versus(runs[PLAIN][name], parts[name]) for name in (*SETS, *SUBSETS) if name in parts}
            for way, parts in runs.items()
            if way != PLAIN and not brief
        },
        "int8_against_float32": {
            way: {name: versus(runs[way.replace(" int8", "")][name], parts[name]) for name in SETS}
            for way, parts in runs.items()
            if "int8" in way
        },
        "confidence": {
            **({} if brief else {PLAIN: confidences(runs[PLAIN], proof=False)}),
            f"{PROVEN}, without the terms of the proof": confidences(runs[PROVEN], proof=False),
            **{way: confidences(runs[way], proof=True) for way in runs if way.endswith(("2 proven", "5 proven"))},
        },
    }
    output.write_bytes(schema.encode(found))


if __name__ == "__main__":
    main()
