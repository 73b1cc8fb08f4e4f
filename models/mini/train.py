"""Train the small demonstration model: an mT5 that writes titles of codes, and an encoder that compares them.

``python models/mini/train.py --output DIR`` writes ``DIR/encoder`` and ``DIR/generator`` as Hugging Face checkpoints
with weights stored in float16. It took 49 minutes on two busy cores; seeds are fixed, and only ``dev.tsv`` is looked
at on the way. The texts it is trained on are those of this folder (see `corpus`).
"""

from __future__ import annotations

import argparse
import copy
import io
import itertools
import json
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import sentencepiece
import torch
from cielo.text.prompt import build_prompt
from corpus import FOLDER, WINDOW, Example, Sampler, Terms, held_forms, read_examples, read_sentences, read_tables
from torch import Tensor
from torch.nn import functional
from transformers import (
    MT5Config,
    MT5ForConditionalGeneration,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    T5Tokenizer,
    T5TokenizerFast,
    XLMRobertaConfig,
    XLMRobertaModel,
    XLMRobertaTokenizer,
    XLMRobertaTokenizerFast,
)

SEED = 20
PIECES = 4000
MAX_TITLE_TOKENS = 64
POOL = 30  # batches whose examples are sorted by length together
# Single characters that must not become the unknown token although the texts may lack some of them.
CHARACTERS = (
    "abcdefghijklmnopqrstuvwxyzáéíóúüñçàèìòùâêîôûäëïöABCDEFGHIJKLMNOPQRSTUVWXYZÁÉÍÓÚÜÑÇ0123456789"
    ".,;:-_/()[]%+*=<>\"'¿?¡!ºª°&#@µαβγ"
)


@dataclass(frozen=True, slots=True)
class Schedule:
    """Size and length of a training run."""

    steps: int
    batch: int
    rate: float
    warmup: int = 50

    def factor(self, step: int) -> float:
        """Share of the highest learning rate at `step`: a linear rise, then a linear fall to zero."""
        return min((step + 1) / self.warmup, (self.steps - step) / (self.steps - self.warmup))


ENCODER = Schedule(steps=500, batch=128, rate=3e-3)
GENERATOR = Schedule(steps=3000, batch=64, rate=3e-3)
ALONE_STEPS = 900  # first steps of the generator, on short prompts: the mention stands for its sentence


def log(message: str, start: float) -> None:
    """Print `message` with the minutes since `start`."""
    print(f"[{(time.monotonic() - start) / 60:5.1f} min] {message}", flush=True)


# --- tokenizers ----------------------------------------------------------------------------------------------------


def train_pieces(texts: Iterator[str], path: Path, **ids: int | bool) -> None:
    """Train a SentencePiece unigram model of `PIECES` pieces on `texts` and write it to `path`."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=texts,
        model_writer=model,
        model_type="unigram",
        vocab_size=PIECES,
        character_coverage=1.0,
        required_chars=CHARACTERS,
        normalization_rule_name="nmt_nfkc",
        num_threads=1,  # the result depends on the number of threads
        minloglevel=2,
        **ids,  # type: ignore[arg-type]
    )
    path.write_bytes(model.getvalue())


def tokenizer_texts(sampler: Sampler, count: int) -> Iterator[str]:
    """Yield `count` prompts and twice as many titles and mentions."""
    for _ in range(count):
        prompt, title = sampler.example(alone=0.3)
        yield prompt
        yield title
        yield sampler.surface(sampler.rng.choice(sampler.terms.trained))


def generator_tokenizer(sampler: Sampler, folder: Path) -> PreTrainedTokenizerFast:
    """Train, save and return the generator's tokenizer, in mT5's layout: pad 0, eos 1, unk 2, bytes from 3."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "spiece.model"
    train_pieces(tokenizer_texts(sampler, 15_000), path, pad_id=0, eos_id=1, unk_id=2, bos_id=-1, byte_fallback=True)
    slow = T5Tokenizer(str(path), extra_ids=0, legacy=True, model_max_length=1024)
    slow.save_pretrained(folder)
    return save_fast(T5TokenizerFast.from_pretrained(folder, from_slow=True), path)


