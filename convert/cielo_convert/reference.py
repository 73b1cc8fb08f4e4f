"""The references: what float32 PyTorch gives for a bundle's prompts, texts and strings.

They are made in a process of their own: the conversion's quantisation writes into
the tensors of the model that it was given, and a process that ends gives its memory back.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from cielo import schema
from cielo.bundle.layout import Layout
from cielo.bundle.manifest import Pooling
from cielo.children import child
from cielo.errors import CieloError, ParityError
from cielo.files import temporary_folder
from cielo.parity.references import ReferenceOutputs
from cielo.records import Decoding, Hypothesis

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_DECODINGS: dict[Decoding, dict[str, Any]] = {
    # The model card's.
    "published": {"early_stopping": True, "length_penalty": 1.0},
    # The most probable outputs: without early stopping the search ends when nothing better can follow.
    "probable": {"early_stopping": False, "length_penalty": 0.0},
}
# Source tokens, padding included, in one batch of a search, and rows at most: bounds the memory of five beams.
_BATCH_TOKENS = 2048
_BATCH_ROWS = 32
_SCORING_ROWS = 8  # log-probabilities are rows x length x vocabulary floats
_LAST_LINES = 12

Progress = Callable[[str, int, int], None]
_Item = TypeVar("_Item")


@dataclass(frozen=True, slots=True)
class ReferenceRequest:
    """What references to make.

    Attributes:
        generator: the generator's checkpoint.
        encoder: the encoder's checkpoint.
        prompts: of the searches.
        strings: whose token ids are compared, for both tokenizers.
        texts: whose vectors are compared.
        descriptions: of the knowledge base; each prompt is scored with one of them as its output.
        restricted: whether outputs are restricted to the tokens of `descriptions`.
        pooling: ``cls`` or ``mean``.
        max_source_tokens: longest prompt, ``</s>`` included.
        max_tokens: longest text of the encoder, special tokens included.
        num_beams: beams, and hypotheses for each prompt.
        max_new_tokens: longest output, ``</s>`` included.
        threads: of PyTorch; None: its default.
    """

    generator: Path
    encoder: Path
    prompts: list[str]
    strings: list[str]
    texts: list[str]
    descriptions: list[str]
    restricted: bool = False
    pooling: Pooling = "cls"
    max_source_tokens: int = 512
    max_tokens: int = 64
    num_beams: int = 5
    max_new_tokens: int = 128
    threads: int | None = None


@dataclass(frozen=True, slots=True)
class TorchOutput:
    """An output of PyTorch's search; `ids` are its tokens' without ``</s>``."""

    hypothesis: Hypothesis
    ids: list[int]


def make_references(request: ReferenceRequest, layout: Layout, progress: Progress | None = None) -> None:
    """Write a bundle's references and reference vectors, in another process.

    Args:
        request: what to make.
        layout: of the bundle.
        progress: is called with the step's name, how many of its items are done, and how many there are.

    Raises:
        ParityError: where the process fails; with the end of what it said.
    """
    layout.references.parent.mkdir(parents=True, exist_ok=True)
    absolute = replace(request, generator=request.generator.absolute(), encoder=request.encoder.absolute())
    with temporary_folder(Path(tempfile.gettempdir())) as folder, tempfile.TemporaryFile() as complaints:
        request_file = folder / "request.json"
        request_file.write_bytes(schema.encode(absolute, indent=0))
        arguments = (str(request_file), str(layout.path.absolute()))
        with child(
            "cielo_convert.reference",
            *arguments,
            settings={"TOKENIZERS_PARALLELISM": "false"},
            stdout=subprocess.PIPE,
            stderr=complaints,
        ) as process:
            _follow(process, progress)
        if process.returncode:
            raise ParityError(_failure(process.returncode, complaints))


def _follow(process: subprocess.Popen[bytes], progress: Progress | None) -> None:
    for line in process.stdout or ():
        with contextlib.suppress(ValueError):
            step, done, total = json.loads(line)
            if progress is not None:
                progress(step, done, total)


def _failure(code: int, complaints: Any) -> str:
    complaints.seek(0)
    lines = complaints.read().decode("utf-8", "replace").strip().splitlines()[-_LAST_LINES:]
    killed = "; it was ended from outside, most often for want of memory" if code in (-9, 137) else ""
    said = "".join(f"\n  {line}" for line in lines)
    return f"the float32 references could not be made: their process ended with status {code}{killed}{said}"


# From here on: the other process.


def main(arguments: Sequence[str]) -> int:
    """Make the references that a request file asks for; return the exit status."""
    try:
        request = schema.decode(
            ReferenceRequest, Path(arguments[0]).read_bytes(), "the request", error=ParityError, remedy="report this"
        )
        _make(request, Layout(Path(arguments[1])))
    except CieloError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except Exception as error:
        # Where it happened and what it was, without the message: that can hold a prompt.
        sys.stderr.write("".join(traceback.format_tb(error.__traceback__)[-4:]))
        sys.stderr.write(f"{type(error).__name__}\n")
        return 1
    return 0


def _report(step: str, done: int, total: int) -> None:
    sys.stdout.write(json.dumps([step, done, total]) + "\n")
    sys.stdout.flush()


def _make(request: ReferenceRequest, layout: Layout) -> None:
    import numpy as np
    import torch

    if request.threads is not None:
        torch.set_num_threads(request.threads)
    with torch.inference_mode():
        vectors, encoder_ids = _encoder_references(request)
        references = _generator_references(request, encoder_ids)
    np.savez(layout.reference_vectors, vectors=vectors)
    layout.references.write_bytes(schema.encode(references, indent=0))


def _encoder_references(request: ReferenceRequest) -> tuple[NDArray[np.float32], list[list[int]]]:
    """Return the unit vectors of the texts, float32 [len(texts), dimension], and the ids of the strings."""
    import numpy as np

    from cielo_convert.checkpoint import load_encoder, load_tokenizer

    tokenizer, model = load_tokenizer(request.encoder), load_encoder(request.encoder)
    rows = tokenizer(request.texts, truncation=True, max_length=request.max_tokens)["input_ids"]
    vectors = np.zeros((len(rows), model.config.hidden_size), dtype=np.float32)
    for batch in _batches(rows, "vectors", _BATCH_ROWS):
        ids, mask = _padded([rows[row] for row in batch], tokenizer.pad_token_id)
        vectors[batch] = _pool(model(input_ids=ids, attention_mask=mask).last_hidden_state, mask, request.pooling)
    return vectors, tokenizer(request.strings)["input_ids"]


def _pool(hidden: Any, mask: Any, pooling: Pooling) -> Any:
    """Return the unit vectors [batch, dimension] of hidden states [batch, length, dimension]."""
    from torch.nn.functional import normalize

    if pooling == "cls":
        return normalize(hidden[:, 0], dim=-1).numpy()
    weights = mask[..., None].float()
    return normalize((hidden * weights).sum(1) / weights.sum(1).clamp(min=1), dim=-1).numpy()


def _generator_references(request: ReferenceRequest, encoder_ids: list[list[int]]) -> ReferenceOutputs:
    from cielo_convert.checkpoint import load_generator, load_tokenizer
    from cielo_convert.generator import output_ids

    tokenizer, model = load_tokenizer(request.generator), load_generator(request.generator)
    if request.restricted:
        restrict_outputs(model, output_ids(tokenizer, request.descriptions))
    ids = tokenizer(request.prompts, truncation=True, max_length=request.max_source_tokens)["input_ids"]
    targets = _targets(tokenizer, request.descriptions, len(ids))
    beams, longest = request.num_beams, request.max_new_tokens
    searches = {
        decoding: search(model, tokenizer, ids, decoding, num_beams=beams, max_new_tokens=longest)
        for decoding in _DECODINGS
    }
    # Rows of the embeddings beyond the tokenizer's tokens have no token by which a target could name them.
    outputs = [[token for token in rows[0].ids if token < len(tokenizer)] for rows in searches["published"]]
    return ReferenceOutputs(
        prompts=request.prompts,
        strings=request.strings,
        texts=request.texts,
        prompt_ids=ids,
        generator_string_ids=tokenizer(request.strings)["input_ids"],
        encoder_string_ids=encoder_ids,
        num_beams=beams,
        max_new_tokens=longest,
        searches={name: [[row.hypothesis for row in rows] for rows in found] for name, found in searches.items()},
        targets=targets,
        target_log_probs=log_probs(model, ids, targets),
        outputs=outputs,
        output_log_probs=log_probs(model, ids, outputs),
    )


def restrict_outputs(model: Any, kept: Sequence[int]) -> None:
    """Make every output token but `kept` impossible: logits of minus infinity, before the softmax."""
    import torch

    head = model.lm_head
    mask = torch.full((head.out_features,), float("-inf"))
    mask[list(kept)] = 0.0
    # A logits processor would come after the softmax, and leave the others' probability out of the sum's reach.
    head.register_forward_hook(lambda module, inputs, logits: logits + mask)


def _targets(tokenizer: Any, descriptions: Sequence[str], count: int) -> list[list[int]]:
    """Return the ids (without ``</s>``) of `count` descriptions, spread evenly over the knowledge base."""
    chosen = [descriptions[number * len(descriptions) // count] for number in range(count)]
    return list(tokenizer(chosen, add_special_tokens=False)["input_ids"]) if chosen else []


def search(
    model: Any,
    tokenizer: Any,
    prompts: list[list[int]],
    decoding: Decoding,
    *,
    num_beams: int = 5,
    max_new_tokens: int = 128,
) -> list[list[TorchOutput]]:
    """Return for each prompt (ids, ``</s>`` included) its `num_beams` outputs, best first."""
    from transformers import GenerationConfig

    # A checkpoint's own generation settings stay out: the bundle knows these and no others.
    settings = GenerationConfig(
        num_beams=num_beams, num_return_sequences=num_beams, max_new_tokens=max_new_tokens, do_sample=False,
        decoder_start_token_id=model.config.decoder_start_token_id, pad_token_id=model.config.pad_token_id,
        eos_token_id=model.config.eos_token_id, return_dict_in_generate=True, output_scores=True,
        **_DECODINGS[decoding],
    )  # fmt: skip
    model.generation_config = settings
    found: list[list[TorchOutput]] = [[] for _ in prompts]
    for batch in _batches(prompts, f"search ({decoding})", _BATCH_ROWS):
        ids, mask = _padded([prompts[row] for row in batch], model.config.pad_token_id)
        result = model.generate(input_ids=ids, attention_mask=mask, generation_config=settings)
        outputs = _outputs(result, tokenizer, settings)
        for place, row in enumerate(batch):
            found[row] = outputs[place * num_beams : (place + 1) * num_beams]
    return found


def _outputs(result: Any, tokenizer: Any, settings: Any) -> list[TorchOutput]:
    rows = []
    for sequence, score in zip(result.sequences.tolist(), result.sequences_scores.tolist(), strict=True):
        tokens = sequence[1:]  # without the decoder's start
        end = settings.eos_token_id
        # Padding follows </s>; a row without </s> was cut at the longest length.
        length = tokens.index(end) + 1 if end in tokens else len(tokens)
        text = tokenizer.decode(tokens[:length], skip_special_tokens=True)
        log_prob = score * length**settings.length_penalty
        hypothesis = Hypothesis(text, score, log_prob, length, finished=end in tokens)
        rows.append(TorchOutput(hypothesis, [token for token in tokens[:length] if token != end]))
    return rows


def log_probs(model: Any, prompts: list[list[int]], targets: list[list[int]]) -> list[list[float]]:
    """Return the log-probability of each token of each target, ``</s>`` included, given its prompt's ids."""
    import torch

    start, end, pad = model.config.decoder_start_token_id, model.config.eos_token_id, model.config.pad_token_id
    found: list[list[float]] = [[] for _ in prompts]
    for batch in _batches(prompts, "scores", _SCORING_ROWS):
        ids, mask = _padded([prompts[row] for row in batch], pad)
        wanted, _ = _padded([[*targets[row], end] for row in batch], pad)
        shifted = torch.cat([torch.full_like(wanted[:, :1], start), wanted[:, :-1]], dim=1)
        logits = model(input_ids=ids, attention_mask=mask, decoder_input_ids=shifted).logits
        values = torch.log_softmax(logits.float(), dim=-1).gather(2, wanted[..., None])[..., 0].tolist()
        for row, scores in zip(batch, values, strict=True):
            found[row] = scores[: len(targets[row]) + 1]
    return found


def _batches(rows: Sequence[Sequence[_Item]], step: str, most: int) -> Iterator[list[int]]:
    """Yield the numbers of rows in batches of like length, and report the progress."""
    order = sorted(range(len(rows)), key=lambda row: -len(rows[row]))
    done = 0
    while done < len(order):
        size = max(1, min(most, _BATCH_TOKENS // max(1, len(rows[order[done]]))))
        batch = order[done : done + size]
        yield batch
        done += len(batch)
        _report(step, done, len(order))


def _padded(rows: list[list[int]], pad: int) -> tuple[Any, Any]:
    """Return ids and attention mask, int64 [len(rows), longest]."""
    import torch

    length = max(1, max(len(row) for row in rows))
    ids = torch.tensor([row + [pad] * (length - len(row)) for row in rows])
    mask = torch.tensor([[1] * len(row) + [0] * (length - len(row)) for row in rows])
    return ids, mask


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
