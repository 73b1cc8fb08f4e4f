"""``cielo verify``, ``cielo info``: bundles, checked and looked at."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import click

from cielo import schema
from cielo.bundle.layout import GENERATOR, Bundle, default_bundle
from cielo.cli.base import echo, echo_json, main
from cielo.cli.options import BundlePath, model_options
from cielo.cli.parity import show_checks
from cielo.errors import ParityError
from cielo.machine import processor_name


@main.command()
@click.argument("bundle", type=BundlePath(), required=False)
@click.option(
    "--parity", "with_parity", is_flag=True, help="Run the parity gate on this machine, and keep its figures."
)
@model_options
def verify(
    bundle: Path | None,
    with_parity: bool,
    backend: str,
    device: str,
    compute_type: str | None,
    threads: int | None,
) -> None:
    """Check every hash of BUNDLE (default: CIELO_BUNDLE, else the mini), and its parity on this machine.

    The parity of each backend that it holds, unless --backend or --compute-type names one.
    """
    opened = Bundle.open(bundle or default_bundle())
    opened.check_hashes()
    echo(f"{opened.path}: {len(opened.manifest.files)} files, every hash as in the manifest")
    for name in opened.unlisted_files():
        echo(f"  not part of the bundle: {name}")
    if with_parity:
        _verify_parity(opened, backend, device, compute_type, threads)


def _verify_parity(bundle: Bundle, backend: str, device: str, compute_type: str | None, threads: int | None) -> None:
    from cielo.bundle.opening import executions_on
    from cielo.bundle.state import record_parity, require_state
    from cielo.parity.checks import run_checks

    executions = executions_on(bundle, backend=backend, device=device, compute_type=compute_type)
    require_state(bundle, *executions)
    failed = []
    for execution in executions:
        report = run_checks(bundle, execution, threads=threads)
        show_checks(f"parity of {report.key} on {processor_name()}", report.checks)
        file = record_parity(bundle, execution, report.figures())
        echo(f"kept in {file}")
        if not report.passed:
            names = ", ".join(check.name for check in report.checks if not check.passed)
            failed.append(f"parity of {report.key} failed on this machine: {names}")
    if failed:
        raise ParityError(f"{'; '.join(failed)}; use another compute type, or another backend")


@main.command()
@click.argument("bundle", type=BundlePath(), required=False)
@click.option("--json", "as_json", is_flag=True, help="Print the manifest.")
def info(bundle: Path | None, as_json: bool) -> None:
    """Show what BUNDLE holds (default: CIELO_BUNDLE, else the mini)."""
    opened = Bundle.open(bundle or default_bundle())
    if as_json:
        shown = {"path": str(opened.path), "sha256": opened.sha256, **schema.to_builtins(opened.manifest)}
        echo_json(json.dumps(shown, ensure_ascii=False, indent=1))
        return
    for name, value in list(_facts(opened)):  # all or nothing
        echo(f"{name:<32}{value}")


def _facts(bundle: Bundle) -> Iterator[tuple[str, str]]:
    manifest = bundle.manifest
    size = sum(entry.size for entry in manifest.files.values())
    yield "bundle", f"{bundle.name}@{bundle.sha256[:12]}"
    yield "path", str(bundle.path)
    yield "size", f"{size / 1e6:.1f} MB in {len(manifest.files)} files"
    yield "licence", manifest.licence
    for part, source in manifest.sources.items():
        yield part, f"{source.name}, revision {source.revision or '-'}, weights {source.sha256[:12]}"
    yield from _model_facts(bundle)
    yield "confidence", ", ".join(_calibrated(bundle)) or "never calibrated"
    yield from _parity_facts(bundle)


def _model_facts(bundle: Bundle) -> Iterator[tuple[str, str]]:
    manifest = bundle.manifest
    generator, encoder, base, index = manifest.generator, manifest.encoder, manifest.knowledge_base, manifest.index
    for name, model in generator.backends.items():
        folder = f"{GENERATOR}/{name}/"
        size = sum(entry.size for file, entry in manifest.files.items() if file.startswith(folder))
        own = ", the bundle's own" if name == generator.backend else ""
        yield f"backend {name}", f"{model.compute_type}, {size / 1e6:.1f} MB{own}"
    yield "generator settings", f"output vocabulary {generator.vocabulary}, decoding {generator.decoding}"
    yield "vectors", f"{encoder.dimension} dimensions, {encoder.precision}, {encoder.pooling} pooling"
    counts = ", ".join(f"{count} of kind {kind}" for kind, count in base.concepts.items())
    yield "knowledge base", f"{base.edition}: {counts}; {base.descriptions} descriptions"
    graph = f"M {index.m}, ef {index.ef}, recall@1 {index.recall_at_1:.4f}"
    yield "index", f"{graph}, none above distance {index.max_distance:g}"


def _parity_facts(bundle: Bundle) -> Iterator[tuple[str, str]]:
    from cielo.bundle.state import known_parity

    for key, figures in sorted(known_parity(bundle).items()):
        checks = figures.checks
        passed = f"{sum(check.passed for check in checks)} of {len(checks)} checks" if checks else "no figures"
        yield f"parity {key}", f"{figures.status} ({passed}; {figures.processor or 'no machine'})"


def _calibrated(bundle: Bundle) -> Iterator[str]:
    for decoding, entry in bundle.calibrations().items():
        error = entry.reliability.calibrated.expected_calibration_error
        yield f"{decoding} calibrated on {entry.reliability.mentions} links (calibration error {error:.3f})"
