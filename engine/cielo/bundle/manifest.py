"""The manifest: what a bundle is made of, as records, and reading it.

A bundle can hold the generator for several backends. Each has its own compute type and files, and its own parity: what
was shown for one of them says nothing of another.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Annotated, Final, Literal

from msgspec import Meta

from cielo import schema
from cielo.errors import BundleError
from cielo.generation.memory import Shape
from cielo.knowledge.records import TableSource
from cielo.records import Decoding
from cielo.schema import Text

SCHEMA: Final = 2
REMEDY = "copy or build the bundle again"

Vocabulary = Literal["full", "knowledge-base"]
Precision = Literal["float32", "float16", "int8"]
Pooling = Literal["cls", "mean"]
Status = Literal["passed", "failed", "unverified"]
Bound = Literal["<=", ">="]

_Count = Annotated[int, Meta(ge=0)]
_Positive = Annotated[int, Meta(ge=1)]
_Share = Annotated[float, Meta(ge=0, le=1)]
_Sha256 = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]


@dataclass(frozen=True, slots=True)
class Execution:
    """What runs the generator, on which device, and in which arithmetic: what parity and thread plans depend on."""

    backend: str
    device: str
    compute_type: str

    @property
    def key(self) -> str:
        """``backend/device/compute type``, by which parity figures are kept."""
        return f"{self.backend}/{self.device}/{self.compute_type}"


@dataclass(frozen=True, slots=True)
class Check:
    """One comparison with float32 PyTorch: its figure, and the bound that the figure must keep.

    Attributes:
        figure: None where it is no finite number, which never keeps its bound.
    """

    name: str
    figure: float | None
    tolerance: float
    comparison: Bound
    detail: str = ""

    @property
    def passed(self) -> bool:
        """Whether the figure keeps its bound."""
        if self.figure is None:
            return False
        return self.figure <= self.tolerance if self.comparison == "<=" else self.figure >= self.tolerance

    @property
    def shown_figure(self) -> str:
        """The figure for people."""
        return "no number" if self.figure is None else f"{self.figure:.6g}"


@dataclass(frozen=True, slots=True)
class ParityFigures:
    """The checks of one bundle in one `Execution`, and where they were made.

    Attributes:
        processor: its name.
        machine: the key of its processor and instruction sets.
        libraries: versions by name.
    """

    status: Status
    checks: tuple[Check, ...] = ()
    processor: str | None = None
    machine: str | None = None
    libraries: Mapping[str, str] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """Whether parity was shown: some checks were made, and every one passed."""
        return self.status == "passed" and bool(self.checks) and all(check.passed for check in self.checks)


@dataclass(frozen=True, slots=True)
class SourceModel:
    """A checkpoint that the bundle was made from.

    Attributes:
        name: of the hub, or of a directory.
        revision: of the hub's name.
        sha256: of its weights.
        files: SHA-256 of each weight file.
    """

    name: str
    sha256: _Sha256
    revision: str | None = None
    files: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PromptSettings:
    """How prompts are built: see `cielo.text.prompt.build_prompt`."""

    prepare_sentence: bool
    window: _Count | None = None


@dataclass(frozen=True, slots=True)
class GeneratorModel:
    """The generator's model as one backend runs it.

    Attributes:
        compute_type: the form of the weights.
        shape: what the memory of its batches is counted by; None: it is not known.
        source_tokens: size of the vocabulary of prompts.
        target_tokens: size of the vocabulary of outputs.
    """

    compute_type: Text
    shape: Shape | None = None
    source_tokens: _Positive | None = None
    target_tokens: _Positive | None = None


@dataclass(frozen=True, slots=True)
class GeneratorSection:
    """The generator.

    Attributes:
        backend: that runs it where none is asked for; one of `backends`.
        backends: the model of each backend that the bundle holds it for.
        vocabulary: of the outputs: all tokens, or those of the knowledge base's descriptions.
        decoding: where none is asked for.
        max_source_tokens: longest prompt, ``</s>`` included; the rest is cut.
        own_head: whether the output head is independent of the embeddings; None: it is not known.

    Raises:
        ValueError: where `backend` is none of `backends`.
    """

    backend: Text
    backends: Mapping[str, GeneratorModel]
    vocabulary: Vocabulary
    decoding: Decoding
    max_source_tokens: _Positive
    own_head: bool | None = None

    def __post_init__(self) -> None:
        if self.backend not in self.backends:
            raise ValueError(f"got backend {self.backend!r}, expected one of backends: {', '.join(self.backends)}")

    @property
    def model(self) -> GeneratorModel:
        """The model of the bundle's own backend."""
        return self.backends[self.backend]


