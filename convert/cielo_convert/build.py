"""The conversion, step by step: a recipe in, a bundle out that has passed the parity gate, or an error and nothing."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from cielo.bundle.layout import ENCODER, GENERATOR, INDEX, KNOWLEDGE_BASE, PARITY, Bundle, write_manifest, writing
from cielo.errors import ParityError
from cielo.generation.backends import backend
from cielo.generation.capabilities import resolve_device
from cielo.knowledge.building import Built, RejectedRow, build_knowledge_base
from cielo.knowledge.reading import KnowledgeBase
from cielo.link.linker import Linker
from cielo.parity.checks import Check, run_checks
from cielo.records import Decoding
from cielo.retrieval.embedder import Embedder
from cielo.retrieval.index import Index, IndexSettings, load_all, save_all
from cielo.text.tokenizer import Tokenizer
from cielo.workbench.calibration.calibrate import calibrate
from cielo.workbench.evaluation.corpora import read_corpus
from cielo.workbench.evaluation.run import linkable
from cielo.workbench.evaluation.summary import corpus_hash

from cielo_convert.checkpoint import resolve, revision_of
from cielo_convert.encoder import EncoderFacts, convert_encoder
from cielo_convert.generator import GeneratorFacts, convert_generator
from cielo_convert.prompts import hostile_strings, parity_prompts, parity_texts
from cielo_convert.recipe import EncoderRecipe, GeneratorRecipe, Recipe
from cielo_convert.reference import Progress, ReferenceRequest, make_references

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from rich.console import Console

# The index's search is widened until the recipe's recall is reached; where that does not help, the graph is built with
# more links.
_MOST_EF = 512
_GRAPHS = (
    IndexSettings(m=16, ef_construction=200),
    IndexSettings(m=32, ef_construction=400),
    IndexSettings(m=64, ef_construction=800),
)
_EMBEDDED_AT_ONCE = 1024
_REJECTED_SHOWN = 20


@dataclass(frozen=True, slots=True)
class _Sources:
    """The directories of the two checkpoints."""

    generator: Path
    encoder: Path


@dataclass(frozen=True, slots=True)
class _Knowledge:
    """The knowledge base as it was built, and the distinct descriptions of each kind."""

    built: Built
    by_kind: dict[str, list[str]]

    @property
    def descriptions(self) -> list[str]:
        """Every distinct description, in the order of the tables."""
        return list(dict.fromkeys(text for texts in self.by_kind.values() for text in texts))


def build(
    recipe: Recipe,
    output: Path,
    *,
    progress: Progress | None = None,
    rejected: Callable[[Sequence[RejectedRow]], None] | None = None,
    overwrite: bool = False,
) -> Path:
    """Build the bundle of a recipe in the directory `output`.

    Args:
        recipe: what to build.
        output: the new bundle's directory.
        progress: is called with the step's name, how many of its items are done, and how many there are.
        rejected: is called with the rows of the knowledge base's tables that were not taken, if there are any.
        overwrite: replace what stands at `output`, once the new bundle is whole.

    Raises:
        RecipeError: where a file that the recipe names is not there.
        BundleError: where `output` stands already or cannot be written.
        CheckpointError: where a checkpoint cannot be had or is not what the recipe says.
        TableError: where a table cannot be read.
        ParityError: where a check failed; it names each with its figure and its tolerance. Nothing is left behind.
    """
    tell = progress or _silent
    recipe.check_files()
    with writing(output, overwrite=overwrite) as directory:
        tell("checkpoints", 0, 1)
        sources = _resolve(recipe)
        tell("knowledge base", 0, 1)
        knowledge = _build_knowledge_base(recipe, directory / KNOWLEDGE_BASE)
        if rejected and knowledge.built.rejected:
            rejected(knowledge.built.rejected)
        tell("references", 0, 1)
        request = _reference_request(recipe, sources, knowledge)
        make_references(request, directory / PARITY, tell)
        tell("generator", 0, 1)
        generator = _convert_generator(recipe, sources, knowledge, directory / GENERATOR)
        tell("encoder", 0, 1)
        encoder = _convert_encoder(recipe, sources, directory / ENCODER)
        tell("index", 0, 1)
        index = _build_index(recipe, directory, knowledge, request.texts, tell)
        tell("manifest", 0, 1)
        manifest = _manifest(recipe, sources, knowledge, generator, encoder, index)
        bundle = write_manifest(directory, manifest)
        tell("parity", 0, 1)
        bundle = write_manifest(directory, {**manifest, "parity": _pass_gate(bundle, generator)})
        tell("parity", 1, 1)
        if recipe.calibration.mentions is not None:
            tell("calibration", 0, 1)
            _calibrate(bundle, recipe.calibration.mentions, recipe.generator.decoding)
            write_manifest(directory, bundle.manifest)
            tell("calibration", 1, 1)
    return output


def _silent(step: str, done: int, total: int) -> None:
    """Draw no progress."""


def _resolve(recipe: Recipe) -> _Sources:
    base = recipe.path.absolute().parent
    return _Sources(
        generator=resolve(recipe.generator.checkpoint, recipe.generator.revision, base),
        encoder=resolve(recipe.encoder.checkpoint, recipe.encoder.revision, base),
    )


def _build_knowledge_base(recipe: Recipe, path: Path) -> _Knowledge:
    settings = recipe.knowledge_base
    built = build_knowledge_base(
        path,
        [table.code_table() for table in settings.tables],
        edition=settings.edition,
        systems=settings.systems(),
        subset=settings.subset(),
    )
    base = KnowledgeBase(path)
    try:
        return _Knowledge(built, {kind: base.descriptions(kind) for kind in base.kinds})
    finally:
        base.close()


def _reference_request(recipe: Recipe, sources: _Sources, knowledge: _Knowledge) -> ReferenceRequest:
    parity, prompt = recipe.parity, recipe.prompt
    prompts = parity_prompts(parity.mentions, parity.prompts, prepare=prompt.prepare_sentence, window=prompt.window)
    return ReferenceRequest(
        generator=sources.generator,
        encoder=sources.encoder,
        prompts=prompts,
        strings=hostile_strings(knowledge.descriptions, prompts),
        texts=parity_texts(knowledge.descriptions),
        descriptions=knowledge.descriptions,
        restricted=recipe.generator.vocabulary == "knowledge-base",
        pooling=recipe.encoder.pooling,
        max_source_tokens=recipe.generator.max_source_tokens,
        max_tokens=recipe.encoder.max_tokens,
    )


def _convert_generator(recipe: Recipe, sources: _Sources, knowledge: _Knowledge, output: Path) -> GeneratorFacts:
    kept = knowledge.descriptions if recipe.generator.vocabulary == "knowledge-base" else None
    facts = convert_generator(sources.generator, output, recipe.generator.quantization, kept)
    refuse_failed(facts.checks)  # before the hour that the rest can take
    return facts


def _convert_encoder(recipe: Recipe, sources: _Sources, output: Path) -> EncoderFacts:
    settings = recipe.encoder
    return convert_encoder(
        sources.encoder, output, settings.precision, settings.pooling, settings.max_tokens, fused=settings.fused
    )


def _build_index(
    recipe: Recipe, directory: Path, knowledge: _Knowledge, queries: list[str], tell: Progress
) -> dict[str, Any]:
    """Embed the descriptions, build and write one graph for each kind, and return the manifest's entry."""
    tokenizer = Tokenizer(directory / ENCODER / "tokenizer.json", recipe.encoder.max_tokens)
    embedder = Embedder(directory / ENCODER / "model.onnx", tokenizer)
    try:
        asked = embedder.embed(queries)
        vectors = {
            kind: _embed(embedder, texts, f"vectors ({kind})", tell) for kind, texts in knowledge.by_kind.items()
        }
    finally:
        embedder.close()
    dimension = recipe.index.dimension
    reduced = dimension if dimension is None or dimension < embedder.dimension else None
    for graph in _GRAPHS:
        shutil.rmtree(directory / INDEX, ignore_errors=True)
        settings = replace(graph, dimension=reduced)
        save_all(_graphs(knowledge, vectors, settings, tell), directory / INDEX)
        settings, recall = _wide_enough(directory / INDEX, asked, settings, recipe.index.recall)
        if recall >= recipe.index.recall:
            break
    return {**settings.to_dict(), "recall_at_1": recall, "max_distance": recipe.index.max_distance}


