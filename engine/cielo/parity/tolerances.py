"""How far a bundle's outputs may be from float32 PyTorch's, by compute type and precision.

What any sound conversion keeps, whatever the model; a fault of conversion overshoots it many times. How far rounding
moves a model depends on the model: a recipe bounds more closely what is known of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from cielo.bundle.manifest import Precision
from cielo.errors import ParityError

# Every check of the gate; a recipe may set the tolerance of each.
CheckName = Literal[
    "encoder.neighbours",
    "encoder.norm",
    "encoder.vectors",
    "generator.constrained.best",
    "generator.constrained.scores",
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
    "trie.descriptions",
    "trie.tokens",
    "trie.vocabulary",
]
# Share of queries whose first answer equals exact search's.
RECALL = 0.999
# From which lead in log-probability on a reference counts as decided: so much, or so many times what the compute
# type's rounding changes, if that is more.
DECIDED_MARGIN = 0.5
DECIDED_DEVIATIONS = 4.0


@dataclass(frozen=True, slots=True)
class GeneratorTolerances:
    """Bounds for one family of compute types.

    Attributes:
        log_probs: of given targets: in float32 the largest difference of a token's log-probability, else the RMS
            difference relative to their RMS.
        output_log_probs: of the reference's best outputs: the largest, or the RMS, difference of a token's.
        texts: least share of equal hypotheses.
        scores: difference of a score per token: the largest in float32, else the median.
        repeated: largest difference of a score per token between two ways to compute it with the same weights.
    """

    log_probs: float
    output_log_probs: float
    texts: float
    scores: float
    repeated: float


@dataclass(frozen=True, slots=True)
class EncoderTolerances:
    """Bounds for one precision of the encoder.

    Attributes:
        vectors: least cosine to the reference vector.
        norm: largest difference of a vector's L2 norm from 1.
        neighbours: least share of texts with the same nearest other text.
        tie: squared distances that differ by no more are equal.
    """

    vectors: float
    norm: float
    neighbours: float
    tie: float


_GENERATOR = {
    # Exact arithmetic in another order: 1e-4 in a score is what the references themselves are stable to.
    "float32": GeneratorTolerances(log_probs=1e-3, output_log_probs=1e-3, texts=0.99, scores=1e-4, repeated=1e-4),
    "int16": GeneratorTolerances(log_probs=0.02, output_log_probs=0.10, texts=0.98, scores=0.05, repeated=0.01),
    "half": GeneratorTolerances(log_probs=0.05, output_log_probs=0.30, texts=0.97, scores=0.15, repeated=0.05),
    "int8": GeneratorTolerances(log_probs=0.25, output_log_probs=1.00, texts=0.95, scores=0.50, repeated=0.02),
}
_ENCODER: dict[Precision, EncoderTolerances] = {
    "float32": EncoderTolerances(vectors=0.99999, norm=1e-4, neighbours=0.999, tie=1e-4),
    "float16": EncoderTolerances(vectors=0.9995, norm=1e-3, neighbours=0.99, tie=1e-3),
    "int8": EncoderTolerances(vectors=0.95, norm=1e-4, neighbours=0.99, tie=1e-2),
}


def generator_tolerances(compute_type: str) -> GeneratorTolerances:
    """Return the bounds for a compute type.

    Raises:
        ParityError: where none are known for it.
    """
    family = "int8" if compute_type.startswith("int8") else compute_type
    family = "half" if family.endswith("float16") else family
    if family not in _GENERATOR:
        raise ParityError(
            f"no tolerances are known for compute type {compute_type!r}; expected one of {', '.join(_GENERATOR)}, "
            "int8_*, float16 or bfloat16"
        )
    return _GENERATOR[family]


def encoder_tolerances(precision: Precision) -> EncoderTolerances:
    """Return the bounds for a precision."""
    return _ENCODER[precision]
