"""The command ``cielo``.

Exit codes: 0 done; 1 it could not be done (bundle, recipe, checkpoint, device, table); 2 wrong usage; 3 done, but
some rows hold an error; 4 a parity check failed; 130 interrupted.
"""

from cielo.cli.base import main

__all__ = ["main"]
