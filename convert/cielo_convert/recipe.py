"""Recipes: what a bundle is built from, as TOML. Every problem of a recipe is reported at once."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

from cielo.errors import RecipeError
from cielo.generation.ctranslate2 import COMPUTE_TYPES
from cielo.generation.searches import DECODINGS
from cielo.knowledge.building import read_codes
from cielo.knowledge.codes import SYSTEMS, System
from cielo.knowledge.subsets import Subset
from cielo.records import Decoding
from cielo.tables import CodeTable, TableFormat

Vocabulary = Literal["full", "knowledge-base"]
Precision = Literal["float32", "float16", "int8"]
Pooling = Literal["cls", "mean"]

TABLE_FORMATS: tuple[str, ...] = get_args(TableFormat)
PRECISIONS = ("float32", "float16", "int8")

# The checks whose tolerance a recipe may set: those of `cielo.parity.checks`, whatever the compute type.
TOLERANCES = (
    "encoder.neighbours",
    "encoder.norm",
    "encoder.vectors",
    "generator.log_probs",
    "generator.output_log_probs",
    "generator.probable.scores",
    "generator.probable.texts",
    "generator.published.scores",
    "generator.published.texts",
    "index.descriptions",
    "index.recall",
    "index.vectors",
    "tokenizer.encoder_ids",
    "tokenizer.end_of_sequence",
    "tokenizer.generator_ids",
    "tokenizer.prompt_ids",
)

_Record = TypeVar("_Record")
_Check = Callable[[Any], "str | None"]


def _one_of(*allowed: str) -> _Check:
    return lambda value: None if value in allowed else f"got {value!r}, expected one of {', '.join(allowed)}"


def _between(least: float, most: float) -> _Check:
    return lambda value: None if least <= value <= most else f"got {value}, expected {least} to {most}"


def _text(value: str) -> str | None:
    return None if value.strip() else "is empty, expected a text"


@dataclass(frozen=True, slots=True)
class GeneratorRecipe:
    """The generator: a T5 or mT5 checkpoint, and what to make of it.

    Attributes:
        checkpoint: a directory (relative to the recipe) or a hub name ``owner/name``.
        quantization: the weights' form in the bundle, one of CTranslate2's compute types.
        revision: of a hub name.
        vocabulary: ``full``, or ``knowledge-base``: outputs are restricted to the tokens of its descriptions.
        decoding: the bundle's default search.
        max_source_tokens: longest prompt, ``</s>`` included; the rest is cut.
    """

    checkpoint: str = field(metadata={"check": _text})
    quantization: str = field(metadata={"check": _one_of(*COMPUTE_TYPES)})
    revision: str | None = None
    vocabulary: Vocabulary = field(default="full", metadata={"check": _one_of("full", "knowledge-base")})
    decoding: Decoding = field(default="probable", metadata={"check": _one_of(*DECODINGS)})
    max_source_tokens: int = field(default=512, metadata={"check": _between(8, 100_000)})


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

    checkpoint: str = field(metadata={"check": _text})
    revision: str | None = None
    precision: Precision = field(default="float32", metadata={"check": _one_of(*PRECISIONS)})
    pooling: Pooling = field(default="cls", metadata={"check": _one_of("cls", "mean")})
    max_tokens: int = field(default=64, metadata={"check": _between(4, 100_000)})
    fused: bool = False


@dataclass(frozen=True, slots=True)
class PromptRecipe:
    """How prompts are built: see `cielo.text.prompt.build_prompt`."""

    prepare_sentence: bool = True
    window: int | None = field(default=None, metadata={"check": _between(0, 100_000)})


@dataclass(frozen=True, slots=True)
class TableRecipe:
    """A table of the knowledge base, and the kind of all its rows; see `cielo.tables.CodeTable`.

    Attributes:
        system: the code system of its kind, one of `SYSTEMS`; None: the one that nearly all its codes belong to.
    """

    path: Path
    kind: str = field(metadata={"check": _text})
    format: str | None = field(default=None, metadata={"check": _one_of(*TABLE_FORMATS)})
    encoding: str | None = None
    sheet: str | None = None
    code_column: str | None = None
    description_column: str | None = None
    synonyms: bool = False
    system: str | None = field(default=None, metadata={"check": _one_of(*SYSTEMS)})

    def code_table(self) -> CodeTable:
        """Return what the reader of tables takes."""
        settings = {entry.name: getattr(self, entry.name) for entry in fields(self) if entry.name != "system"}
        return CodeTable(**settings)


@dataclass(frozen=True, slots=True)
class KnowledgeBaseRecipe:
    """The knowledge base: its edition, as results name it, and its tables; their order decides between matches.

    Attributes:
        chapters: keep only these; see `cielo.knowledge.subsets.Subset`.
        leaf: keep only codes below which there is no other.
        codes: keep only the codes that this file names, one a line.
    """

    edition: str = field(metadata={"check": _text})
    tables: tuple[TableRecipe, ...] = ()
    chapters: tuple[str, ...] | None = None
    leaf: bool = False
    codes: Path | None = None

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
            codes=read_codes(self.codes) if self.codes else None,
        )

    def systems(self) -> dict[str, System]:
        """Return the code system of each kind for which one is named."""
        named = {table.kind: table.system for table in self.tables if table.system}
        return {kind: system for kind, found in named.items() for system in SYSTEMS if system == found}


@dataclass(frozen=True, slots=True)
class CalibrationRecipe:
    """What the confidence is fitted on: a table of annotated mentions (`cielo calibrate`); None: there is none."""

    mentions: Path | None = None


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

    max_distance: float = field(metadata={"check": _between(0, 4)})
    recall: float = field(default=0.999, metadata={"check": _between(0, 1)})
    dimension: int | None = field(default=None, metadata={"check": _between(2, 65_536)})


@dataclass(frozen=True, slots=True)
class ParityRecipe:
    """The comparison with PyTorch.

    Attributes:
        mentions: a table with the columns ``text`` and ``sentence``; None: the one that comes with cielo.
        prompts: at most so many prompts are made from it.
        tolerances: in the place of the packaged ones, by the check's name.
    """

    mentions: Path | None = None
    prompts: int = field(default=300, metadata={"check": _between(1, 1_000_000)})
    tolerances: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Recipe:
    """A whole recipe. `path` is the file it was read from, to which relative paths refer."""

    name: str
    licence: str
    generator: GeneratorRecipe
    encoder: EncoderRecipe
    prompt: PromptRecipe
    knowledge_base: KnowledgeBaseRecipe
    index: IndexRecipe
    parity: ParityRecipe
    calibration: CalibrationRecipe
    path: Path

    @classmethod
    def load(cls, path: Path) -> Recipe:
        """Read a recipe.

        Raises:
            RecipeError: where it cannot be read, or naming every unknown, missing or wrong key.
        """
        table = _read(path)
        reader = _Reader(path.parent)
        recipe = reader.recipe(table, path)
        if reader.problems or recipe is None:
            problems = "".join(f"\n  {problem}" for problem in reader.problems)
            raise RecipeError(f"the recipe {path} is not valid:{problems}")
        return recipe

    def check_files(self) -> None:
        """Refuse a recipe whose tables are not there; its checkpoints are looked for when they are resolved.

        Raises:
            RecipeError: naming every file that is missing.
        """
        named: list[Path | None] = [table.path for table in self.knowledge_base.tables]
        named += [self.parity.mentions, self.knowledge_base.codes, self.calibration.mentions]
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


class _Reader:
    """Turns the tables of a recipe into records, and gathers what is wrong with them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.problems: list[str] = []

    def recipe(self, table: dict[str, Any], path: Path) -> Recipe | None:
        sections = {
            "generator": GeneratorRecipe, "encoder": EncoderRecipe, "prompt": PromptRecipe, "index": IndexRecipe,
            "parity": ParityRecipe, "calibration": CalibrationRecipe,
        }  # fmt: skip
        self._unknown("", table, {"name", "licence", "knowledge_base", *sections})
        texts = {key: self._value(key, table, str, _text) for key in ("name", "licence")}
        records = {
            key: self._section(key, table, kind, optional=key in ("prompt", "parity", "calibration"))
            for key, kind in sections.items()
        }
        knowledge_base = self._knowledge_base(table)
        if self.problems:
            return None
        return Recipe(**texts, **records, knowledge_base=knowledge_base, path=path)  # type: ignore[arg-type]

    def _section(
        self, key: str, table: dict[str, Any], kind: type[_Record], *, optional: bool = False
    ) -> _Record | None:
        section = table.get(key, {} if optional else None)
        if not isinstance(section, dict):
            self.problems.append(f"[{key}] is missing" if section is None else f"{key}: expected a table [{key}]")
            return None
        return self._record(f"{key}.", section, kind)

    def _record(self, prefix: str, section: dict[str, Any], kind: type[_Record]) -> _Record | None:
        known = {entry.name: entry for entry in fields(kind)}  # type: ignore[arg-type]
        self._unknown(prefix, section, set(known))
        values: dict[str, Any] = {}
        for name, entry in known.items():
            if name in section:
                values[name] = self._typed(prefix + name, section[name], str(entry.type), entry.metadata.get("check"))
            elif entry.default is MISSING and entry.default_factory is MISSING:
                self.problems.append(f"{prefix}{name} is missing")
        return None if self.problems else kind(**values)

    def _knowledge_base(self, table: dict[str, Any]) -> KnowledgeBaseRecipe | None:
        section = table.get("knowledge_base")
        if not isinstance(section, dict):
            self.problems.append("[knowledge_base] is missing")
            return None
        others = {key: value for key, value in section.items() if key != "tables"}
        base = self._record("knowledge_base.", others, KnowledgeBaseRecipe)
        tables = section.get("tables")
        if not isinstance(tables, list) or not tables or not all(isinstance(entry, dict) for entry in tables):
            self.problems.append("knowledge_base.tables: expected at least one [[knowledge_base.tables]]")
            return None
        rows = [self._record(f"knowledge_base.tables[{n}].", entry, TableRecipe) for n, entry in enumerate(tables)]
        return None if base is None or self.problems else replace(base, tables=tuple(row for row in rows if row))

    def _unknown(self, prefix: str, table: dict[str, Any], known: set[str]) -> None:
        for key in sorted(set(table) - known):
            self.problems.append(f"{prefix}{key} is not known here; expected {', '.join(sorted(known))}")

    def _value(self, key: str, table: dict[str, Any], kind: type, check: _Check, prefix: str = "") -> Any:
        if key not in table:
            self.problems.append(f"{prefix}{key} is missing")
            return None
        return self._typed(prefix + key, table[key], kind.__name__, check)

    def _typed(self, key: str, value: Any, annotation: str, check: _Check | None) -> Any:
        """Return `value` in the type that a field's annotation names, or note what is wrong with it."""
        kind = annotation.removesuffix(" | None")
        if kind == "Path":
            return self._file(key, value)
        if kind.startswith("tuple[str"):
            return self._texts(key, value)
        if kind.startswith("Mapping"):
            return self._numbers(key, value)
        expected, name = _TYPES.get(kind, (str, "a text"))
        # bool is an int to Python, not to the writer of a recipe.
        if not isinstance(value, expected) or (isinstance(value, bool) and expected is not bool):
            self.problems.append(f"{key}: got {type(value).__name__}, expected {name}")
            return None
        problem = check(value) if check else None
        if problem:
            self.problems.append(f"{key}: {problem}")
        return value

    def _file(self, key: str, value: Any) -> Path | None:
        if not isinstance(value, str) or not value:
            self.problems.append(f"{key}: got {type(value).__name__}, expected the path of a file")
            return None
        return self._folder / value

    def _texts(self, key: str, value: Any) -> tuple[str, ...]:
        if not isinstance(value, list) or not all(isinstance(entry, str) for entry in value):
            self.problems.append(f"{key}: expected a list of texts")
            return ()
        return tuple(value)

    def _numbers(self, key: str, value: Any) -> dict[str, float]:
        numbers = isinstance(value, dict) and all(
            isinstance(entry, int | float) and not isinstance(entry, bool) for entry in value.values()
        )
        if not numbers:
            self.problems.append(f'{key}: expected numbers by the name of the check, such as "index.recall" = 0.99')
            return {}
        self._unknown(f"{key}.", value, set(TOLERANCES))
        return {name: float(entry) for name, entry in value.items()}


_TYPES: dict[str, tuple[Any, str]] = {
    "int": (int, "a whole number"),
    "float": (int | float, "a number"),
    "bool": (bool, "true or false"),
}
