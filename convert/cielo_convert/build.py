"""The conversion, step by step: a recipe in, a bundle out that has passed the parity gate, or an error and nothing."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from cielo import schema
from cielo.bundle.calibration import Calibrations
from cielo.bundle.indexing import WantedIndex, build_index
from cielo.bundle.layout import Bundle, Layout
from cielo.bundle.manifest import (
    EncoderSection,
    GeneratorSection,
    IndexSection,
    KnowledgeBaseSection,
    Manifest,
    PromptSettings,
    SourceModel,
)
from cielo.bundle.trie import build_trie
from cielo.bundle.writing import write_manifest, writing
from cielo.generation.backends import running
from cielo.knowledge.building import BuiltKnowledgeBase, RejectedCode, build_knowledge_base
from cielo.knowledge.code_systems import parse_code_system
from cielo.knowledge.reading import KnowledgeBase
from cielo.link.linker import Linker
from cielo.parity.gate import pass_gate, refuse_failed
from cielo.parity.texts import parity_texts
from cielo.workbench.calibration.calibrate import calibrate
from cielo.workbench.calibration.outside import read_outside
from cielo.workbench.evaluation.corpora import read_corpus
from cielo.workbench.evaluation.run import linkable

from cielo_convert.encoder import EncoderFacts, convert_encoder
from cielo_convert.generator import GeneratorFacts, convert_generator
from cielo_convert.prompts import hostile_strings, parity_prompts
from cielo_convert.recipe import CalibrationRecipe, EncoderRecipe, GeneratorRecipe, Recipe
from cielo_convert.reference import Progress, ReferenceRequest, make_references
from cielo_convert.sources import Checkpoint, Checkpoints, local_checkpoints


@dataclass(frozen=True, slots=True)
class _Knowledge:
    """The knowledge base as it was built, and the distinct descriptions of each kind."""

    built: BuiltKnowledgeBase
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
    rejected: Callable[[Sequence[RejectedCode]], None] | None = None,
    overwrite: bool = False,
    checkpoints: Checkpoints | None = None,
    device: str | None = None,
) -> Path:
    """Build the bundle of a recipe in the directory `output`.

    Args:
        recipe: what to build.
        output: the new bundle's directory.
        progress: is called with the step's name, how many of its items are done, and how many there are.
        rejected: is called with the rows of the knowledge base's tables that were not taken, if there are any.
        overwrite: replace what stands at `output`, once the new bundle is whole.
        checkpoints: where the models are; None: where the recipe says, or downloaded before. Nothing is fetched here.
        device: ``cpu`` or ``cuda``, on which the gate checks each backend that it is there for; None: on all that are.

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
        layout = Layout(directory)
        sources = checkpoints or local_checkpoints(recipe)
        tell("knowledge base", 0, 1)
        knowledge = _build_knowledge_base(recipe, layout.knowledge_base)
        if rejected and knowledge.built.rejected:
            rejected(knowledge.built.rejected)
        tell("references", 0, 1)
        request = _reference_request(recipe, sources, knowledge)
        make_references(request, layout, tell)
        tell("generator", 0, 1)
        generator = _convert_generator(recipe, sources, knowledge, layout.generator)
        tell("encoder", 0, 1)
        encoder = _convert_encoder(recipe, sources, layout.encoder.parent)
        tell("index", 0, 1)
        wanted = WantedIndex(recipe.index.recall, recipe.index.max_distance, recipe.index.dimension)
        index = build_index(
            layout, knowledge.by_kind, request.texts, wanted, max_tokens=recipe.encoder.max_tokens, tell=tell
        )
        tell("trie", 0, 1)
        trie = build_trie(layout).section
        tell("manifest", 0, 1)
        manifest = _manifest(recipe, sources, knowledge, generator, encoder, index)
        bundle = write_manifest(directory, replace(manifest, trie=trie))
        tell("parity", 0, 1)
        parity = pass_gate(bundle, generator.checks, device=device)
        bundle = write_manifest(directory, replace(bundle.manifest, parity=parity))
        tell("parity", 1, 1)
        if recipe.calibration.mentions is not None:
            tell("calibration", 0, 1)
            found = _calibrate(bundle, recipe.calibration, recipe.calibration.mentions)
            bundle.calibration.write_bytes(schema.encode(found))
            write_manifest(directory, bundle.manifest)
            tell("calibration", 1, 1)
    return output


def _silent(step: str, done: int, total: int) -> None:
    """Draw no progress."""


def _build_knowledge_base(recipe: Recipe, path: Path) -> _Knowledge:
    settings = recipe.knowledge_base
    built = build_knowledge_base(
        path,
        [table.code_table() for table in settings.tables],
        edition=settings.edition,
        systems=settings.systems(),
        code_systems={kind: parse_code_system(address) for kind, address in settings.code_systems.items()},
        subset=settings.subset(),
    )
    base = KnowledgeBase(path)
    try:
        return _Knowledge(built, {kind: base.descriptions(kind) for kind in base.kinds})
    finally:
        base.close()


