"""``cielo kb fetch``: tables of codes that others publish, fetched with a record of where they are from."""

from __future__ import annotations

from pathlib import Path

import click

from cielo.cli.accepting import ACCEPT, RAW_BASE, require_accepted
from cielo.cli.base import KEPT, console, echo
from cielo.cli.knowledge import kb
from cielo.cli.outputs import OVERWRITE, Output, check_outputs
from cielo.errors import CieloError


@kb.command()
@click.argument("name", required=False)
@click.option("--output", type=Output(kept=True, file_okay=False, path_type=Path), help="The table's folder.")
@RAW_BASE
@ACCEPT
@OVERWRITE
def fetch(name: str | None, output: Path | None, raw_base: str | None, accept_licence: bool, overwrite: bool) -> None:
    """Fetch the published table of codes NAME; without a name: show those that there are.

    Beside the table a file says where it is from: address, licence, whom to name, SHA-256, date. A table that is there
    is replaced with --overwrite alone. What a connection that broke has brought is gone on with.
    """
    from cielo.knowledge.published import TABLES, download_of, fetch_table, published_table

    check_outputs(overwrite=overwrite)
    if name is None:
        for table in TABLES.values():
            how = table.licence if table.path else f"to be had at {table.page}"
            echo(f"{table.name:<26}{table.title} ({how})")
        return
    if output is None:
        raise click.UsageError("name a folder for the table with --output")
    table = published_table(name)
    download = download_of(table, output, raw_base)
    if download.target.exists() and not overwrite:
        shown = click.format_filename(download.target)
        raise CieloError(f"{shown} exists; name another folder, or replace it with --overwrite")
    require_accepted([table.terms], accepted=accept_licence)
    kept = f"what came stays in {output}, and the same command goes on there"
    click.get_current_context().meta[KEPT] = kept
    with console(stderr=True).status(f"fetching {download.address}"):
        origin = fetch_table(table, download)
    file = origin.files[0]
    echo(f"{click.format_filename(download.target)}: {file.size:,} bytes, sha256 {file.sha256[:12]}")
    echo(f"licence: {origin.licence}. {table.terms.plain} Name: {origin.attribution}", err=True)
