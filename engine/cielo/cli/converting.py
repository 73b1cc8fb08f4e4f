"""``cielo convert``: a bundle from a recipe; what the recipe names and is not here is fetched first."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cielo.cli.accepting import ACCEPT, RAW_BASE, require_accepted
from cielo.cli.base import EXIT_FAILED, EXIT_ROWS, KEPT, console, echo, fail, main
from cielo.cli.options import Assignment
from cielo.cli.outputs import OVERWRITE, Output, check_outputs
from cielo.cli.parity import show_checks
from cielo.cli.progress import Progress

if TYPE_CHECKING:
    from cielo_convert.sources import Part, Plan
    from click.shell_completion import CompletionItem

    from cielo.bundle.layout import Bundle

_FOLDER = click.Path(file_okay=False, path_type=Path)


class RecipePath(click.Path):
    """The path of a recipe: shells complete it by files, and by the names of the recipes that come with cielo."""

    def __init__(self) -> None:
        super().__init__(path_type=Path)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Return the files and recipes that begin like `incomplete`."""
        from click.shell_completion import CompletionItem

        names = [CompletionItem(name) for name in shipped_recipes() if name.startswith(incomplete)]
        return [*super().shell_complete(ctx, param, incomplete), *names]  # bash drops what comes before files


def shipped_recipes() -> list[str]:
    """Return the names of the recipes that come with cielo; none where the package of conversion is not there."""
    try:
        from cielo_convert.recipes import shipped
    except ImportError:
        return []
    return list(shipped())


@main.command()
@click.argument("recipe", type=RecipePath())
@click.option("--output", required=True, type=Output(path_type=Path), help="Directory of the new bundle.")
@click.option("--sources", type=_FOLDER, help="Where fetched files are kept; default: OUTPUT.sources.")
@click.option("--generator", type=_FOLDER, help="A checkpoint that is here, in place of the recipe's.")
@click.option("--encoder", type=_FOLDER, help="Likewise.")
@click.option("--table", "tables", type=Assignment(), multiple=True, metavar="KIND=FILE",
              help="A table of codes, in place of the recipe's of that kind. May be repeated.")  # fmt: skip
@click.option("--edition", help="The name of the tables' edition, in place of the recipe's.")
@click.option("--device", default="auto", show_default=True, metavar="DEVICE",
              help="Of the parity gate: auto (all that are here), cpu, cuda, cuda:N.")  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Only show what would be fetched, and what is here.")
@click.option("--skip-checks", is_flag=True, help="Go on where disk or memory look too small.")
@RAW_BASE
@ACCEPT
@OVERWRITE
def convert(
    recipe: Path,
    output: Path,
    sources: Path | None,
    generator: Path | None,
    encoder: Path | None,
    tables: Sequence[tuple[str, str]],
    edition: str | None,
    device: str,
    dry_run: bool,
    skip_checks: bool,
    raw_base: str | None,
    accept_licence: bool,
    overwrite: bool,
) -> None:
    """Build a bundle from RECIPE: fetch, convert, index, and pass the parity gate.

    RECIPE is a TOML file, or the name of one that comes with cielo (medical-mt5-large). Checkpoints that are not here
    come from the Hugging Face hub (HF_ENDPOINT), tables from where they are published. Exit code 3: done, but rows of
    the tables were not taken.
    """
    check_outputs(overwrite=overwrite)
    try:
        from cielo_convert.recipe import Recipe
        from cielo_convert.recipes import find_recipe
        from cielo_convert.room import require_room
        from cielo_convert.run import choose_device, require_libraries, run_with_progress
        from cielo_convert.sources import Given, make_plan
    except ImportError as error:
        fail(f"conversion needs {error.name}; install it with: pip install 'cielo[convert]'", EXIT_FAILED)
        return
    folder = sources or output.with_name(f"{output.name}.sources")
    named = [(kind, Path(file)) for kind, file in tables]
    plan = make_plan(Recipe.load(find_recipe(recipe)), Given(folder, generator, encoder, named, edition, raw_base))
    if dry_run:
        _show_plan(plan)
    plan.require()
    if dry_run:
        return
    require_libraries()
    checked = choose_device(plan.recipe, device)
    if not skip_checks:
        require_room(plan, folder, output)
    if plan.downloads:
        require_accepted(plan.licences, accepted=accept_licence)
        kept = f"no bundle was written; what was fetched stays in {folder}, and the same command goes on there"
        click.get_current_context().meta[KEPT] = kept
    with Progress() as progress:
        converted = run_with_progress(
            plan, output, overwrite=overwrite, console=console(stderr=True), device=checked, progress=progress.step
        )
    echo(f"{converted.bundle.path}: bundle {converted.bundle.name}@{converted.bundle.sha256[:12]}")
    _show_parity(converted.bundle)
    if converted.rejected:
        sys.exit(EXIT_ROWS)


def _show_plan(plan: Plan) -> None:
    from cielo_convert.room import needs

    for part in plan.parts:
        revision = f", commit {part.revision[:12]}" if part.revision else ""
        echo(f"{part.name}: {part.of}{revision}")
        if part.licence is not None:
            echo(f"  licence: {part.licence.name or 'none stated'}. {part.licence.plain} {part.licence.page}")
        _show_files(part)
    if any(part.missing is not None for part in plan.parts):
        return  # what is needed follows from the sizes of all parts
    wanted = needs(plan)
    gigabytes = ", ".join(
        f"{name} {size / 1e9:.1f} GB"
        for name, size in (("to fetch", wanted.fetched), ("the bundle", wanted.bundle), ("memory", wanted.memory))
    )
    echo(f"needed, about: {gigabytes}")


def _show_files(part: Part) -> None:
    if part.missing is not None:
        echo("  missing")
        return
    fetched = {load.target for load in part.downloads}
    for file, size in part.held:
        if file not in fetched:
            echo(f"  here   {_shown(size)}  {click.format_filename(file)}")
    for load in part.downloads:
        echo(f"  fetch  {_shown(load.size)}  {load.address}")
        echo(f"{'to':>24}  {click.format_filename(load.target)}")


def _shown(size: int | None) -> str:
    return f"{'size unknown' if size is None else f'{size:,} bytes':>22}"


def _show_parity(bundle: Bundle) -> None:
    for key, figures in bundle.manifest.parity.items():
        passed = sum(check.passed for check in figures.checks)
        title = f"parity {key}: {figures.status}, {passed} of {len(figures.checks)} checks kept their bounds"
        show_checks(title, figures.checks)