def encoder_tokenizer(sampler: Sampler, folder: Path) -> PreTrainedTokenizerFast:
    """Train, save and return the encoder's tokenizer, in XLM-R's layout: <s> 0, <pad> 1, </s> 2, <unk> 3."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "sentencepiece.bpe.model"
    train_pieces(tokenizer_texts(sampler, 15_000), path)
    slow = XLMRobertaTokenizer(str(path), model_max_length=MAX_TITLE_TOKENS)
    slow.save_pretrained(folder)
    return save_fast(XLMRobertaTokenizerFast.from_pretrained(folder, from_slow=True), path)


def save_fast(tokenizer: PreTrainedTokenizerFast, pieces: Path) -> PreTrainedTokenizerFast:
    """Save the fast form of a tokenizer beside its SentencePiece model, whose ids it must keep."""
    tokenizer.save_pretrained(pieces.parent)
    processor = sentencepiece.SentencePieceProcessor(model_file=str(pieces))
    shift = tokenizer.convert_tokens_to_ids("▁de") - processor.piece_to_id("▁de")
    for number in range(300, processor.get_piece_size()):
        if tokenizer.convert_tokens_to_ids(processor.id_to_piece(number)) != number + shift:
            raise ValueError(f"the fast tokenizer moved piece {number}")
    return tokenizer


# --- both models ---------------------------------------------------------------------------------------------------


def save_half(model: PreTrainedModel, folder: Path) -> None:
    """Save `model` with float16 weights and a configuration that says float32, the type to compute in."""
    copy.deepcopy(model).half().save_pretrained(folder)
    path = folder / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    config.pop("torch_dtype", None)
    config["dtype"] = "float32"
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")


class Muon(torch.optim.Optimizer):
    """Momentum whose steps are made orthogonal (https://kellerjordan.github.io/posts/muon/), for weight matrices.

    It learns this task in a fraction of AdamW's steps. Unlike `torch.optim.Muon` it computes in float32, as bfloat16
    is slow on many CPUs, and handles matrices of one shape together.
    """

    MOMENTUM = 0.95
    COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # of the Newton-Schulz iteration
    ITERATIONS = 5

    def __init__(self, matrices: list[Tensor], lr: float) -> None:
        """Optimise `matrices`, all of two dimensions."""
        super().__init__(matrices, {"lr": lr})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Make one step; `closure` is not used."""
        for group in self.param_groups:
            shapes: dict[tuple[int, ...], list[Tensor]] = {}
            for matrix in group["params"]:
                shapes.setdefault(tuple(matrix.shape), []).append(matrix)
            for matrices in shapes.values():
                self._step_together(matrices, group["lr"])

    def _step_together(self, matrices: list[Tensor], rate: float) -> None:
        updates = []
        for matrix in matrices:
            if matrix.grad is None:
                raise ValueError("a matrix without gradient")
            average = self.state[matrix].setdefault("average", torch.zeros_like(matrix))
            average.lerp_(matrix.grad, 1 - self.MOMENTUM)
            updates.append(matrix.grad.lerp(average, self.MOMENTUM))
        # A matrix of n entries per longer side, all singular values 1, times this has entries of about 0.2, which is
        # the size of AdamW's steps.
        scale = 0.2 * max(matrices[0].shape) ** 0.5
        for matrix, update in zip(matrices, self._orthogonal(torch.stack(updates)), strict=True):
            matrix.add_(update, alpha=-rate * scale)

    def _orthogonal(self, stack: Tensor) -> Tensor:
        """Return the matrices of `stack` (matrices, rows, columns) with all singular values moved to about 1."""
        tall = stack.shape[1] > stack.shape[2]
        result: Tensor = stack.mT.contiguous() if tall else stack
        result = result / (result.norm(dim=(1, 2), keepdim=True) + 1e-7)
        one, three, five = self.COEFFICIENTS
        for _ in range(self.ITERATIONS):
            square = result @ result.mT
            result = one * result + (three * square + five * square @ square) @ result
        return result.mT if tall else result


def optimizers(model: PreTrainedModel, rate: float) -> list[torch.optim.Optimizer]:
    """Return Muon for the matrices of the layers, AdamW for embeddings, output layer, biases and scales."""
    inner: list[Tensor] = []
    outer: list[Tensor] = []
    for name, parameter in model.named_parameters():
        is_table = any(part in name for part in ("embedding", "shared", "lm_head", "relative_attention_bias"))
        (outer if is_table or parameter.ndim != 2 else inner).append(parameter)
    return [Muon(inner, lr=rate), torch.optim.AdamW(outer, lr=2 * rate, betas=(0.9, 0.98), weight_decay=0, fused=True)]


def fit(
    model: PreTrainedModel,
    losses: Iterator[Tensor],
    schedule: Schedule,
    after: Callable[[int, float], None],
) -> None:
    """Train `model` on `losses`, which are drawn one per step; `after` gets each step's number and loss."""
    pair = optimizers(model, schedule.rate)
    planners = [torch.optim.lr_scheduler.LambdaLR(optimizer, schedule.factor) for optimizer in pair]
    for step in range(1, schedule.steps + 1):
        loss = next(losses)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer, planner in zip(pair, planners, strict=True):
            optimizer.step()
            optimizer.zero_grad()
            planner.step()
        after(step, loss.item())


# --- generator -----------------------------------------------------------------------------------------------------


def new_generator(pieces: int) -> MT5ForConditionalGeneration:
    """Return a generator with random weights; its vocabulary is padded to a multiple of 64, as mT5's is."""
    config = MT5Config(
        vocab_size=pieces // 64 * 64 + 64,
        d_model=192,
        d_kv=64,
        d_ff=512,
        num_heads=4,
        num_layers=3,
        num_decoder_layers=2,
        feed_forward_proj="gated-gelu",
        tie_word_embeddings=False,
        dropout_rate=0.05,
        initializer_factor=0.05,
        decoder_start_token_id=0,
        pad_token_id=0,
        eos_token_id=1,
    )
    return MT5ForConditionalGeneration(config)


def generator_losses(
    model: MT5ForConditionalGeneration,
    tokenizer: PreTrainedTokenizerFast,
    sampler: Sampler,
    batch: int,
    alone_steps: int,
) -> Iterator[Tensor]:
    """Yield the cross-entropy of fresh batches; examples of similar length share a batch.

    The first `alone_steps` batches have no sentences, the others have them in about two of three examples.
    """
    shuffler = random.Random(SEED)
    for turn in itertools.count():
        alone = 1.0 if turn * POOL < alone_steps else 0.35
        examples = [sampler.example(alone) for _ in range(POOL * batch)]
        sources = tokenizer([prompt for prompt, _ in examples])["input_ids"]
        targets = tokenizer([title for _, title in examples])["input_ids"]
        order = sorted(range(len(examples)), key=lambda at: len(sources[at]))
        batches = [order[at : at + batch] for at in range(0, len(order), batch)]
        shuffler.shuffle(batches)
        for chosen in batches:
            source = tokenizer.pad({"input_ids": [sources[at] for at in chosen]}, return_tensors="pt")
            labels = tokenizer.pad({"input_ids": [targets[at] for at in chosen]}, return_tensors="pt")["input_ids"]
            labels = labels.masked_fill(labels == 0, -100)
            yield model(**source, labels=labels).loss


@torch.inference_mode()
def generate(
    model: MT5ForConditionalGeneration, tokenizer: PreTrainedTokenizerFast, examples: list[Example]
) -> list[str]:
    """Return the greedy output for each example."""
    prompts = [build_prompt(row.text, row.sentence, window=WINDOW) for row in examples]
    order = sorted(range(len(prompts)), key=lambda at: len(prompts[at]))
    answers = [""] * len(prompts)
    model.eval()
    for start in range(0, len(order), 64):
        chosen = order[start : start + 64]
        source = tokenizer([prompts[at] for at in chosen], padding=True, return_tensors="pt")
        outputs = model.generate(**source, num_beams=1, do_sample=False, max_new_tokens=48)
        for at, text in zip(chosen, tokenizer.batch_decode(outputs, skip_special_tokens=True), strict=True):
            answers[at] = text
    model.train()
    return answers


def right_codes(terms: Terms, examples: list[Example], answers: list[str]) -> dict[str, float]:
    """Return the share of answers that are exactly the right title, for all examples and for each way of making."""
    right = [terms.by_code[row.code].description == answer for row, answer in zip(examples, answers, strict=True)]
    shares = {"all": sum(right) / len(right)}
    for how in dict.fromkeys(row.how for row in examples):
        group = [good for row, good in zip(examples, right, strict=True) if row.how == how]
        shares[how] = sum(group) / len(group)
    return shares


def train_generator(sampler: Sampler, dev: list[Example], folder: Path, start: float) -> None:
    """Train the generator; `folder` always holds the weights that were best on `dev`."""
    torch.manual_seed(SEED)
    tokenizer = generator_tokenizer(sampler, folder)
    log("generator's tokenizer written", start)
    model = new_generator(len(tokenizer)).train()
    losses = generator_losses(model, tokenizer, sampler, GENERATOR.batch, ALONE_STEPS)
    fit(model, losses, GENERATOR, keep_best(model, tokenizer, sampler.terms, dev, folder, GENERATOR.steps, start))


def keep_best(
    model: MT5ForConditionalGeneration,
    tokenizer: PreTrainedTokenizerFast,
    terms: Terms,
    dev: list[Example],
    folder: Path,
    steps: int,
    start: float,
) -> Callable[[int, float], None]:
    """Return what follows a step: every 50 a line, every 250 and at the end a look at `dev`; the best is saved."""
    best = -1.0
    total = 0.0

    def after(step: int, loss: float) -> None:
        nonlocal best, total
        total += loss
        if step % 50 == 0:
            log(f"generator step {step}: loss {total / 50:.3f}", start)
            total = 0.0
        if step % 250 and step != steps:
            return
        shares = right_codes(terms, dev, generate(model, tokenizer, dev))
        log("dev " + " ".join(f"{how} {share:.3f}" for how, share in shares.items()), start)
        if shares["all"] >= best:
            best = shares["all"]
            save_half(model, folder)

    return after


# --- encoder -------------------------------------------------------------------------------------------------------


def new_encoder(tokenizer: PreTrainedTokenizerFast) -> XLMRobertaModel:
    """Return an encoder with random weights, for at most `MAX_TITLE_TOKENS` tokens."""
    config = XLMRobertaConfig(
        vocab_size=len(tokenizer),
        hidden_size=192,
        num_hidden_layers=3,
        num_attention_heads=4,
        intermediate_size=512,
        max_position_embeddings=MAX_TITLE_TOKENS + 2,  # XLM-R counts positions from pad + 1
        type_vocab_size=1,
        initializer_range=0.07,  # about hidden_size ** -0.5: with 0.02 the vectors of all texts start out equal
        pad_token_id=1,
        bos_token_id=0,
        eos_token_id=2,
        hidden_dropout_prob=0.05,
        attention_probs_dropout_prob=0.05,
    )
    return XLMRobertaModel(config, add_pooling_layer=False)


def vectors(model: XLMRobertaModel, tokenizer: PreTrainedTokenizerFast, texts: list[str]) -> Tensor:
    """Return the unit vectors of `texts`, of shape (texts, hidden size): the last hidden state of ``<s>``.

    Texts of similar length go through the model together, as most are short and a few are long.
    """
    ids = tokenizer(texts, truncation=True, max_length=MAX_TITLE_TOKENS)["input_ids"]
    order = sorted(range(len(ids)), key=lambda at: len(ids[at]))
    parts = []
    for start in range(0, len(order), 64):
        inputs = tokenizer.pad({"input_ids": [ids[at] for at in order[start : start + 64]]}, return_tensors="pt")
        parts.append(model(**inputs).last_hidden_state[:, 0])
    back = torch.tensor(order).argsort()
    return functional.normalize(torch.cat(parts)[back], dim=-1)


def encoder_losses(
    model: XLMRobertaModel, tokenizer: PreTrainedTokenizerFast, sampler: Sampler, batch: int
) -> Iterator[Tensor]:
    """Yield InfoNCE losses between titles, as they are or corrupted, and other forms of the same codes.

    A batch is made of runs of eight neighbouring codes, so that the wrong ones include the most similar ones.
    """
    rng = sampler.rng
    terms = sorted(sampler.terms.trained, key=lambda term: (term.kind, term.code))
    while True:
        starts = rng.sample(range(0, len(terms), 8), batch // 8)
        shift = rng.randrange(8)
        chosen = [terms[(at + shift + more) % len(terms)] for at in starts for more in range(8)]
        titles = [term.description if rng.random() < 0.5 else sampler.corrupted_title(term) for term in chosen]
        forms = [sampler.surface(term) if rng.random() < 0.6 else sampler.corrupted_title(term) for term in chosen]
        both = vectors(model, tokenizer, titles + forms)
        scores = both[: len(chosen)] @ both[len(chosen) :].T / 0.05
        # The last run can wrap around to codes of the first, and two codes can share a title.
        names = [term.description for term in chosen]
        same = torch.tensor([[a == b for a in names] for b in names]) & ~torch.eye(len(chosen), dtype=torch.bool)
        scores = scores.masked_fill(same, -1e4)
        wanted = torch.arange(len(chosen))
        yield (functional.cross_entropy(scores, wanted) + functional.cross_entropy(scores.T, wanted)) / 2


@torch.inference_mode()
def nearest(
    model: XLMRobertaModel, tokenizer: PreTrainedTokenizerFast, terms: Terms, queries: list[str]
) -> tuple[list[str], list[float]]:
    """Return the title nearest to each query, and its squared L2 distance (0 to 4)."""
    titles = [term.description for term in terms.terms]
    cosines = vectors(model, tokenizer, queries) @ vectors(model, tokenizer, titles).T
    best = cosines.max(dim=1)
    return [titles[at] for at in best.indices.tolist()], (2 - 2 * best.values).tolist()


# Sentences from outside of medicine: their distances say from where on the answer should be "none".
FOREIGN = (
    "se pocha la cebolla a fuego lento", "añadir dos huevos y una pizca de sal", "hornear el bizcocho 40 minutos",
    "tortilla de patatas con pimientos", "receta de arroz con leche", "pelar y trocear las manzanas",
    "el tren de cercanías llegó con retraso", "reunión de la comunidad de vecinos", "gol en el último minuto",
    "alquiler de piso con terraza", "la bolsa cerró con ganancias", "cambio de aceite del coche",
    "vuelo directo a Lisboa", "instalación de placas solares", "pintar la fachada de blanco",
    "concierto de guitarra en la plaza", "matrícula del curso de inglés", "pedido de tornillos y tuercas",
    "poda de los rosales en febrero", "nevadas por encima de mil metros",
)  # fmt: skip


def deciles(distances: list[float]) -> str:
    """Return the quantiles 0.05, 0.25, 0.5, 0.75 and 0.95 of `distances` as text."""
    if not distances:
        return "none"
    values = torch.quantile(torch.tensor(distances), torch.tensor([0.05, 0.25, 0.5, 0.75, 0.95]))
    return " ".join(f"{value:.3f}" for value in values.tolist())


def report_encoder(
    model: XLMRobertaModel,
    tokenizer: PreTrainedTokenizerFast,
    sampler: Sampler,
    dev: list[Example],
    start: float,
) -> None:
    """Print how often the nearest title is the right one, and at which distances."""
    model.eval()
    corrupted = [(sampler.corrupted_title(term), term.description) for term in sampler.terms.terms[::3]]
    mentions = [(row.text, sampler.terms.by_code[row.code].description) for row in dev]
    for name, pairs in (("mentions", mentions), ("corrupted titles", corrupted)):
        found, distances = nearest(model, tokenizer, sampler.terms, [query for query, _ in pairs])
        right = [title == answer for title, (_, answer) in zip(found, pairs, strict=True)]
        log(f"encoder, dev {name}: right {sum(right) / len(right):.3f}", start)
        log("  distance where right " + deciles([d for d, good in zip(distances, right, strict=True) if good]), start)
        log(
            "  distance where wrong " + deciles([d for d, good in zip(distances, right, strict=True) if not good]),
            start,
        )
    log("  distance of other text " + deciles(nearest(model, tokenizer, sampler.terms, list(FOREIGN))[1]), start)
    model.train()


def train_encoder(sampler: Sampler, dev: list[Example], folder: Path, start: float) -> None:
    """Train the encoder and save it to `folder`."""
    torch.manual_seed(SEED)
    tokenizer = encoder_tokenizer(sampler, folder)
    model = new_encoder(tokenizer).train()
    total = 0.0

    def after(step: int, loss: float) -> None:
        nonlocal total
        total += loss
        if step % 50 == 0:
            log(f"encoder step {step}: loss {total / 50:.3f}", start)
            total = 0.0
        if step % 250 == 0 or step == ENCODER.steps:
            report_encoder(model, tokenizer, sampler, dev, start)

    fit(model, encoder_losses(model, tokenizer, sampler, ENCODER.batch), ENCODER, after)
    save_half(model, folder)


def main() -> None:
    """Train both models; the encoder comes first, as it is quick."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, help="folder for the two checkpoints")
    output = parser.parse_args().output
    start = time.monotonic()
    torch.set_num_threads(2)
    torch.set_flush_denormal(True)  # the moments of rare pieces decay to numbers that are slow to compute with
    terms, sentences, held = Terms(read_tables()), read_sentences(), held_forms()
    dev = read_examples(FOLDER / "dev.tsv")
    train_encoder(Sampler(terms, sentences, held, SEED), dev, output / "encoder", start)
    train_generator(Sampler(terms, sentences, held, SEED + 1), dev, output / "generator", start)


if __name__ == "__main__":
    main()
