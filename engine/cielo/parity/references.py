"""The references: what float32 PyTorch gave for a bundle's prompts, texts and strings. They travel with the bundle."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from cielo import schema
from cielo.bundle.manifest import REMEDY
from cielo.errors import BundleError
from cielo.files import read_bounded
from cielo.generation.searches import DECODINGS
from cielo.records import Decoding, Hypothesis

_MOST_BYTES = 200_000_000  # of a file of references, unfolded


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceOutputs:
    """What `references.json` holds.

    Attributes:
        prompts: of the searches, N of them.
        strings: whose token ids are compared, for both tokenizers.
        texts: whose vectors are compared.
        prompt_ids: token ids of each prompt, ``</s>`` included.
        generator_string_ids, encoder_string_ids: token ids of each string.
        num_beams: beams, and hypotheses for each prompt.
        max_new_tokens: longest output, ``</s>`` included.
        searches: the hypotheses of each prompt, best first, by decoding.
        targets: a given output for each prompt, as ids without ``</s>``.
        target_log_probs: of each token of each target, ``</s>`` included.
        outputs: the best output of each prompt by `published`, as ids without ``</s>``.
        output_log_probs: likewise.

    Raises:
        ValueError: where lists that belong together are of unlike lengths, or a decoding is missing.
    """

    format: Literal[1] = 1
    prompts: list[str]
    strings: list[str]
    texts: list[str]
    prompt_ids: list[list[int]]
    generator_string_ids: list[list[int]]
    encoder_string_ids: list[list[int]]
    num_beams: int
    max_new_tokens: int
    searches: Mapping[Decoding, list[list[Hypothesis]]]
    targets: list[list[int]]
    target_log_probs: list[list[float]]
    outputs: list[list[int]]
    output_log_probs: list[list[float]]

    def __post_init__(self) -> None:
        for name in ("prompt_ids", "targets", "target_log_probs", "outputs", "output_log_probs"):
            _same_length(name, getattr(self, name), "prompts", self.prompts)
        for name in ("generator_string_ids", "encoder_string_ids"):
            _same_length(name, getattr(self, name), "strings", self.strings)
        for decoding in DECODINGS:
            if decoding not in self.searches:
                raise ValueError(f"searches: got none for {decoding}, expected {', '.join(DECODINGS)}")
            _same_length(f"searches.{decoding}", self.searches[decoding], "prompts", self.prompts)
            if not all(self.searches[decoding]):
                raise ValueError(f"searches.{decoding}: got a prompt without a hypothesis, expected at least one")


def _same_length(name: str, values: Sequence[object], other: str, others: Sequence[object]) -> None:
    if len(values) != len(others):
        raise ValueError(f"{name}: got {len(values)} entries, expected {len(others)}, as many as {other}")


@dataclass(frozen=True, slots=True, kw_only=True)
class References(ReferenceOutputs):
    """The references of a bundle.

    Attributes:
        vectors: of the texts, float32 [len(texts), dimension], each with an L2 norm of 1.
    """

    vectors: NDArray[np.float32]

    @classmethod
    def load(cls, outputs: Path, vectors: Path) -> References:
        """Read the two files.

        Raises:
            BundleError: where they cannot be read as references.
        """
        try:
            # Prompts are clinical texts, perhaps a user's own: errors show nothing of them.
            found = schema.decode(
                ReferenceOutputs,
                read_bounded(outputs, _MOST_BYTES),
                str(outputs),
                error=BundleError,
                remedy=REMEDY,
                unknown="ignore",
            )
            with zipfile.ZipFile(io.BytesIO(read_bounded(vectors, _MOST_BYTES))) as parts:
                if sum(part.file_size for part in parts.infolist()) > _MOST_BYTES:  # a few bytes can unfold to anything
                    raise ValueError("too long")
            with np.load(vectors) as arrays:
                array = arrays["vectors"]
        except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            raise BundleError(
                f"the parity references cannot be read ({type(error).__name__}); build the bundle again"
            ) from error
        return cls(**{field.name: getattr(found, field.name) for field in fields(found)}, vectors=array)