def _reference_request(recipe: Recipe, sources: Checkpoints, knowledge: _Knowledge) -> ReferenceRequest:
    parity, prompt = recipe.parity, recipe.prompt
    prompts = parity_prompts(parity.mentions, parity.prompts, prepare=prompt.prepare_sentence, window=prompt.window)
    return ReferenceRequest(
        generator=sources.generator.directory,
        encoder=sources.encoder.directory,
        prompts=prompts,
        strings=hostile_strings(knowledge.descriptions, prompts),
        texts=parity_texts(knowledge.descriptions),
        descriptions=knowledge.descriptions,
        restricted=recipe.generator.vocabulary == "knowledge-base",
        pooling=recipe.encoder.pooling,
        max_source_tokens=recipe.generator.max_source_tokens,
        max_tokens=recipe.encoder.max_tokens,
    )


def _convert_generator(recipe: Recipe, sources: Checkpoints, knowledge: _Knowledge, output: Path) -> GeneratorFacts:
    kept = knowledge.descriptions if recipe.generator.vocabulary == "knowledge-base" else None
    facts = convert_generator(sources.generator.directory, output, recipe.generator.compute_types, kept)
    refuse_failed(check for checks in facts.checks.values() for check in checks)  # before the hour that follows
    return facts


def _convert_encoder(recipe: Recipe, sources: Checkpoints, output: Path) -> EncoderFacts:
    settings = recipe.encoder
    return convert_encoder(
        sources.encoder.directory,
        output,
        settings.precision,
        settings.pooling,
        settings.max_tokens,
        fused=settings.fused,
    )


def _manifest(
    recipe: Recipe,
    sources: Checkpoints,
    knowledge: _Knowledge,
    generator: GeneratorFacts,
    encoder: EncoderFacts,
    index: IndexSection,
) -> Manifest:
    base, built = recipe.knowledge_base, knowledge.built
    return Manifest(
        name=recipe.name,
        licence=recipe.licence,
        sources={
            "generator": _source(recipe.generator, sources.generator, generator.weights),
            "encoder": _source(recipe.encoder, sources.encoder, encoder.weights),
        },
        prompt=PromptSettings(recipe.prompt.prepare_sentence, recipe.prompt.window),
        generator=GeneratorSection(
            backend=recipe.generator.backends[0],
            backends=generator.models,
            vocabulary=recipe.generator.vocabulary,
            decoding=recipe.generator.decoding,
            max_source_tokens=recipe.generator.max_source_tokens,
            own_head=generator.own_head,
        ),
        encoder=EncoderSection(encoder.dimension, encoder.precision, encoder.pooling, encoder.max_tokens),
        knowledge_base=KnowledgeBaseSection(
            edition=base.edition,
            concepts=built.summary.concepts,
            descriptions=built.summary.descriptions,
            systems=built.systems,
            tables=built.sources,
        ),
        index=index,
        tolerances={"index.recall": recipe.index.recall} | dict(recipe.parity.tolerances),
        parity={},
        built_with={},
        files={},
    )


def _source(named: GeneratorRecipe | EncoderRecipe, found: Checkpoint, weights: dict[str, str]) -> SourceModel:
    # A directory's place on the machine that built the bundle is nobody else's business.
    name = Path(named.checkpoint).name if Path(named.checkpoint).is_absolute() else named.checkpoint
    return SourceModel(name, _joint_hash(weights), found.revision or named.revision, weights)


def _joint_hash(weights: dict[str, str]) -> str:
    """The hash of the only weight file, or of the list of names and hashes where there are several."""
    if len(weights) == 1:
        return next(iter(weights.values()))
    listing = "".join(f"{name} {digest}\n" for name, digest in sorted(weights.items()))
    return hashlib.sha256(listing.encode()).hexdigest()


def _calibrate(bundle: Bundle, recipe: CalibrationRecipe, mentions: Path) -> Calibrations:
    """Fit the confidence on annotated mentions, each decoding by the bundle's own backend if that runs it."""
    corpus = read_corpus(mentions)
    outside = None if recipe.outside is None else read_outside(recipe.outside)
    settings = bundle.manifest.generator
    found: Calibrations = {}
    for decoding in recipe.decodings or (settings.decoding,):
        names = [name for name in (settings.backend, *settings.backends) if name in running(decoding)]
        with Linker.open(bundle.path, backend=names[0], device="cpu", decoding=decoding, cache=False) as linker:
            others = None if outside is None else linkable(outside, linker)
            found |= calibrate(linker, linkable(corpus, linker), [decoding], outside=others)
    return found