@dataclass(frozen=True, slots=True)
class EncoderSection:
    """The encoder of descriptions.

    Attributes:
        dimension: of its vectors.
        precision: of its weights.
        pooling: from hidden states to one vector.
        max_tokens: longest text, special tokens included; the rest is cut.
    """

    dimension: _Positive
    precision: Precision
    pooling: Pooling
    max_tokens: _Positive


@dataclass(frozen=True, slots=True)
class KnowledgeBaseSection:
    """The knowledge base.

    Attributes:
        concepts: how many of each kind.
        descriptions: how many in all.
        systems: the code system of each kind.
        tables: that it was built from.
    """

    edition: str
    concepts: Mapping[str, _Count]
    descriptions: _Count
    systems: Mapping[str, str] = field(default_factory=dict)
    tables: tuple[TableSource, ...] = ()


@dataclass(frozen=True, slots=True)
class IndexSection:
    """The index of descriptions; see `cielo.retrieval.index.IndexSettings`.

    Attributes:
        recall_at_1: share of queries whose first answer equals exact search's.
        max_distance: squared L2 distance of unit vectors above which the answer is ``none``.
        dimension: of the graph; None: that of the vectors.
        rescored: how many neighbours the full vectors decide between; None: `cielo.retrieval.index.RESCORED`.
    """

    m: _Positive
    ef: _Positive
    recall_at_1: _Share
    max_distance: Annotated[float, Meta(ge=0, le=4)]
    ef_construction: _Positive | None = None
    dimension: _Positive | None = None
    rescored: _Positive | None = None


@dataclass(frozen=True, slots=True)
class TrieSection:
    """The trie of the descriptions; see `cielo.bundle.trie`.

    Attributes:
        rows: how many.
        tokens: of all rows, the end token of each included.
        end: the id of that token.
    """

    rows: _Count
    tokens: _Count
    end: _Count


@dataclass(frozen=True, slots=True)
class FileEntry:
    """A file of the bundle: its bytes and its SHA-256."""

    size: _Count
    sha256: _Sha256


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What a bundle is made of.

    Attributes:
        sources: the checkpoints, by what became of them (``generator``, ``encoder``).
        trie: of the descriptions, for the constrained search; None: the bundle holds none.
        tolerances: of the parity checks, where the recipe set them, by the check's name.
        parity: the figures of the machine that built it, by `Execution.key`.
        built_with: versions of libraries.
        files: every file but the manifest, by its name under the bundle's directory.

    Raises:
        ValueError: where a file's name leads out of the bundle.
    """

    schema: Literal[2] = SCHEMA
    name: Text
    licence: str
    sources: Mapping[str, SourceModel]
    prompt: PromptSettings
    generator: GeneratorSection
    encoder: EncoderSection
    knowledge_base: KnowledgeBaseSection
    index: IndexSection
    parity: Mapping[str, ParityFigures]
    built_with: Mapping[str, str]
    files: Mapping[str, FileEntry]
    trie: TrieSection | None = None
    tolerances: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in self.files:
            path = PurePosixPath(name)
            if path.is_absolute() or ".." in path.parts:
                raise ValueError(f"files: {name!r} leads out of the bundle")


def to_document(manifest: Manifest) -> object:
    """Return a manifest as it is written: one from before the trie stays as it was, and its bundle's identity too."""
    document = schema.to_builtins(manifest)
    if manifest.trie is None:
        del document["trie"]
    for model in document["generator"]["backends"].values():
        for name in ("copies", "heads"):
            if model["shape"] and model["shape"][name] is None:
                del model["shape"][name]
    return document


def read_manifest(content: bytes, what: str) -> Manifest:
    """Return the manifest that a file holds.

    Args:
        content: of the file.
        what: its name in errors.

    Raises:
        BundleError: where its schema is another, or naming everything that is wrong with it.
    """
    document = schema.parse(content, what, error=BundleError, remedy=REMEDY, shown=True)
    found = document.get("schema") if isinstance(document, dict) else None
    if type(found) is not int or found != SCHEMA:
        raise BundleError(f"{what}: got a bundle of schema {found!r}, expected {SCHEMA}; {_way_out(found)}")
    manifest = schema.decode(Manifest, document, what, error=BundleError, remedy=REMEDY, shown=True)
    if not manifest.files:
        raise BundleError(f"{what} is not valid: files: lists no file; {REMEDY}")
    return manifest


def _way_out(found: object) -> str:
    if type(found) is int and found > SCHEMA:
        return "a newer cielo wrote it: update with `pip install --upgrade cielo`"
    if type(found) is int and 1 <= found < SCHEMA:
        return "an older cielo wrote it: make a new one with `cielo convert RECIPE --output DIR`"
    return REMEDY


def shown_parity(parity: Mapping[str, ParityFigures]) -> Iterator[str]:
    """Yield the keys for which parity was shown, sorted."""
    yield from sorted(key for key, figures in parity.items() if figures.passed)
