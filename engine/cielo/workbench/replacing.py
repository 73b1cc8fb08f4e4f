"""Another knowledge base in a bundle: embedded with the bundle's own encoder, indexed, and passed through the gate.

The models, their tokenizers and the references stay as they are; so no PyTorch is needed. What was fitted or measured
with the old knowledge base is left out: the calibrations, and the figures of parity, which are measured again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from cielo.bundle import indexing
from cielo.bundle.hashes import check_files
from cielo.bundle.indexing import Progress, WantedIndex, build_index
from cielo.bundle.layout import CALIBRATION, ENCODER, INDEX, KNOWLEDGE_BASE, TRIE, Bundle, Layout
from cielo.bundle.manifest import Check, KnowledgeBaseSection, shown_parity
from cielo.bundle.stages import open_generator
from cielo.bundle.trie import LEFT_OUT, DescriptionTrie, Writes, build_trie
from cielo.bundle.writing import link_or_copy, write_manifest, writing
from cielo.errors import BundleError, DeviceError, remedy_for
from cielo.knowledge.reading import KnowledgeBase
from cielo.machine import library_versions, machine_key
from cielo.parity.gate import executions_here, pass_gate
from cielo.parity.references import References
from cielo.parity.texts import parity_texts
from cielo.parity.tolerances import RECALL, CheckName
from cielo.records import Decoding
from cielo.retrieval.index import load_all
from cielo.retrieval.kept import KeptVectors
from cielo.retrieval.vectors import Vectors
from cielo.text.tokenizer import Tokenizer

_OF_TABLES = (f"{INDEX}/", f"{TRIE}/", KNOWLEDGE_BASE, CALIBRATION)  # where the names of files begin that are not kept
_REMEDY = "check the old bundle with `cielo verify --parity`, and copy or build it again where it fails too"
_NOT_WRITTEN = "the output vocabulary lacks a token of it: never generated, found by its vector or a lexicon alone"
_UNKNOWN = "it has a sign that the model's tokenizer does not know: generated in decoding constrained alone"


@dataclass(frozen=True, slots=True)
class Unwritable:
    """A description that the generator cannot write, its code and kind, and why not."""

    code: str
    kind: str
    description: str
    reason: str


@dataclass(frozen=True, slots=True)
class Replaced:
    """A bundle with another knowledge base.

    Attributes:
        bundle: the new one.
        unwritable: the descriptions that its generator cannot write.
        calibrations: the decodings that the old bundle had a confidence for; the new one has none.
        kinds_gone: kinds of the old knowledge base that the new one lacks.
        unshown: what the old bundle showed parity for and this machine could not, as `Execution.key`.
        vectors_kept: how many vectors came from a run that was stopped.
    """

    bundle: Bundle
    unwritable: tuple[Unwritable, ...]
    calibrations: tuple[Decoding, ...]
    kinds_gone: tuple[str, ...]
    unshown: tuple[str, ...]
    vectors_kept: int


def work_file(output: Path) -> Path:
    """Return the file beside a new bundle in which its vectors are kept while it is being made."""
    output = output.absolute()
    return output.with_name(f".{output.name}.vectors")


def replace_knowledge_base(
    bundle: Bundle,
    output: Path,
    write: Callable[[Path], None],
    *,
    progress: Progress | None = None,
    overwrite: bool = False,
) -> Replaced:
    """Write a copy of a bundle with another knowledge base, and leave the old one as it is.

    A run that was stopped is gone on with: its vectors are kept in `work_file`, which is removed at the end.

    Args:
        bundle: the old one; its files are hashed.
        output: directory of the new one.
        write: writes the knowledge base into the file that it is given.
        progress: is called with the step's name, how many of its items are done, and how many there are.
        overwrite: replace what stands at `output`, once the new bundle is whole.

    Raises:
        BundleError: where the bundle is altered, `output` stands already or cannot be written, or the generator can
            write none of the descriptions.
        ParityError: where a check failed; it names each with its figure and its tolerance. Nothing is written then.
        CieloError: as `write`.
    """
    tell = progress or (lambda *_: None)
    if output.resolve().is_relative_to(bundle.path.resolve()):
        raise BundleError(f"{output} lies in the old bundle, which stays as it is; name another output")
    check_files(bundle)
    work = work_file(output)
    with _told(output, work), writing(output, overwrite=overwrite) as directory:
        layout, manifest = Layout(directory), bundle.manifest
        tell("knowledge base", 0, 1)
        write(layout.knowledge_base)
        section, by_kind = _read(layout)
        for name in manifest.files:
            if not name.startswith(_OF_TABLES):
                link_or_copy(bundle.real(name), directory / name)
        tell("trie", 0, 1)
        trie = build_trie(layout, _writes(bundle))
        unwritable = _unwritable(layout, trie)
        _require_some(trie, section)
        queries = _queries(bundle, by_kind)
        wanted = WantedIndex(
            manifest.tolerances.get("index.recall", RECALL), manifest.index.max_distance, manifest.index.dimension
        )
        known, most = _known_vectors(bundle), manifest.encoder.max_tokens
        fresh = [[text for text in texts if text not in known] for texts in by_kind.values()]
        with KeptVectors(work, _identity(bundle, fresh), manifest.encoder.dimension) as kept:
            index = build_index(layout, by_kind, queries, wanted, max_tokens=most, tell=tell, known=known, kept=kept)
            tell("manifest", 0, 1)
            changed = replace(manifest, knowledge_base=section, index=index, trie=trie.section, parity={})
            made = write_manifest(directory, changed)
            parity = pass_gate(made, _early(bundle), remedy=_REMEDY, tell=lambda key: tell(f"parity of {key}", 0, 1))
            write_manifest(directory, replace(made.manifest, parity=parity))
    work.unlink(missing_ok=True)
    return Replaced(
        bundle=Bundle.open(output),
        unwritable=unwritable,
        calibrations=tuple(bundle.calibrations()),
        kinds_gone=tuple(kind for kind in manifest.knowledge_base.concepts if kind not in section.concepts),
        unshown=tuple(key for key in shown_parity(manifest.parity) if key not in set(shown_parity(parity))),
        vectors_kept=kept.taken,
    )


@contextlib.contextmanager
def _told(output: Path, work: Path) -> Iterator[None]:
    """Say what the system refused, and what is kept for the next time."""
    try:
        yield
    except OSError as error:
        kept = "; the vectors so far are kept: the same command goes on with them" if work.is_file() else ""
        raise BundleError(
            f"{output} cannot be written ({error.strerror}); {remedy_for(error, 'name another output')}{kept}"
        ) from error


def _read(layout: Layout) -> tuple[KnowledgeBaseSection, dict[str, list[str]]]:
    """Return the manifest's section of a knowledge base, and the distinct descriptions of each kind."""
    base = KnowledgeBase(layout.knowledge_base)
    try:
        section = KnowledgeBaseSection(
            edition=base.edition,
            concepts=base.concepts,
            descriptions=len(base.texts()),
            systems=base.systems,
            tables=base.sources,
        )
        return section, {kind: base.descriptions(kind) for kind in base.kinds}
    finally:
        base.close()


