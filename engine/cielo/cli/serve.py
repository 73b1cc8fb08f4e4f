"""``cielo serve``: links over HTTP, and a page for coders."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from cielo.cli.base import main
from cielo.cli.options import DECODINGS, DEVICE, DEVICES, UNVERIFIED, BundlePath
from cielo.errors import CieloError

_FILE = click.Path(dir_okay=False, path_type=Path)


@main.command()
@click.option("--config", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Settings in TOML.")
@click.option("--print-config", is_flag=True, help="Print the settings in force as TOML, and end.")
@click.option("--host", help="Where to listen; default: 127.0.0.1, which other machines cannot reach.")
@click.option("--port", type=int, help="Default: 8080; 0: any that is free.")
@click.option("--bundle", type=BundlePath(), help="Default: CIELO_BUNDLE, else the mini.")
@click.option("--backend", metavar="NAME", help="That runs the generator; default: the fastest of BUNDLE's here.")
@click.option("--use", type=click.Choice(["auto", "single", "bulk"]),
              help="auto: one backend for low load and one for high, where the bundle has two.")  # fmt: skip
@click.option("--device", type=click.Choice(DEVICES), help=DEVICE)
@click.option("--compute-type", metavar="TYPE", help="Of the generator; default: the bundle's own.")
@click.option("--threads", type=click.IntRange(1), help="Processor threads; default: as the plan says.")
@click.option("--decoding", type=click.Choice(DECODINGS), help="Where a request names none; default: the bundle's.")
@click.option("--memory", metavar="SIZE", help="Keep the models within this much, such as 3GB.")
@click.option("--cache", type=_FILE, help="Keep links in this file; it holds no text.")
@click.option("--lexicon", type=_FILE, help="Mentions and their codes, asked before the model.")
@click.option("--verify", "verify_files", type=click.Choice(["always", "once", "never"]),
              help="When the bundle's files are hashed; default: once for this machine.")  # fmt: skip
@click.option("--allow-unverified/--no-allow-unverified", default=None, help=UNVERIFIED)
@click.option("--keys", type=_FILE, help="Keys of callers: a line `name key` for each; read again on SIGHUP.")
@click.option("--allow-without-key/--no-allow-without-key", default=None, help="Serve other machines without a key.")
@click.option(
    "--allowed-host", "allowed_hosts", metavar="NAME", multiple=True, help="A name to be asked by; * for any."
)
@click.option("--code-system", metavar="KIND=URL|VERSION", multiple=True,
              help="The address of a kind's code system, for FHIR; default: the knowledge base's.")  # fmt: skip
@click.option("--max-mentions", type=click.IntRange(1), help="In one request; default: 256.")
@click.option("--max-characters", type=click.IntRange(1), help="Of a mention with its sentence; default: 20000.")
@click.option("--max-document-characters", type=click.IntRange(1), help="Of a document; default: 200000.")
@click.option("--max-body", metavar="SIZE", help="Of a request; default: 8MB.")
@click.option("--queue-tokens", type=click.IntRange(1), help="That may wait; default: what --queue-seconds allow.")
@click.option("--queue-seconds", type=float, help="Of work that may wait, at the measured rate; default: 5.")
@click.option("--batch-tokens", type=click.IntRange(1), help="Linked together; default: as the plan says.")
@click.option("--request-seconds", type=float, help="After which a request is given up; default: 60.")
@click.option("--header-seconds", type=float, help="For the headers of a request to arrive; default: 10.")
@click.option("--body-seconds", type=float, help="For its body to arrive; default: 30.")
@click.option("--drain-seconds", type=float, help="For requests at work after SIGTERM; default: 30.")
@click.option("--hang-seconds", type=float, help="After which silent models are started again; default: 10.")
@click.option("--max-connections", type=click.IntRange(1), help="At the same time; default: 2048.")
@click.option("--log-level", type=click.Choice(["info", "warning", "error"]), help="info: every request.")
def serve(config: Path | None, print_config: bool, **given: Any) -> None:
    """Serve links over HTTP, and a page for coders at /.

    Each option can stand in the environment too (CIELO_SERVE_PORT=80), and in the file of --config (port = 80); an
    option counts before the environment, and that before the file.
    """
    try:
        from cielo.server.run import serve as run
        from cielo.server.settings import as_toml, read_settings
    except ModuleNotFoundError as error:
        raise CieloError(f"`cielo serve` needs {error.name}; install it with `pip install 'cielo[serve]'`") from error
    flags = {name: _plain(value) for name, value in given.items() if value is not None and value != ()}
    settings = read_settings(flags, os.environ, config)
    if print_config:
        click.echo(as_toml(settings), nl=False)
        return
    run(settings)


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, Path) else value
