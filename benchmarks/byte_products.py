"""What the size of int8's weights costs and saves: levels of eight bits, of seven, and those that cielo writes.

``python -m benchmarks.byte_products --output FILE``, of the mini's checkpoint and the references of its bundle. ONNX
Runtime's exact sums come from the same levels as bytes without a sign, whose products no processor cuts off: what a
processor with VNNI adds up. For CTranslate2, ``CT2_USE_MKL=1`` in the environment asks for MKL's products.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import click
import numpy as np
import onnx
from cielo import schema
from cielo.bundle.layout import Bundle, default_bundle
from cielo.bundle.trie import DescriptionTrie
from cielo.generation.backends import BACKENDS
from cielo.generation.constrained import ConstrainedSearch
from cielo.generation.onnx_files import DECODER, ENCODER
from cielo.generation.plan import ThreadPlan
from cielo.generation.protocol import Generator
from cielo.generation.searches import SEARCHES
from cielo.knowledge.reading import KnowledgeBase
from cielo.parity.references import References
from cielo.records import Decoding
from cielo.text.tokenizer import Encoded, Tokenizer
from cielo.workbench.bench.system import describe_system
from cielo_convert import levels
from cielo_convert.generator import convert_generator
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper

CHECKPOINT = Path(__file__).parents[1] / "models" / "mini" / "checkpoint" / "generator"
SEARCHED: tuple[Decoding, ...] = ("probable", "published")
TIMED = 150  # prompts


def up_to(most: int) -> Callable[[NDArray[np.float32]], NDArray[np.float32]]:
    """Return the usual way: a row's largest weight is the largest level."""
    return lambda block: np.maximum(np.abs(block).max(axis=1) / np.float32(most), np.float32(1e-30))


WAYS = {"eight bits": up_to(127), "seven bits": up_to(64), "cielo": levels.units_of}


@dataclass(frozen=True, slots=True)
class Subject:
    """A conversion of the mini's generator, under the name that its figures get."""

    name: str
    backend: str
    compute_type: str
    directory: Path


def unsigned(directory: Path) -> None:
    """Rewrite a model's levels as bytes without a sign, 128 more each: the same numbers, and exact sums."""
    for name in (ENCODER, DECODER):
        model = onnx.load(directory / name)
        kinds = {entry.name: entry for entry in model.graph.initializer}
        model.graph.initializer.append(numpy_helper.from_array(np.array(128, dtype=np.uint8), "unsigned_zero"))
        for node in model.graph.node:
            if node.op_type == "MatMulIntegerToFloat":
                entry = kinds[node.input[1]]
                if entry.data_type == TensorProto.INT8:
                    moved = (numpy_helper.to_array(entry).astype(np.int16) + 128).astype(np.uint8)
                    entry.CopyFrom(numpy_helper.from_array(moved, entry.name))
                node.input.append("unsigned_zero")
        (directory / name).with_suffix(".data").unlink()
        onnx.save_model(
            model,
            directory / name,
            save_as_external_data=True,
            location=Path(name).with_suffix(".data").name,
        )


def subjects(folder: Path) -> Iterator[Subject]:
    """Convert the checkpoint in every way."""
    convert_generator(CHECKPOINT, folder / "float32", {"onnx": "float32", "ctranslate2": "float32"})
    for backend in ("onnx", "ctranslate2"):
        yield Subject(f"{backend}, float32", backend, "float32", folder / "float32")
    for way, units in WAYS.items():
        with mock.patch.object(levels, "units_of", units):
            convert_generator(CHECKPOINT, folder / way, {"onnx": "int8", "ctranslate2": "int8"})
            convert_generator(CHECKPOINT, folder / f"{way} exact", {"onnx": "int8"})
        unsigned(folder / f"{way} exact" / "onnx")
        yield Subject(f"ctranslate2, {way}", "ctranslate2", "int8", folder / way)
        yield Subject(f"onnx, {way}", "onnx", "int8", folder / way)
        yield Subject(f"onnx, {way}, exact sums", "onnx", "int8", folder / f"{way} exact")


