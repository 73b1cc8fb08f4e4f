"""cielo: Spanish clinical mentions to ICD-10 (CIE-10-ES) codes.

>>> from engine import Linker, Mention
>>> with Linker.open() as linker:
...     linker.link([Mention("TC abdominal", "La TC abdominal es normal.")])[0].code
'BW20'
"""

from __future__ import annotations

import importlib
from importlib import metadata
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from engine.errors import CieloError as CieloError
    from engine.linker import DocumentLink as DocumentLink
    from engine.linker import Linker as Linker
    from engine.records import Candidate as Candidate
    from engine.records import Hypothesis as Hypothesis
    from engine.records import Link as Link
    from engine.records import Mention as Mention
    from engine.records import Timings as Timings
    from engine.stages.knowledge_base import Subset as Subset

# The libraries behind these are loaded when a name is first used, so that `import engine` stays cheap.
_HOMES = {
    "CieloError": "engine.errors",
    "DocumentLink": "engine.linker",
    "Linker": "engine.linker",
    "Candidate": "engine.records",
    "Hypothesis": "engine.records",
    "Link": "engine.records",
    "Mention": "engine.records",
    "Timings": "engine.records",
    "Subset": "engine.stages.knowledge_base",
}
__all__ = [
    "Candidate", "CieloError", "DocumentLink", "Hypothesis", "Link", "Linker", "Mention", "Subset", "Timings",
    "__version__",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name == "__version__":
        try:
            return metadata.version("cielo")
        except metadata.PackageNotFoundError:  # a checkout that is not installed
            return "0+unknown"
    if name not in _HOMES:
        raise AttributeError(f"module 'engine' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