def _queries(bundle: Bundle, by_kind: dict[str, list[str]]) -> list[str]:
    """Return what recall is measured with: texts like the new descriptions, and those that the gate asks for."""
    every = list(dict.fromkeys(text for texts in by_kind.values() for text in texts))
    references = References.load(bundle.references, bundle.reference_vectors)
    return list(dict.fromkeys([*parity_texts(every), *references.texts]))


def _known_vectors(bundle: Bundle) -> dict[str, Vectors]:
    """Return the vectors of a bundle's own descriptions: most codes of a new edition are those of the old one."""
    settings = bundle.manifest.index
    found: dict[str, Vectors] = {}
    for index in load_all(bundle.index, settings.ef).values():
        for texts, vector in zip(index.descriptions, index.vectors, strict=True):
            found.update(dict.fromkeys(texts, vector))
    return found


def _identity(bundle: Bundle, fresh: Sequence[Sequence[str]]) -> str:
    """Return the SHA-256 of all that the vectors of texts depend on, which are embedded kind by kind."""
    files = {name: entry.sha256 for name, entry in bundle.manifest.files.items() if name.startswith(f"{ENCODER}/")}
    parts = [sorted(files.items()), bundle.manifest.encoder.max_tokens, indexing.EMBEDDED_AT_ONCE, fresh]
    around = [machine_key(), sorted(library_versions().items())]
    return hashlib.sha256(json.dumps([*parts, *around]).encode()).hexdigest()


def _writes(bundle: Bundle) -> Writes | None:
    """Return what tells whether every backend's outputs can hold a token; None: they hold all."""
    settings = bundle.manifest.generator
    if settings.vocabulary == "full":
        return None
    tokenizer = Tokenizer(bundle.generator_tokenizer)
    every = np.arange(tokenizer.vocabulary_size, dtype=np.int32)
    held = np.ones(len(every), dtype=np.bool_)
    executions = [executions_here(bundle, name)[:1] for name in settings.backends]
    if not any(executions):
        raise DeviceError(
            f"this machine runs none of the bundle's generators ({', '.join(settings.backends)}), expected one that "
            "tells which tokens its outputs hold; replace the knowledge base on a machine that does"
        )
    for execution in (one for here in executions for one in here):
        with open_generator(bundle, tokenizer, execution) as generator:
            held &= generator.writes(every)

    def writes(tokens: NDArray[np.int32]) -> NDArray[np.bool_]:
        found: NDArray[np.bool_] = held[tokens]
        return found

    return writes


def _unwritable(layout: Layout, trie: DescriptionTrie) -> tuple[Unwritable, ...]:
    """Return the descriptions that a trie leaves out, and those with signs that the tokenizer does not know."""
    tokenizer, base = Tokenizer(layout.generator_tokenizer), KnowledgeBase(layout.knowledge_base)
    unknown = tokenizer.unknown_id
    try:
        strange = () if unknown is None else np.unique(_rows_with(trie, unknown)).tolist()
        reasons = {LEFT_OUT: _NOT_WRITTEN, **dict.fromkeys(strange, _UNKNOWN)}
        found = []
        for number, row in enumerate(trie.rows.tolist(), start=1):
            if row in reasons:
                concept = base.concept_by_number(number)
                found.append(Unwritable(concept.code, concept.kind, concept.description, reasons[row]))
        return tuple(found)
    finally:
        base.close()


def _rows_with(trie: DescriptionTrie, token: int) -> NDArray[np.int64]:
    return np.searchsorted(trie.trie.ends, np.flatnonzero(trie.trie.tokens == token), side="right")


def _require_some(trie: DescriptionTrie, section: KnowledgeBaseSection) -> None:
    if not len(trie.trie):
        raise BundleError(
            f"the bundle's generator can write none of the {section.descriptions} descriptions; expected a table in "
            "the language of the bundle's own, or a bundle that was converted with the full vocabulary"
        )


def _early(bundle: Bundle) -> dict[str, Sequence[Check]]:
    """Return the checks that the conversion made on the models' own files, by backend: they hold as they are."""
    of_gate = set(get_args(CheckName))
    found: dict[str, Sequence[Check]] = {}
    for key, figures in bundle.manifest.parity.items():
        found.setdefault(key.split("/")[0], tuple(check for check in figures.checks if check.name not in of_gate))
    return found
