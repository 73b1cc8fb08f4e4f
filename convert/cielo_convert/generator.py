"""The generator: a T5 or mT5 checkpoint to the model of each backend, with the head and vocabulary it really has.

What the backends share is here: the checkpoint, loaded once, the tokenizer, and the output tokens that are kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from cielo.bundle.layout import TOKENIZER
from cielo.bundle.manifest import Check, GeneratorModel
from cielo.errors import CheckpointError, RecipeError
from cielo.generation.onnx import COMPUTE_TYPES as ONNX_COMPUTE_TYPES
from cielo.text.normal import fold_spaces

from cielo_convert.backend_step import ConvertedGenerator, ConvertStep, LoadedGenerator
from cielo_convert.checkpoint import TensorReader, load_generator, load_tokenizer, save_tokenizer

# Each loads its library where it is taken: a recipe may ask for one of them alone.


def _onnx(loaded: LoadedGenerator, directory: Path, compute_type: str) -> ConvertedGenerator:
    from cielo_convert.checks import embeddings_check, outputs_check
    from cielo_convert.onnx_generator import convert_onnx

    if compute_type not in ONNX_COMPUTE_TYPES:
        raise RecipeError(f"got quantization {compute_type!r}, expected one of {', '.join(ONNX_COMPUTE_TYPES)}")
    unknown = loaded.tokenizer.unk_token_id
    if unknown is None:
        raise CheckpointError(f"{loaded.checkpoint}: its tokenizer has no unknown token; name a whole T5 checkpoint")
    chosen: Literal["float32", "int8"] = "int8" if compute_type == "int8" else "float32"
    model = convert_onnx(loaded.model, directory, chosen, loaded.kept, unknown=unknown)
    checks = embeddings_check(directory, loaded.checkpoint), outputs_check(directory, loaded.tokenizer, loaded.kept)
    return ConvertedGenerator(model, checks)


def _ctranslate2(loaded: LoadedGenerator, directory: Path, compute_type: str) -> ConvertedGenerator:
    from cielo_convert.ctranslate2_generator import convert_ctranslate2

    return convert_ctranslate2(loaded, directory, compute_type)


# The step of each backend, in the order in which they are taken: CTranslate2's quantisation writes into the model's
# tensors, and comes last.
STEPS: dict[str, ConvertStep] = {"onnx": _onnx, "ctranslate2": _ctranslate2}


@dataclass(frozen=True, slots=True)
class GeneratorFacts:
    """What was converted.

    Attributes:
        models: what the manifest says of each backend's model, in the order that was asked for.
        own_head: whether the output head is independent of the embeddings.
        weights: SHA-256 of each weight file of the checkpoint.
        checks: the checks against the checkpoint, by backend.
    """

    models: dict[str, GeneratorModel]
    own_head: bool
    weights: dict[str, str]
    checks: dict[str, tuple[Check, ...]]


def convert_generator(
    checkpoint: Path, output: Path, compute_types: Mapping[str, str], descriptions: Iterable[str] | None = None
) -> GeneratorFacts:
    """Write the model of each backend, and their tokenizer.

    Args:
        checkpoint: directory of a T5 or mT5 checkpoint.
        output: is made where it does not stand; gets `tokenizer.json`, and each model in a directory of its own, as a
            bundle's directory of the generator holds them.
        compute_types: by backend.
        descriptions: restrict the outputs to the tokens of these texts; None: the whole vocabulary.

    Raises:
        CheckpointError: where the checkpoint is damaged, incomplete, or no T5.
        RecipeError: where a backend or a compute type is unknown.
    """
    unknown = [name for name in compute_types if name not in STEPS]
    if unknown or not compute_types:
        raise RecipeError(f"got backends {', '.join(unknown) or 'none'}, expected some of {', '.join(STEPS)}")
    tokenizer, model = load_tokenizer(checkpoint), load_generator(checkpoint)
    kept = None if descriptions is None else output_ids(tokenizer, descriptions)
    loaded = LoadedGenerator(checkpoint, model, tokenizer, kept)
    own_head = not model.config.tie_word_embeddings
    found: dict[str, ConvertedGenerator] = {}
    for name, convert in STEPS.items():
        if name in compute_types:
            directory = output / name
            directory.mkdir(parents=True, exist_ok=True)
            found[name] = convert(loaded, directory, compute_types[name])
    save_tokenizer(tokenizer, output / TOKENIZER)
    return GeneratorFacts(
        models={name: found[name].model for name in compute_types},
        own_head=own_head,
        weights=TensorReader(checkpoint).sha256(),
        checks={name: found[name].checks for name in compute_types},
    )


def output_ids(tokenizer: Any, descriptions: Iterable[str]) -> list[int]:
    """Return the ids that the descriptions are written with, and those of pad, end and unknown, sorted."""
    ids = {tokenizer.pad_token_id, tokenizer.eos_token_id, tokenizer.unk_token_id}
    texts = list(dict.fromkeys(form for text in descriptions for form in (text, fold_spaces(text))))
    if texts:
        for row in tokenizer(texts, add_special_tokens=False)["input_ids"]:
            ids.update(row)
    return sorted(token for token in ids if token is not None)