def _graphs(
    knowledge: _Knowledge, vectors: dict[str, NDArray[np.float32]], settings: IndexSettings, tell: Progress
) -> dict[str, Index]:
    indexes = {}
    for done, (kind, texts) in enumerate(knowledge.by_kind.items()):
        tell("index", done, len(knowledge.by_kind))
        indexes[kind] = Index.build(texts, vectors[kind], settings)
    tell("index", len(indexes), len(indexes))
    return indexes


def _embed(embedder: Embedder, texts: list[str], step: str, tell: Progress) -> NDArray[np.float32]:
    """Return the vectors of texts, and report the progress: a whole terminology can take an hour."""
    vectors = np.empty((len(texts), embedder.dimension), dtype=np.float32)
    for start in range(0, len(texts), _EMBEDDED_AT_ONCE):
        tell(step, start, len(texts))
        part = slice(start, start + _EMBEDDED_AT_ONCE)
        vectors[part] = embedder.embed(texts[part])
    tell(step, len(texts), len(texts))
    return vectors


def _wide_enough(
    index: Path, queries: NDArray[np.float32], settings: IndexSettings, wanted: float
) -> tuple[IndexSettings, float]:
    """Return the settings of the narrowest search that reaches a recall@1, and that recall; the gate judges it."""
    while True:
        graphs = load_all(index, settings.ef, settings.rescored)
        recall = min(graph.recall_at_1(queries) for graph in graphs.values())
        wider = _wider(settings)
        if recall >= wanted or wider.ef > _MOST_EF:
            return settings, recall
        settings = wider


