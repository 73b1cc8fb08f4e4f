"""``python -m benchmarks.true_shape``: make the checkpoints and bundles of the published shape in a cache directory."""

from __future__ import annotations

import json
import multiprocessing
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from cielo.errors import CieloError

from benchmarks.true_shape.bundles import Cost, assemble, convert, ensure_checkpoint, write_recipe


def _in_own_process(function: Callable[..., Any], *arguments: Any) -> Any:
    """Run a function in a new process, so that its peak of memory is its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(function, arguments)


def _costs(function: Callable[..., list[Cost]], *arguments: Any) -> list[dict[str, Any]]:
    return [cost.to_dict() for cost in _in_own_process(function, *arguments)]


@click.command()
@click.option("--cache", required=True, type=click.Path(path_type=Path), help="Where all is kept: about 25 GB.")
@click.option(
    "--parity", multiple=True, type=click.Choice(["int8", "float32"]), help="Convert by the published recipe."
)
@click.option("--encoder", type=click.Choice(["large", "base"]), default="large", show_default=True)
@click.option("--precision", type=click.Choice(["float32", "int8"]), default="float32", show_default=True)
@click.option("--prompts", default=40, show_default=True, help="Prompts of the parity gate: 10 s each in float32.")
@click.option("--bundle/--no-bundle", default=True, help="Put the bundle of 180,000 descriptions together.")
@click.option(
    "--backend",
    "backends",
    multiple=True,
    type=click.Choice(["ctranslate2", "onnx"]),
    default=["ctranslate2", "onnx"],
    show_default=True,
    help="Of the bundles; the first is their own.",
)
@click.option("--full-vocabulary", is_flag=True, help="And one whose outputs are not restricted.")
def main(
    cache: Path,
    parity: tuple[str, ...],
    encoder: str,
    precision: str,
    prompts: int,
    bundle: bool,
    backends: tuple[str, ...],
    full_vocabulary: bool,
) -> None:
    """Make checkpoints of the published shape, and bundles of them; what stands already is left as it is."""
    cache = cache.absolute()
    cache.mkdir(parents=True, exist_ok=True)
    costs: dict[str, Any] = {}
    try:
        for name in ("generator", f"encoder-{encoder}"):
            _in_own_process(ensure_checkpoint, cache, name)
        wanted = (["knowledge-base"] if bundle else []) + (["full"] if full_vocabulary else [])
        for vocabulary in wanted:
            output = cache / f"bundle-{vocabulary}"
            if not output.is_dir():
                costs[output.name] = _costs(assemble, cache, output, vocabulary, backends)
        for quantization in parity:
            output = cache / f"parity-{quantization}-{encoder}"
            if not output.is_dir():
                recipe = write_recipe(
                    cache, quantization=quantization, precision=precision, encoder=f"encoder-{encoder}",
                    prompts=prompts, backends=backends,
                )  # fmt: skip
                costs[output.name] = _costs(convert, recipe, output)
    except CieloError as error:
        click.echo(f"{error}", err=True)
        sys.exit(1)
    finally:
        if costs:
            file = cache / f"costs-{int(time.time())}.json"
            file.write_text(json.dumps(costs, indent=1), encoding="utf-8")
    click.echo(json.dumps(costs, indent=1))


if __name__ == "__main__":
    main()
