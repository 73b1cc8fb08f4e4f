"""The generator for CTranslate2: its specification, the output rows that are kept, and both vocabularies."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from cielo.bundle.manifest import GeneratorModel
from cielo.errors import CheckpointError, RecipeError
from cielo.generation.ctranslate2 import COMPUTE_TYPES
from cielo.generation.memory import Shape
from ctranslate2.converters.transformers import MT5Loader, T5Loader
from ctranslate2.specs.model_spec import OPTIONAL, NumpyVariable, Variable, visit_spec

from cielo_convert.backend_step import ConvertedGenerator, LoadedGenerator
from cielo_convert.checks import head_check, output_scale_check, vocabulary_check
from cielo_convert.levels import byte_levels

# The name of the backend, and of the directory of its model.
BACKEND = "ctranslate2"
_FLOATS = ("float32", "float16", "bfloat16")
_LOADERS = {"t5": T5Loader, "mt5": MT5Loader}


def convert_ctranslate2(loaded: LoadedGenerator, directory: Path, compute_type: str) -> ConvertedGenerator:
    """Write a CTranslate2 model into a directory that is there; its quantisation spoils the tensors that are loaded.

    Raises:
        CheckpointError: where the tokenizer has ids beyond the embeddings.
        RecipeError: where the compute type is unknown.
    """
    if compute_type not in COMPUTE_TYPES:
        raise RecipeError(f"got quantization {compute_type!r}, expected one of {', '.join(COMPUTE_TYPES)}")
    checkpoint, model, tokenizer, kept = loaded.checkpoint, loaded.model, loaded.tokenizer, loaded.kept
    spec = make_spec(model, tokenizer, kept)
    # Quantisation writes into the model's tensors: the comparison with the file comes first.
    checks = [head_check(spec, checkpoint, kept), output_scale_check(spec, checkpoint)]
    spec.validate()
    quantize(spec, compute_type)
    spec.save(str(directory))
    source, target = read_vocabularies(directory)
    checks.append(vocabulary_check(source, target, tokenizer, model.config.vocab_size, kept))
    shape = _shape(model.config, len(target))
    return ConvertedGenerator(GeneratorModel(compute_type, shape, len(source), len(target)), tuple(checks))


def quantize(spec: Any, compute_type: str) -> None:
    """Bring a specification into a compute type: as CTranslate2 does, but for int8, whose levels are cielo's."""
    if not compute_type.startswith("int8"):
        spec.optimize(compute_type)
        return
    spec.optimize()  # what is the same becomes one
    rest = compute_type.partition("_")[2]

    def narrow(layer: Any, name: str, value: Any) -> None:
        if not isinstance(value, Variable) or value.is_scalar():
            return
        key = name.rpartition("/")[2]
        if hasattr(layer, f"{key}_scale"):
            levels, units = byte_levels(value.to("float32").numpy())
            setattr(layer, key, NumpyVariable(levels))
            setattr(layer, f"{key}_scale", NumpyVariable(1 / units))
        elif rest and value.dtype in _FLOATS:
            setattr(layer, key, value.to(rest))

    visit_spec(spec, narrow)


def _shape(config: Any, outputs: int) -> Shape:
    # T5's attention can be wider or narrower than its hidden states.
    width = max(config.d_model, config.num_heads * config.d_kv)
    return Shape(config.num_decoder_layers or config.num_layers, width, config.d_ff, outputs)


def make_spec(model: Any, tokenizer: Any, kept: list[int] | None) -> Any:
    """Return CTranslate2's specification of a model from `load_generator`, not yet validated or quantised.

    Args:
        model: in float32; the specification holds its tensors.
        tokenizer: the reference tokenizer.
        kept: ids of the output tokens; None: all.
    """
    loader = _LOADERS[model.config.model_type]()
    with torch.no_grad():
        spec = loader.get_model_spec(model)
    loader.set_config(spec.config, model, tokenizer)
    # A tied head's logits are scaled, an own head's are not: said here, since the converter trusts a config's flag.
    spec.decoder.scale_outputs = model.config.d_model**-0.5 if model.config.tie_word_embeddings else OPTIONAL
    tokens = vocabulary(tokenizer, model.config.vocab_size)
    spec.register_source_vocabulary(tokens)
    if kept is None:
        spec.register_target_vocabulary(tokens)
        return spec
    spec.register_target_vocabulary([tokens[token] for token in kept])
    _keep_rows(spec.decoder, torch.tensor(kept))
    return spec


def _keep_rows(decoder: Any, rows: torch.Tensor) -> None:
    # New tensors: the encoder's embeddings, which may be the very same tensor, stay whole.
    decoder.embeddings.weight = decoder.embeddings.weight.detach()[rows].clone()
    decoder.projection.weight = decoder.projection.weight.detach()[rows].clone()
    if isinstance(decoder.projection.bias, torch.Tensor):
        decoder.projection.bias = decoder.projection.bias.detach()[rows].clone()


def vocabulary(tokenizer: Any, size: int) -> list[str]:
    """Return the token of each id from 0 to `size` - 1.

    Rows of the embeddings that no token has, mostly padding at the end, get names that collide with no token.

    Raises:
        CheckpointError: where the tokenizer has ids beyond the embeddings.
    """
    by_id = {token_id: token for token, token_id in tokenizer.get_vocab().items()}
    if max(by_id) >= size:
        raise CheckpointError(
            f"the tokenizer has the id {max(by_id)}, the model {size} rows of embeddings; name one whole checkpoint"
        )
    names = _free_names(set(by_id.values()))
    return [by_id[token_id] if token_id in by_id else next(names) for token_id in range(size)]


def _free_names(taken: set[str]) -> Iterator[str]:
    number = 0
    while True:
        name = f"<extra_id_{number}>"
        if name not in taken:
            yield name
        number += 1


def read_vocabularies(directory: Path) -> tuple[list[str], list[str]]:
    """Return the source and the target vocabulary of a CTranslate2 model."""
    shared = directory / "shared_vocabulary.json"
    sides = [directory / f"{side}_vocabulary.json" for side in ("source", "target")]
    files = [shared, shared] if shared.is_file() else sides
    source, target = (list(json.loads(file.read_text(encoding="utf-8"))) for file in files)
    return source, target