class Measured:
    """The mini's references, and what a generator gives for them."""

    def __init__(self, bundle: Bundle) -> None:
        self.references = References.load(bundle.references, bundle.reference_vectors)
        self.tokenizer = Tokenizer(bundle.generator_tokenizer, bundle.manifest.generator.max_source_tokens)
        assert bundle.manifest.trie is not None
        self.trie = DescriptionTrie.load(bundle.trie, bundle.manifest.trie, self.tokenizer).trie
        self.prompts = [Encoded(ids, False) for ids in self.references.prompt_ids]
        self._base = KnowledgeBase(bundle.knowledge_base)

    def codes(self, texts: Sequence[str]) -> list[list[str]]:
        return [[entry.code for entry in self._base.match(text)] or [text] for text in texts]

    def open(self, subject: Subject) -> Generator:
        return BACKENDS[subject.backend].open(
            subject.directory / subject.backend,
            self.tokenizer,
            device="cpu",
            compute_type=subject.compute_type,
            plan=ThreadPlan(1, 1),
        )

    def figures(self, generator: Generator) -> dict[str, Any]:
        """Return the share of first codes that are float32 PyTorch's, and how far log-probabilities are from its."""
        found: dict[str, Any] = {}
        for decoding in SEARCHED:
            got = self.codes([rows[0].text for rows in generator.generate(self.prompts, SEARCHES[decoding])])
            wanted = self.codes([rows[0].text for rows in self.references.searches[decoding]])
            found[decoding] = statistics.fmean(one == other for one, other in zip(got, wanted, strict=True))
        log_probs = np.concatenate(generator.log_probs(self.prompts, self.references.targets))
        wanted_log_probs = np.concatenate([np.array(row) for row in self.references.target_log_probs])
        deviation = np.sqrt(np.mean((log_probs - wanted_log_probs) ** 2))
        found["log_probs_rms"] = float(deviation / np.sqrt(np.mean(wanted_log_probs**2)))
        return found

    def leaves(self, generator: Generator) -> list[tuple[int, float]]:
        """Return the most probable description of each prompt, and its log-probability."""
        answers = generator.search_tries(self.prompts, [self.trie] * len(self.prompts), ConstrainedSearch(best=1))
        return [(answer.leaves[0].first, answer.leaves[0].log_prob) for answer in answers]

    def seconds(self, generator: Generator) -> float:
        """Return the processor's time for some prompts; other work on the machine hardly changes it."""
        begun = time.process_time()
        generator.generate(self.prompts[:TIMED], SEARCHES["probable"])
        return time.process_time() - begun


@click.command()
@click.option("--output", type=click.Path(path_type=Path), required=True)
@click.option("--rounds", type=click.IntRange(1), default=5, show_default=True, help="Of the times, in turns.")
def main(output: Path, rounds: int) -> None:
    """Measure every way to write int8, and write the figures as JSON."""
    measured = Measured(Bundle.open(default_bundle()))
    with tempfile.TemporaryDirectory() as folder:
        converted = list(subjects(Path(folder)))
        opened = {subject.name: measured.open(subject) for subject in converted}
        found = {}
        for name, generator in opened.items():
            found[name] = measured.figures(generator)
            click.echo(f"{name:<32}" + "  ".join(f"{key} {value:.4f}" for key, value in found[name].items()))
        leaves = {name: measured.leaves(opened[name]) for name in opened if name.startswith("onnx")}
        for name, rows in leaves.items():
            best = [row[0] for row in rows]
            wanted = [row[0] for row in leaves["onnx, float32"]]
            found[name]["constrained"] = statistics.fmean(np.equal(best, wanted))
            exact = leaves.get(f"{name}, exact sums")
            if exact is not None:
                found[name]["equal_to_exact_sums"] = statistics.fmean(a == b for a, b in zip(rows, exact, strict=True))
        times: dict[str, list[float]] = {name: [] for name in opened}
        for _ in range(rounds):
            for name, generator in opened.items():
                times[name].append(measured.seconds(generator))
        for name, values in times.items():
            found[name]["processor_ms_a_prompt"] = 1000 * statistics.median(values) / TIMED
        for generator in opened.values():
            generator.close()
    mkl = os.environ.get("CT2_USE_MKL")
    output.write_bytes(schema.encode({"system": describe_system(), "CT2_USE_MKL": mkl, "ways": found}))


if __name__ == "__main__":
    main()
