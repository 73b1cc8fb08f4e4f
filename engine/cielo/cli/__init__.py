"""The command ``cielo``; `cielo --help` names its exit codes."""

from cielo.cli.base import main

__all__ = ["main"]
