"""The command ``cielo``.

Exit codes: 0 done; 1 it could not be done (bundle, recipe, checkpoint, device, table); 2 wrong usage; 3 done, but
some rows hold an error; 4 a parity check failed; 130 interrupted.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from engine import tables
from engine.bundle import Bundle, default_bundle, processor_name
from engine.errors import CieloError, MentionError, ParityError
from engine.records import Link, Mention

if TYPE_CHECKING:
    from rich.console import Console

    from engine.bench.scenarios import Scenario
    from engine.linker import Linker
    from engine.parity import Report
    from engine.tuning import Goal, Measured

_ROWS_AT_ONCE = 512
_UNVERIFIED = "Use a compute type although its parity was not shown."
_EXIT_FAILED, _EXIT_ROWS, _EXIT_PARITY, _EXIT_INTERRUPTED = 1, 3, 4, 130


class _Group(click.Group):
    """Turns the errors of cielo into one line on standard error and an exit code."""

    def invoke(self, context: click.Context) -> Any:
        try:
            return super().invoke(context)
        except ParityError as error:
            _fail(str(error), _EXIT_PARITY)
        except CieloError as error:
            _fail(str(error), _EXIT_FAILED)
        except (KeyboardInterrupt, click.Abort):
            _fail("interrupted; nothing was written", _EXIT_INTERRUPTED)
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(_EXIT_FAILED)


def _fail(message: str, code: int) -> None:
    click.echo(f"cielo: {message}", err=True)
    sys.exit(code)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="cielo", prog_name="cielo", message="%(prog)s %(version)s")
def main() -> None:
    """Spanish clinical mentions to ICD-10 (CIE-10-ES) codes, offline.

    Exit codes: 0 done; 1 it could not be done; 2 wrong usage; 3 done, but some rows hold an error; 4 a parity check
    failed; 130 interrupted.
    """


def _model_options(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in (
        click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True),
        click.option("--compute-type", metavar="TYPE", help="Of the generator; default: the bundle's own."),
        click.option("--threads", type=click.IntRange(1), help="Processor threads; default: all."),
    ):
        command = option(command)
    return command


class _Size(click.ParamType[int]):
    """A size in bytes, written as 3GB."""

    name = "SIZE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        from engine.memory import parse_size

        try:
            return parse_size(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


@main.command()
@click.argument("text", required=False)
@click.option("--sentence", help="The sentence that the mention stands in.")
@click.option("--kind", help="Only codes of this kind (in the mini: diagnosis, procedure).")
@click.option("--input", "source", metavar="FILE|-", help="Rows to link: JSONL, CSV or TSV with a column `text`.")
@click.option("--output", "target", metavar="FILE|-", default="-", show_default=True, help="Where the rows go.")
@click.option(
    "--format", "form", type=click.Choice(tables.FORMATS), help="Of --input and --output, where names don't tell."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("--top-k", type=click.IntRange(1, 100), default=5, show_default=True, help="Candidates in a result.")
@click.option("--decoding", type=click.Choice(["reference", "probable"]), help="The search; default: the bundle's own.")
@click.option(
    "--bundle", type=click.Path(path_type=Path), envvar="CIELO_BUNDLE", help="Default: CIELO_BUNDLE, else the mini."
)
@click.option("--allow-unverified", is_flag=True, help=_UNVERIFIED)
@click.option(
    "--memory", type=_Size(), help="Keep the process within this much memory, such as 3GB, by making batches smaller."
)
@click.option(
    "--cache", type=click.Path(dir_okay=False, path_type=Path), help="Keep links in this file; it holds no text."
)
@_model_options
def link(
    text: str | None,
    sentence: str | None,
    kind: str | None,
    source: str | None,
    target: str,
    form: tables.Format | None,
    as_json: bool,
    top_k: int,
    decoding: str | None,
    cache: Path | None,
    **opening: Any,
) -> None:
    """Link one mention (TEXT), or the rows of a file (--input)."""
    if (text is None) == (source is None):
        raise click.UsageError("give either one TEXT or --input, not both and not neither")
    if source is not None and (sentence is not None or as_json):
        raise click.UsageError(
            "--sentence and --json belong to one TEXT; rows bring their own, and --format names their form"
        )
    opening["cache"] = cache or True
    if source is not None:
        _link_rows(source, target, form, kind, top_k, {**opening, "decoding": decoding})
        return
    mention = Mention(text or "", sentence, kind)
    with _open(decoding=decoding, **opening) as linker:
        linked = linker.link([mention], top_k=top_k, neighbours="always")[0]
    if as_json:
        click.echo(json.dumps({"text": text, "sentence": sentence, **tables.link_columns(linked)}, ensure_ascii=False))
    else:
        _show_link(linked)


def _open(**opening: Any) -> Linker:
    from engine.linker import Linker  # loads CTranslate2 and ONNX Runtime: only where they are needed

    return Linker.open(**opening)


def _link_rows(
    source: str, target: str, form: tables.Format | None, kind: str | None, top_k: int, opening: dict[str, Any]
) -> None:
    read_form = tables.format_of(source, form, None if target == "-" else tables.format_of(target, form))
    write_form = tables.format_of(target, None if target != "-" and form is None else form, read_form)
    failed = 0

    def outcomes(linker: Linker, rows: Iterable[tables.InputRow]) -> Iterator[dict[str, Any]]:
        nonlocal failed
        for row, outcome in _link_in_order(linker, rows, kind, top_k):
            failed += isinstance(outcome, str)
            yield tables.output_row(row, outcome)

    with tables.open_input(source) as stream, _open(**opening) as linker, tables.open_output(target) as output:
        rows = _with_progress(tables.read_rows(stream, read_form), source, stream)
        tables.write_rows(output, write_form, outcomes(linker, rows))
    if failed:
        click.echo(f"cielo: {failed} row(s) hold an error; see their column `error`", err=True)
        sys.exit(_EXIT_ROWS)


def _link_in_order(
    linker: Linker, rows: Iterable[tables.InputRow], kind: str | None, top_k: int
) -> Iterator[tuple[tables.InputRow, Link | str]]:
    """Link what can be linked of each stretch of rows, and answer every row in its place."""
    source = iter(rows)
    while batch := list(itertools.islice(source, _ROWS_AT_ONCE)):
        mentions = [_mention_or_error(linker, row, kind) for row in batch]
        links = iter(linker.link([mention for mention in mentions if isinstance(mention, Mention)], top_k=top_k))
        for row, mention in zip(batch, mentions, strict=True):
            yield row, mention if isinstance(mention, str) else next(links)


def _mention_or_error(linker: Linker, row: tables.InputRow, kind: str | None) -> Mention | str:
    try:
        mention = row.mention()
        if mention.kind is None and kind is not None:
            mention = Mention(mention.text, mention.sentence, kind, mention.id)
        linker.check(mention)
    except MentionError as error:
        return str(error)
    return mention


def _with_progress(rows: Iterable[tables.InputRow], source: str, stream: BinaryIO) -> Iterator[tables.InputRow]:
    """Show on a terminal how far the file has been read."""
    console = _console(stderr=True)
    if not console.is_terminal or source == "-":
        yield from rows
        return
    from rich.progress import Progress

    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("linking", total=os.fstat(stream.fileno()).st_size)
        for row in rows:
            yield row
            with contextlib.suppress(ValueError, OSError):
                progress.update(task, completed=stream.tell(), description=f"linking: row {row.number}")


def _console(*, stderr: bool = False) -> Console:
    from rich.console import Console

    return Console(stderr=stderr, highlight=False, width=None if sys.stdout.isatty() else 200)


_FOUND = {
    "exact": "exact: the generated text is a description of the knowledge base",
    "semantic": "semantic: the nearest description to the generated text",
    "none": "none: no description lies near the generated text",
}


def _show_link(linked: Link) -> None:
    from rich.markup import escape
    from rich.table import Table

    console = _console()
    head = f"[bold]{escape(linked.code)}[/]  {escape(linked.description or '')}" if linked.code else "[bold]no code[/]"
    console.print(head)
    if len(linked.codes) > 1:
        console.print(f"  also:      {escape(', '.join(linked.codes[1:]))}")
    distance = "" if linked.distance is None else f", distance {linked.distance:.3f}"
    console.print(f"  found by:  {_FOUND[linked.method]}")
    console.print(f"  generated: {escape(linked.generated)}  (probability {linked.probability:.3f}{distance})")
    if linked.truncated:
        console.print("  note:      the prompt was longer than the model takes, and was cut")
    others = linked.candidates[1:] if linked.code else linked.candidates
    if others:
        table = Table(box=None, pad_edge=False, show_header=True, header_style="dim")
        for name in ("  runners-up", "kind", "description", "evidence"):
            table.add_column(name, no_wrap=name != "description")
        for candidate in others:
            near = candidate.distance is not None
            evidence = f"distance {candidate.distance:.3f}" if near else f"log-prob. {candidate.log_prob:.2f}"
            table.add_row(f"  {escape(candidate.code)}", candidate.kind, escape(candidate.description), evidence)
        console.print(table)
    origin = linked.bundle
    source = f"{origin.name}@{origin.sha256[:12]}, {origin.knowledge_base}"
    console.print(f"[dim]  {escape(source)}, {origin.decoding}, {origin.compute_type} on {origin.device}[/]")


@main.command()
@click.argument("recipe", type=click.Path(path_type=Path))
@click.option("--output", required=True, type=click.Path(path_type=Path), help="Directory of the new bundle.")
@click.option("--overwrite", is_flag=True, help="Replace what stands at --output, once the new bundle is whole.")
def convert(recipe: Path, output: Path, overwrite: bool) -> None:
    """Build a bundle from RECIPE (TOML): convert, index, and pass the parity gate."""
    try:
        from convert.build import run_with_progress
    except ImportError as error:
        _fail(f"conversion needs {error.name}; install it with: pip install 'cielo[convert]'", _EXIT_FAILED)
        return
    bundle = run_with_progress(recipe, output, overwrite=overwrite, console=_console(stderr=True))
    click.echo(f"{bundle.path}: bundle {bundle.name}@{bundle.sha256[:12]}")


@main.command()
@click.argument("bundle", type=click.Path(path_type=Path), required=False)
@click.option(
    "--parity", "with_parity", is_flag=True, help="Run the parity gate on this machine, and keep its figures."
)
@_model_options
def verify(bundle: Path | None, with_parity: bool, device: str, compute_type: str | None, threads: int | None) -> None:
    """Check every hash of BUNDLE (default: CIELO_BUNDLE, else the mini), and its parity on this machine."""
    opened = Bundle.open(bundle or default_bundle())
    opened.check_hashes()
    click.echo(f"{opened.path}: {len(opened.manifest['files'])} files, every hash as in the manifest")
    for name in opened.unlisted_files():
        click.echo(f"  not part of the bundle: {name}")
    if with_parity:
        _verify_parity(opened, device, compute_type, threads)


def _verify_parity(bundle: Bundle, device: str, compute_type: str | None, threads: int | None) -> None:
    from engine.parity import run_checks
    from engine.stages.generator import resolve_device

    report = run_checks(
        bundle,
        device=resolve_device(device),
        compute_type=compute_type or bundle.manifest["generator"]["compute_type"],
        threads=threads,
    )
    _show_report(report)
    file = bundle.record_parity(report.key, report.to_dict())
    click.echo(f"kept in {file}")
    if not report.passed:
        names = ", ".join(check.name for check in report.checks if not check.passed)
        raise ParityError(f"parity of {report.key} failed on this machine: {names}; use another compute type")


def _show_report(report: Report) -> None:
    from rich.table import Table

    table = Table(title=f"parity of {report.key} on {processor_name()}", title_justify="left", box=None, pad_edge=False)
    for name in ("check", "figure", "bound", "", "what"):
        table.add_column(name, no_wrap=name != "what")
    for check in report.checks:
        verdict = "[green]passed[/]" if check.passed else "[red]FAILED[/]"
        table.add_row(
            check.name, f"{check.figure:.6g}", f"{check.comparison} {check.tolerance:g}", verdict, check.detail
        )
    _console().print(table)


@main.command()
@click.argument("bundle", type=click.Path(path_type=Path), required=False)
@click.option("--goal", type=click.Choice(["throughput", "latency"]), default="throughput", show_default=True)
@click.option("--prompts", type=click.IntRange(1), default=32, show_default=True, help="How many to decode at once.")
@click.option("--rounds", type=click.IntRange(1), default=2, show_default=True, help="How often each plan is measured.")
@click.option("--workload", type=click.Path(path_type=Path), help="Rows of your own; default: what comes with cielo.")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True)
@click.option("--compute-type", metavar="TYPE", help="Of the generator; default: the bundle's own.")
def tune(
    bundle: Path | None,
    goal: Goal,
    prompts: int,
    rounds: int,
    workload: Path | None,
    device: str,
    compute_type: str | None,
) -> None:
    """Measure how this machine decodes BUNDLE the fastest, and keep the winner for `cielo link` to use.

    Plans differ in time and memory, never in a code. The winner is kept for this bundle, machine, device and compute
    type, in the state directory (CIELO_STATE, else ~/.local/state/cielo).
    """
    from engine.plan import save_plan
    from engine.stages.generator import resolve_device
    from engine.tuning import tune as measure

    opened = Bundle.open(bundle or default_bundle())
    target = resolve_device(device)
    compute_type = compute_type or str(opened.manifest["generator"]["compute_type"])
    with _console(stderr=True).status("tuning") as status:
        found = measure(
            opened,
            device=target,
            compute_type=compute_type,
            goal=goal,
            prompts=prompts,
            rounds=rounds,
            workload=workload,
            progress=lambda text: status.update(f"tuning: {text}"),
        )
    _show_plans(found, goal, opened)
    figures = {"goal": goal, "processor": processor_name(), "plans": [entry.to_dict() for entry in found]}
    click.echo(f"kept in {save_plan(opened, target, compute_type, found[0].plan, figures)}")


def _show_plans(found: Sequence[Measured], goal: Goal, bundle: Bundle) -> None:
    from rich.table import Table

    from engine.tuning import describe

    title = f"plans for {bundle.name}@{bundle.sha256[:12]} on {processor_name()}, best for {goal} first"
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    table.add_column("plan")
    for name in ("ms a mention, all at once", "of rounds", "ms a mention alone", "of rounds"):
        table.add_column(name, justify="right", no_wrap=True)
    for place, entry in enumerate(found):
        ranges = [f"{low:.1f} - {high:.1f}" for low, high in (entry.offline_range, entry.alone_range)]
        row = (describe(entry.plan), f"{entry.offline_ms:.1f}", ranges[0], f"{entry.alone_ms:.1f}", ranges[1])
        table.add_row(*row, style="bold" if place == 0 else None)
    _console().print(table)


@main.command()
@click.argument("bundle", type=click.Path(path_type=Path), required=False)
@click.option(
    "--scenario",
    "scenarios",
    multiple=True,
    type=click.Choice(["single-stream", "multi-stream", "offline", "server"]),
    help="Default: all four.",
)
@click.option("--workload", type=click.Path(path_type=Path), help="Rows of your own; default: what comes with cielo.")
@click.option("--seconds", type=float, default=10.0, show_default=True, help="Budget of each scenario.")
@click.option("--rate", type=float, help="Mentions a second that arrive; default: half of the offline throughput.")
@click.option("--decoding", type=click.Choice(["reference", "probable"]), help="The search; default: the bundle's own.")
@click.option("--memory", type=_Size(), help="Keep the process within this much memory, such as 3GB.")
@click.option("--json", "json_path", type=click.Path(dir_okay=False, path_type=Path), help="Raw samples go here.")
@click.option("--html", "html_path", type=click.Path(dir_okay=False, path_type=Path), help="The report goes here.")
@click.option("--allow-unverified", is_flag=True, help=_UNVERIFIED)
@_model_options
def bench(
    bundle: Path | None,
    scenarios: tuple[Scenario, ...],
    workload: Path | None,
    seconds: float,
    rate: float | None,
    json_path: Path | None,
    html_path: Path | None,
    **opening: Any,
) -> None:
    """Measure latency, throughput and memory of BUNDLE on this machine; the report holds no text of the workload."""
    from engine.bench.run import SCENARIOS, BenchSettings, run_with_reports

    try:
        settings = BenchSettings(scenarios=scenarios or SCENARIOS, seconds=seconds, rate=rate)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    with _open(bundle=bundle, cache=False, **opening) as linker:
        run_with_reports(
            linker,
            settings=settings,
            workload=workload,
            json_path=json_path,
            html_path=html_path,
            console=_console(),
            status=_console(stderr=True),
        )


@main.command()
@click.argument("bundle", type=click.Path(path_type=Path), required=False)
@click.option("--json", "as_json", is_flag=True, help="Print the manifest.")
def info(bundle: Path | None, as_json: bool) -> None:
    """Show what BUNDLE holds (default: CIELO_BUNDLE, else the mini)."""
    opened = Bundle.open(bundle or default_bundle())
    if as_json:
        click.echo(
            json.dumps(
                {"path": str(opened.path), "sha256": opened.sha256, **opened.manifest}, ensure_ascii=False, indent=1
            )
        )
        return
    for name, value in _facts(opened):
        click.echo(f"{name:<22}{value}")


def _facts(bundle: Bundle) -> Iterator[tuple[str, str]]:
    manifest = bundle.manifest
    generator, encoder, base, index = (manifest[name] for name in ("generator", "encoder", "knowledge_base", "index"))
    size = sum(entry["size"] for entry in manifest["files"].values())
    yield "bundle", f"{bundle.name}@{bundle.sha256[:12]}"
    yield "path", str(bundle.path)
    yield "size", f"{size / 1e6:.1f} MB in {len(manifest['files'])} files"
    yield "licence", manifest["licence"]
    for part, entry in manifest["sources"].items():
        yield part, f"{entry['name']}, revision {entry.get('revision') or '-'}, weights {entry['sha256'][:12]}"
    yield (
        "compute type",
        f"{generator['compute_type']}, output vocabulary {generator['vocabulary']}, decoding {generator['decoding']}",
    )
    yield "vectors", f"{encoder['dimension']} dimensions, {encoder['precision']}, {encoder['pooling']} pooling"
    counts = ", ".join(f"{count} of kind {kind}" for kind, count in base["concepts"].items())
    yield "knowledge base", f"{base['edition']}: {counts}; {base['descriptions']} descriptions"
    graph = f"M {index['m']}, ef {index['ef']}, recall@1 {index['recall_at_1']:.4f}"
    yield "index", f"{graph}, none above distance {index['max_distance']:g}"
    for key, entry in sorted(bundle.parity().items()):
        checks = entry.get("checks", [])
        passed = f"{sum(check['passed'] for check in checks)} of {len(checks)} checks" if checks else "no figures"
        yield f"parity {key}", f"{entry['status']} ({passed}; {entry.get('processor', 'no machine')})"


if __name__ == "__main__":
    main()
