"""``cielo completion``: what a shell needs to complete the commands of cielo."""

from __future__ import annotations

import click

from cielo.cli.base import main


@main.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the script by which SHELL completes commands, options, recipes and bundles.

    Keep it where your shell looks for such scripts, or read it at its start: `. cielo.bash`.
    """
    from click.shell_completion import get_completion_class

    found = get_completion_class(shell)
    assert found is not None
    script = found(main, {}, "cielo", "_CIELO_COMPLETE")
    # `source()` would run the shell for its version.
    click.echo(script.source_template % script.source_vars())
