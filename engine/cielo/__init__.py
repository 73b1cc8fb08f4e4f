"""cielo: Spanish clinical mentions to ICD-10 (CIE-10-ES) codes.

>>> from cielo import Linker, Mention
>>> with Linker.open() as linker:
...     linker.link([Mention("TC abdominal", "La TC abdominal es normal.")])[0].code
'BW20'
"""

from __future__ import annotations

import importlib
from importlib import metadata
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cielo.errors import CieloError as CieloError
    from cielo.knowledge.subsets import Subset as Subset
    from cielo.link.document_links import DocumentLink as DocumentLink
    from cielo.link.linker import Linker as Linker
    from cielo.records import Candidate as Candidate
    from cielo.records import Hypothesis as Hypothesis
    from cielo.records import Link as Link
    from cielo.records import Mention as Mention
    from cielo.records import Timings as Timings

# The libraries behind these are loaded when a name is first used, so that `import cielo` stays cheap.
_HOMES = {
    "CieloError": "cielo.errors",
    "DocumentLink": "cielo.link.document_links",
    "Linker": "cielo.link.linker",
    "Candidate": "cielo.records",
    "Hypothesis": "cielo.records",
    "Link": "cielo.records",
    "Mention": "cielo.records",
    "Timings": "cielo.records",
    "Subset": "cielo.knowledge.subsets",
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
        raise AttributeError(f"module 'cielo' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
