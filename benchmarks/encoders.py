"""The encoder's graphs: plain and fused, float32 and int8, in turns. ``python -m benchmarks.encoders CHECKPOINT``.

*Fused* is what `onnxruntime.transformers.optimizer` makes of the exported graph (attention, skip connections and norms
as single operators); ONNX Runtime fuses much of a plain graph by itself when it loads.
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
import numpy as np
import onnx
from cielo.machine import resident_bytes
from cielo.retrieval.embedder import Embedder
from cielo.text.tokenizer import Tokenizer
from cielo.workbench.bench.system import describe_system
from cielo_convert.checkpoint import load_encoder
from cielo_convert.encoder import append_pooling, export, fuse, in_precision, save_graph
from numpy.typing import NDArray

_ALONE = 16


def make_graphs(checkpoint: Path, folder: Path) -> dict[str, Path]:
    """Write the four graphs of a checkpoint and return their files by name."""
    model = load_encoder(checkpoint)
    plain = export(model, folder)
    fused = fuse(plain, model.config, folder / "fused")
    del model
    found = {}
    for name, source in (("plain", plain), ("fused", fused)):
        for precision in ("float32", "int8"):
            target = folder / f"{name}-{precision}"
            target.mkdir()
            graph: onnx.ModelProto = in_precision(source, precision, source.parent)  # type: ignore[arg-type]
            append_pooling(graph, "cls")
            save_graph(graph, target / "model.onnx")
            found[f"{name}, {precision}"] = target / "model.onnx"
    return found


def milliseconds(embedder: Embedder, texts: list[str], size: int) -> float:
    """Return the milliseconds for each text, `size` at a time."""
    start = time.perf_counter()
    for first in range(0, len(texts), size):
        embedder.embed(texts[first : first + size])
    return 1000 * (time.perf_counter() - start) / len(texts)


def compare(graphs: dict[str, Path], tokenizer: Tokenizer, texts: list[str], rounds: int) -> dict[str, dict[str, Any]]:
    """Measure every graph in each round; return medians, ranges, and the smallest cosine to the plain float32 one."""
    embedders, rows = {}, {}
    for name, path in graphs.items():
        before, start = resident_bytes() or 0, time.perf_counter()
        embedders[name] = Embedder(path, tokenizer)
        rows[name] = {"load_s": time.perf_counter() - start, "added_mb": ((resident_bytes() or 0) - before) / 1e6}
    vectors: dict[str, NDArray[np.float32]] = {name: embedder.embed(texts) for name, embedder in embedders.items()}
    samples: dict[str, dict[int, list[float]]] = {name: {1: [], 64: []} for name in graphs}
    for _ in range(rounds):
        for name, embedder in embedders.items():
            samples[name][64].append(milliseconds(embedder, texts, 64))
            samples[name][1].append(milliseconds(embedder, texts[:_ALONE], 1))
    reference = vectors["plain, float32"]
    for name, row in rows.items():
        for size in (1, 64):
            found = samples[name][size]
            row[f"batch_{size}_ms"] = statistics.median(found)
            row[f"batch_{size}_range"] = (min(found), max(found))  # type: ignore[assignment]
        row["least_cosine"] = float(np.min(np.sum(reference * vectors[name], axis=1)))
        embedders[name].close()
    return rows


@click.command()
@click.argument("checkpoint", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--texts", "table", required=True, type=click.Path(path_type=Path), help="A table of code, description.")
@click.option("--count", default=128, show_default=True)
@click.option("--rounds", default=3, show_default=True)
@click.option("--output", type=click.Path(path_type=Path), help="JSON.")
def main(checkpoint: Path, table: Path, count: int, rounds: int, output: Path | None) -> None:
    """Measure the encoder's graphs."""
    lines = table.read_text(encoding="utf-8").splitlines()[1:]
    texts = [line.split("\t")[1] for line in lines[:: max(1, len(lines) // count)]][:count]
    tokenizer = Tokenizer(checkpoint / "tokenizer.json", 64)
    with tempfile.TemporaryDirectory() as folder:
        found = compare(make_graphs(checkpoint, Path(folder)), tokenizer, texts, rounds)
    click.echo(
        "| graph | batch 1, ms | batch 64, ms a text | load, s | memory, MB | least cosine |\n|---|---|---|---|---|---|"
    )
    for name, row in found.items():
        click.echo(
            f"| {name} | {row['batch_1_ms']:.1f} | {row['batch_64_ms']:.1f} | {row['load_s']:.1f} "
            f"| {row['added_mb']:.0f} | {row['least_cosine']:.4f} |"
        )
    if output:
        content = {"checkpoint": checkpoint.name, "system": asdict(describe_system()), "graphs": found}
        output.write_text(json.dumps(content, indent=1, default=str), encoding="utf-8")


if __name__ == "__main__":
    main()