def _wider(settings: IndexSettings) -> IndexSettings:
    """Return the next wider search: the breadth is doubled, and in turn with it the number of re-scored, if any are."""
    if settings.dimension and settings.ef > 2 * settings.rescored:
        return replace(settings, rescored=2 * settings.rescored)
    return replace(settings, ef=2 * settings.ef)


def _manifest(
    recipe: Recipe,
    sources: _Sources,
    knowledge: _Knowledge,
    generator: GeneratorFacts,
    encoder: EncoderFacts,
    index: dict[str, Any],
) -> dict[str, Any]:
    base = recipe.knowledge_base
    return {
        "name": recipe.name,
        "licence": recipe.licence,
        "sources": {
            "generator": _source(recipe.generator, sources.generator, generator.weights),
            "encoder": _source(recipe.encoder, sources.encoder, encoder.weights),
        },
        "prompt": {"prepare_sentence": recipe.prompt.prepare_sentence, "window": recipe.prompt.window},
        "generator": {
            "compute_type": generator.compute_type,
            "vocabulary": recipe.generator.vocabulary,
            "decoding": recipe.generator.decoding,
            "max_source_tokens": recipe.generator.max_source_tokens,
            "own_head": generator.own_head,
            "source_tokens": generator.source_tokens,
            "target_tokens": generator.target_tokens,
            "shape": asdict(generator.shape),
        },
        "encoder": {
            "dimension": encoder.dimension,
            "precision": encoder.precision,
            "pooling": encoder.pooling,
            "max_tokens": encoder.max_tokens,
        },
        "knowledge_base": {
            "edition": base.edition,
            "concepts": knowledge.built.summary.concepts,
            "descriptions": knowledge.built.summary.descriptions,
            "systems": knowledge.built.systems,
            "tables": [asdict(source) for source in knowledge.built.sources],
        },
        "index": index,
        "tolerances": {"index.recall": recipe.index.recall, **recipe.parity.tolerances},
        "parity": {},
    }


def _source(named: GeneratorRecipe | EncoderRecipe, directory: Path, weights: dict[str, str]) -> dict[str, Any]:
    # A directory's place on the machine that built the bundle is nobody else's business.
    name = Path(named.checkpoint).name if Path(named.checkpoint).is_absolute() else named.checkpoint
    revision = revision_of(directory) or named.revision
    return {"name": name, "revision": revision, "sha256": _joint_hash(weights), "files": weights}


