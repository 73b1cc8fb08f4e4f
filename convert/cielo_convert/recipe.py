"""Recipes: what a bundle is built from, as TOML. Every problem of a recipe is reported at once."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from cielo import schema
from cielo.bundle.manifest import Pooling, Precision, Vocabulary
from cielo.errors import RecipeError
from cielo.knowledge.code_list import read_codes
from cielo.knowledge.code_systems import parse_code_system, require_kinds
from cielo.knowledge.code_tables import CodeTable
from cielo.knowledge.codes import System
from cielo.knowledge.published import TABLES
from cielo.knowledge.subsets import Subset
from cielo.parity.tolerances import CheckName
from cielo.schema import Text
from cielo.tables import Format
from msgspec import Meta

BackendName = Literal["ctranslate2", "onnx"]
Quantization = Literal[
    "float32", "float16", "bfloat16", "int8", "int8_float32", "int8_float16", "int8_bfloat16", "int16"
]
# The compute types that each backend has.
QUANTIZATIONS: Mapping[BackendName, tuple[Quantization, ...]] = {
    "ctranslate2": get_args(Quantization),
    "onnx": ("float32", "int8"),
}
# Those that a bundle may name. For the first two there are references of PyTorch; the third searches in the trie.
RecipeDecoding = Literal["published", "probable", "constrained"]
_CONSTRAINED: tuple[BackendName, ...] = ("onnx",)  # the backends that run it

_Share = Annotated[float, Meta(ge=0, le=1)]
_REMEDY = "correct the recipe"


@dataclass(frozen=True, slots=True)
class GeneratorRecipe:
    """The generator: a T5 or mT5 checkpoint, and what to make of it.

    Attributes:
        checkpoint: a directory (relative to the recipe) or a hub name ``owner/name``.
        quantization: the weights' form in the bundle: a compute type for every backend, or one for each by its name.
        revision: of a hub name.
        backends: that the bundle gets the model for, none twice; the first is the bundle's own.
        vocabulary: ``full``, or ``knowledge-base``: outputs are restricted to the tokens of its descriptions.
        decoding: the bundle's default search, which one of the backends has to run.
        max_source_tokens: longest prompt, ``</s>`` included; the rest is cut.

    Raises:
        ValueError: where a backend is named twice, has no compute type, or does not know the one that it has, or none
            runs the decoding.
    """

    checkpoint: Text
    quantization: Quantization | Mapping[BackendName, Quantization]
    revision: str | None = None
    backends: Annotated[tuple[BackendName, ...], Meta(min_length=1)] = ("ctranslate2",)
    vocabulary: Vocabulary = "full"
    decoding: RecipeDecoding = "probable"
    max_source_tokens: Annotated[int, Meta(ge=8, le=100_000)] = 512

    def __post_init__(self) -> None:
        if problems := list(self._problems()):
            raise ValueError("; ".join(problems))

    def _problems(self) -> Iterator[str]:
        for name in sorted({name for name in self.backends if self.backends.count(name) > 1}):
            yield f"backends: got {name!r} more than once, expected each once"
        named = self.compute_types
        for name in dict.fromkeys(self.backends):
            allowed = f"expected one of {', '.join(QUANTIZATIONS[name])}"
            if name not in named:
                yield f"quantization: names no compute type for {name}, {allowed}"
            elif named[name] not in QUANTIZATIONS[name]:
                yield f"quantization: got {named[name]!r} for {name}, {allowed}"
        if not isinstance(self.quantization, str):
            for name in self.quantization:
                if name not in self.backends:
                    yield f"quantization: names {name}, which is none of backends ({', '.join(self.backends)})"
        if not self.runs(self.decoding):
            yield f"decoding: {self.decoding} {self.remedy}"

    def runs(self, decoding: RecipeDecoding) -> bool:
        """Tell whether one of the backends runs a decoding."""
        return decoding != "constrained" or not set(_CONSTRAINED).isdisjoint(self.backends)

    @property
    def remedy(self) -> str:
        """What a decoding that no backend runs needs."""
        return f"needs {' or '.join(_CONSTRAINED)} among backends, got {', '.join(self.backends)}"

    @property
    def compute_types(self) -> dict[str, str]:
        """The compute type of each backend, in their order."""
        given = self.quantization
        each = dict.fromkeys(self.backends, given) if isinstance(given, str) else given
        return {name: each[name] for name in self.backends if name in each}


@dataclass(frozen=True, slots=True)
class EncoderRecipe:
    """The encoder: a BERT-like checkpoint, and what to make of it.

    Attributes:
        checkpoint: a directory (relative to the recipe) or a hub name ``owner/name``.
        revision: of a hub name.
        precision: of the ONNX model.
        pooling: ``cls``, the first token's hidden state, or ``mean`` over the tokens.
        max_tokens: longest text, special tokens included; the rest is cut.
        fused: join the operators of attention and normalisation (`cielo_convert.encoder.fuse`).
    """

    checkpoint: Text
    revision: str | None = None
    precision: Precision = "float32"
    pooling: Pooling = "cls"
    max_tokens: Annotated[int, Meta(ge=4, le=100_000)] = 64
    fused: bool = False


@dataclass(frozen=True, slots=True)
class PromptRecipe:
    """How prompts are built: see `cielo.text.prompt.build_prompt`."""

    prepare_sentence: bool = True
    window: Annotated[int, Meta(ge=0, le=100_000)] | None = None


@dataclass(frozen=True, slots=True)
class TableRecipe:
    """A table of the knowledge base, and the kind of all its rows; see `cielo.knowledge.code_tables.CodeTable`.

    Attributes:
        system: the code system of its kind, such as ``icd-10-cm``; None: the one that nearly all its codes belong to.
        source: the published table (`cielo.knowledge.published`) that is fetched where there is no file `path`; None:
            none is.
    """

    path: Path
    kind: Text
    format: Format | None = None
    encoding: str | None = None
    sheet: str | None = None
    code_column: str | None = None
    description_column: str | None = None
    synonyms: bool = False
    system: System | None = None
    source: str | None = None

    def __post_init__(self) -> None:
        if self.source is not None and self.source not in TABLES:
            raise ValueError(f"source: got {self.source!r}, expected one of {', '.join(TABLES)}")

    def code_table(self) -> CodeTable:
        """Return what the reader of tables takes."""
        others = ("system", "source")
        return CodeTable(
            **{entry.name: getattr(self, entry.name) for entry in fields(self) if entry.name not in others}
        )


@dataclass(frozen=True, slots=True)
class KnowledgeBaseRecipe:
    """The knowledge base: its edition, as results name it, and its tables; their order decides between matches.

    Attributes:
        chapters: keep only these; see `cielo.knowledge.subsets.Subset`.
        leaf: keep only codes below which there is no other.
        codes: keep only the codes that this file names, one a line.
        code_systems: the address of a kind's code system, ``URL`` or ``URL|VERSION``.
    """

    edition: Text
    tables: Annotated[tuple[TableRecipe, ...], Meta(min_length=1)]
    chapters: tuple[str, ...] | None = None
    leaf: bool = False
    codes: Path | None = None
    code_systems: Mapping[str, Text] = field(default_factory=dict)

    def __post_init__(self) -> None:
        require_kinds(self.code_systems, dict.fromkeys(table.kind for table in self.tables))
        for address in self.code_systems.values():
            parse_code_system(address)

    def subset(self) -> Subset | None:
        """Return what is kept; None: everything.

        Raises:
            TableError: where the file of codes cannot be read.
        """
        if not (self.chapters or self.leaf or self.codes):
            return None
        return Subset(
            chapters=frozenset(self.chapters) if self.chapters else None,
            leaf=self.leaf,
            codes=read_codes(self.codes).codes if self.codes else None,
        )

    def systems(self) -> dict[str, System]:
        """Return the code system of each kind for which one is named."""
        return {table.kind: table.system for table in self.tables if table.system}


@dataclass(frozen=True, slots=True)
class CalibrationRecipe:
    """What the confidence is fitted on: see `cielo.workbench.calibration.calibrate`.

    Attributes:
        mentions: a table of annotated mentions; None: nothing is fitted.
        outside: a table of mentions that mean no concept of the knowledge base; None: there is none.
        decodings: that are calibrated, none twice; None: the bundle's own alone.

    Raises:
        ValueError: where a decoding is named twice, or there are no mentions to fit on.
    """

    mentions: Path | None = None
    outside: Path | None = None
    decodings: Annotated[tuple[RecipeDecoding, ...], Meta(min_length=1)] | None = None

    def __post_init__(self) -> None:
        if problems := list(self._problems()):
            raise ValueError("; ".join(problems))

    def _problems(self) -> Iterator[str]:
        named = self.decodings or ()
        for name in sorted({name for name in named if named.count(name) > 1}):
            yield f"decodings: got {name!r} more than once, expected each once"
        if self.mentions is None and (self.outside is not None or self.decodings is not None):
            yield "mentions is missing; outside and decodings go with annotated mentions"


@dataclass(frozen=True, slots=True)
class IndexRecipe:
    """The search for the nearest description.

    Attributes:
        max_distance: squared L2 distance of unit vectors, 0 to 4, above which the answer is "none".
        recall: least share of queries whose first answer equals exact search's.
        dimension: the graph is over so many principal components of the vectors, and the full ones are read from disk
            for the nearest alone: a quarter of the dimensions takes about 30 % of the memory. None, or as many as the
            encoder has: over the vectors themselves. Of a kind with fewer descriptions than this, over as many.
    """

    max_distance: Annotated[float, Meta(ge=0, le=4)] = 0.8
    recall: _Share = 0.999
    dimension: Annotated[int, Meta(ge=2, le=65_536)] | None = None


@dataclass(frozen=True, slots=True)
class ParityRecipe:
    """The comparison with PyTorch.

    Attributes:
        mentions: a table with the columns ``text`` and ``sentence``; None: the one that comes with cielo.
        prompts: at most so many prompts are made from it.
        tolerances: instead of the packaged ones, by the check's name.
    """

    mentions: Path | None = None
    prompts: Annotated[int, Meta(ge=1, le=1_000_000)] = 300
    tolerances: Mapping[CheckName, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipeFile:
    """What the file of a recipe holds."""

    name: Text
    licence: Text
    generator: GeneratorRecipe
    encoder: EncoderRecipe
    knowledge_base: KnowledgeBaseRecipe
    index: IndexRecipe = field(default_factory=IndexRecipe)
    prompt: PromptRecipe = field(default_factory=PromptRecipe)
    parity: ParityRecipe = field(default_factory=ParityRecipe)
    calibration: CalibrationRecipe = field(default_factory=CalibrationRecipe)

    def __post_init__(self) -> None:
        for decoding in self.calibration.decodings or ():
            if not self.generator.runs(decoding):
                raise ValueError(f"calibration.decodings: {decoding} {self.generator.remedy}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe(RecipeFile):
    """A whole recipe.

    Attributes:
        path: the file that it was read from, to whose folder the checkpoints' paths are relative.
    """

    path: Path

    @classmethod
    def load(cls, path: Path) -> Recipe:
        """Read a recipe.

        Raises:
            RecipeError: where it cannot be read, or naming every unknown, missing or wrong key.
        """
        found = schema.decode(
            RecipeFile, _read(path), f"the recipe {path}", error=RecipeError, remedy=_REMEDY, shown=True,
            folder=path.parent,
        )  # fmt: skip
        return cls(**{field.name: getattr(found, field.name) for field in fields(found)}, path=path)

    def check_files(self) -> None:
        """Refuse a recipe whose tables are not there, but for those that can be fetched (`cielo_convert.sources`).

        Raises:
            RecipeError: naming every file that is missing.
        """
        named: list[Path | None] = [table.path for table in self.knowledge_base.tables if table.source is None]
        named += [self.parity.mentions, self.knowledge_base.codes, self.calibration.mentions, self.calibration.outside]
        missing = [f"\n  there is no file {path}" for path in named if path is not None and not path.is_file()]
        if missing:
            raise RecipeError(f"the recipe {self.path} names files that are not there:{''.join(missing)}")


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RecipeError(f"the recipe {path} cannot be read ({error.strerror}); name a TOML file") from error
    except UnicodeDecodeError as error:
        raise RecipeError(f"the recipe {path} is not UTF-8; save it as UTF-8") from error
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"the recipe {path} is not valid TOML: {error}") from error
