"""The model card's figures beside those of a run, and in what the run is not what the card describes.

The figures are those of https://huggingface.co/ezotova/medical-mt5-clinical-el-spanish: PLI and PLII on the test split
of CodiEsp, with their spreads as it gives them; unseen are mentions whose text does not occur in training. The paper's
script (https://github.com/Vicomtech/generative-clinical-entity-linking) takes the train and the dev split for that.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from cielo.bundle.manifest import Manifest
from cielo.said import Said
from cielo.workbench.evaluation.corpora.codiesp import splits_of
from cielo.workbench.evaluation.corpora.splits import split_of
from cielo.workbench.evaluation.results import CardComparison, CardScore, Evaluation, RunScores

MODEL = "ezotova/medical-mt5-clinical-el-spanish"
_BUNDLE = "medical-mt5-large"  # the recipe's name
_TABLES = ("ICD10_diagnosticos_2020.tsv", "ICD10_procedimientos_2020.tsv")
_MENTIONS = 4_777
_CARD = (
    ("pli", "all", 70.46, 0.32), ("plii", "all", 77.04, 0.35), ("pli", "unseen", 42.46, 1.46),
    ("plii", "unseen", 53.49, 1.34),
)  # fmt: skip
TRAINING = ("train", "dev")


def training_beside(path: Path) -> list[Path]:
    """Return the files of the train and dev splits that lie beside a corpus.

    Args:
        path: a folder or an X file of CodiEsp, or a file in whose name the word ``test`` stands.
    """
    folders = [path] if path.is_dir() else [path.parent, path.absolute().parent.parent]
    if path.is_dir() or path.name.endswith("X.tsv"):
        found = next((found for folder in folders if len(found := splits_of(folder)) > 1), {})
        return [file for name, file in found.items() if split_of(file, name) in TRAINING]
    if "test" not in path.name:
        return []
    others = [path.with_name(path.name.replace("test", name)) for name in TRAINING]
    return [file for file in others if file.is_file()]


def compare_with_card(evaluation: Evaluation, manifest: Manifest) -> CardComparison:
    """Return the card's figures beside those of the first run.

    Args:
        evaluation: of a bundle.
        manifest: of that bundle.
    """
    run, machine = evaluation.runs[0], evaluation.about.machine
    scores = tuple(
        CardScore(
            measure=measure.upper(),
            split=part,
            card=card,
            spread=spread,
            measured=getattr(run.splits[part], measure) if part in run.splits else None,
        )
        for measure, part, card, spread in _CARD
    )
    where = (
        "" if machine is None else Said("{processor}, {count} cores", processor=machine.processor, count=machine.cores)
    )
    return CardComparison(
        run=run.name,
        model=MODEL,
        scores=scores,
        seconds=run.seconds,
        hardware=where,
        differences=(*_of_the_bundle(run, manifest), *_of_the_run(run), *_of_the_corpus(evaluation)),
    )


def _of_the_bundle(run: RunScores, manifest: Manifest) -> Iterator[str]:
    generator = manifest.sources.get("generator")
    made_from = "nobody says what" if generator is None else generator.name
    if manifest.name != _BUNDLE or made_from != MODEL:
        yield Said(
            "the bundle is {name}, made from {source}; the card's model is {model}",
            name=manifest.name, source=made_from, model=MODEL,
        )  # fmt: skip
    base = manifest.knowledge_base
    if {table.name for table in base.tables} != set(_TABLES):
        yield Said(
            "the edition is {edition}, {count:,} descriptions; the paper's tables are {first} and {second}",
            edition=base.edition, count=base.descriptions, first=_TABLES[0], second=_TABLES[1],
        )  # fmt: skip
    if run.settings.compute_type != "float32":
        yield Said("the compute type is {type}; the card's figures are of float32", type=run.settings.compute_type)
    if manifest.generator.vocabulary != "full":
        yield Said("outputs are kept to the tokens of the knowledge base's descriptions; the card's are free")
    if manifest.prompt.window is not None:
        yield Said(
            "prompts show {count} characters around a mention; the card's whole sentences", count=manifest.prompt.window
        )


def _of_the_run(run: RunScores) -> Iterator[str]:
    settings = run.settings
    for name, value, card in (
        ("decoding", settings.decoding, "published"),
        ("matching", settings.matching, "published"),
        ("pipeline", settings.pipeline, "II"),
    ):
        if value != card:
            yield Said("{setting} is {value}; the card's is {card}", setting=Said(name), value=value, card=card)
    if settings.rerank or settings.subset is not None or settings.min_confidence is not None or settings.lexicon:
        yield Said("a lexicon, re-ranking, a subset or a threshold was asked for; the card has none")


def _of_the_corpus(evaluation: Evaluation) -> Iterator[str]:
    corpus, gold = evaluation.corpus, evaluation.gold
    if corpus.mentions != _MENTIONS or corpus.split != "test":
        counts = {"count": corpus.mentions, "most": _MENTIONS}
        if corpus.split is None:
            yield Said(
                "the corpus has {count:,} mentions, of no split that names tell; CodiEsp's test split has {most:,}",
                **counts,
            )
        else:
            yield Said(
                "the corpus has {count:,} mentions, of the split {split}; CodiEsp's test split has {most:,}",
                split=corpus.split, **counts,
            )  # fmt: skip
    if not evaluation.about.training:
        yield Said("no training mentions were given or found beside the corpus: what is unseen is not known")
    if gold is not None and gold.all.unknown:
        yield Said("the knowledge base holds the right code of {share:.2f} % of the mentions", share=gold.ceiling)