def _joint_hash(weights: dict[str, str]) -> str:
    """The hash of the only weight file, or of the list of names and hashes where there are several."""
    if len(weights) == 1:
        return next(iter(weights.values()))
    listing = "".join(f"{name} {digest}\n" for name, digest in sorted(weights.items()))
    return hashlib.sha256(listing.encode()).hexdigest()


def _pass_gate(bundle: Bundle, generator: GeneratorFacts) -> dict[str, dict[str, Any]]:
    """Run the parity gate on each device here that runs the compute type; return the manifest's figures.

    Raises:
        ParityError: where a check failed.
    """
    compute_type = generator.compute_type
    early = [check.to_dict() for check in generator.checks]
    devices = _devices_that_run(compute_type)
    if not devices:
        # Written, and for the machine that can run it to verify: `Linker.open` refuses it until then.
        return {f"{device}/{compute_type}": {"status": "unverified", "checks": early} for device in ("cpu", "cuda")}
    figures = {}
    for device in devices:
        report = run_checks(bundle, device=device, compute_type=compute_type)
        refuse_failed(report.checks)
        figures[report.key] = {**report.to_dict(), "checks": [*early, *(check.to_dict() for check in report.checks)]}
    return figures


def _calibrate(bundle: Bundle, mentions: Path, decoding: Decoding) -> None:
    """Fit the confidence on annotated mentions, and write it into the bundle."""
    corpus = read_corpus(mentions)
    with Linker.open(bundle.path, device="cpu", cache=False) as linker:
        corpus = linkable(corpus, linker)
        found = calibrate(linker, corpus, [decoding], data=corpus_hash(corpus))
    bundle.calibration.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def _devices_that_run(compute_type: str) -> list[str]:
    devices = dict.fromkeys(("cpu", resolve_device(backend(), "auto")))
    return [device for device in devices if compute_type in backend().runnable_compute_types(device)]


def refuse_failed(checks: Iterable[Check]) -> None:
    """Raise where checks failed.

    Raises:
        ParityError: naming each failed check with its figure and its tolerance.
    """
    failed = [check for check in checks if not check.passed]
    if failed:
        lines = "".join(f"\n  {_verdict(check)}" for check in failed)
        raise ParityError(
            f"{len(failed)} check(s) against float32 PyTorch failed, and no bundle was written:{lines}\n"
            "  use a wider quantization or precision, or set [parity.tolerances] in the recipe knowingly"
        )


def _verdict(check: Check) -> str:
    return f"{check.name}: got {check.figure:.6g}, expected {check.comparison} {check.tolerance:g} ({check.detail})"


def run_with_progress(recipe: Path, output: Path, *, overwrite: bool, console: Console) -> Bundle:
    """Build the bundle of the recipe file `recipe`, draw the progress on `console`, and return the opened bundle."""
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bars

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    loaded = Recipe.load(recipe)
    with Bars(*columns, console=console) as bars:
        tasks: dict[str, Any] = {}

        def draw(step: str, done: int, total: int) -> None:
            for name, task in tasks.items():
                if name != step and not bars.tasks[task].finished:
                    bars.update(task, completed=bars.tasks[task].total)
            if step not in tasks:
                tasks[step] = bars.add_task(step, total=total)
            bars.update(tasks[step], completed=done, total=total)

        def tell(rows: Sequence[RejectedRow]) -> None:
            for row in rows[:_REJECTED_SHOWN]:
                bars.console.print(f"rejected: {row.table}, line {row.line}: {row.reason}", markup=False)
            if len(rows) > _REJECTED_SHOWN:
                more = f"{len(rows) - _REJECTED_SHOWN:,} more; `cielo kb build --rejected FILE` writes all"
                bars.console.print(f"rejected: {more}", markup=False)

        built = build(loaded, output, progress=draw, rejected=tell, overwrite=overwrite)
    return Bundle.open(built)
