"""cielo: Spanish clinical mentions to ICD-10 (CIE-10-ES) codes.

>>> from cielo import Linker, Mention
>>> with Linker.open() as linker:
...     linker.link([Mention("TC abdominal", "La TC abdominal es normal.")])[0].code
'BW20'
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cielo.errors import BundleError as BundleError
    from cielo.errors import CacheError as CacheError
    from cielo.errors import CalibrationError as CalibrationError
    from cielo.errors import CheckpointError as CheckpointError
    from cielo.errors import CieloError as CieloError
    from cielo.errors import ClosedError as ClosedError
    from cielo.errors import ConnectionFailedError as ConnectionFailedError
    from cielo.errors import DeviceError as DeviceError
    from cielo.errors import DownloadError as DownloadError
    from cielo.errors import MentionError as MentionError
    from cielo.errors import OptionError as OptionError
    from cielo.errors import ParityError as ParityError
    from cielo.errors import RecipeError as RecipeError
    from cielo.errors import ServerError as ServerError
    from cielo.errors import TableError as TableError
    from cielo.errors import TuningError as TuningError
    from cielo.errors import UnverifiedError as UnverifiedError
    from cielo.generation.plan import ThreadPlan as ThreadPlan
    from cielo.knowledge.subsets import Subset as Subset
    from cielo.link.document_links import DocumentLink as DocumentLink
    from cielo.link.documents import Span as Span
    from cielo.link.linker import Linker as Linker
    from cielo.options import LinkOptions as LinkOptions
    from cielo.records import BundleIdentity as BundleIdentity
    from cielo.records import Candidate as Candidate
    from cielo.records import Hypothesis as Hypothesis
    from cielo.records import Link as Link
    from cielo.records import Mention as Mention
    from cielo.records import Provenance as Provenance
    from cielo.records import Timings as Timings

# The libraries behind these are loaded when a name is first used, so that `import cielo` stays cheap.
_NAMES = {
    "cielo.errors": (
        "BundleError", "CacheError", "CalibrationError", "CheckpointError", "CieloError", "ClosedError",
        "ConnectionFailedError", "DeviceError", "DownloadError", "MentionError", "OptionError", "ParityError",
        "RecipeError", "ServerError", "TableError", "TuningError", "UnverifiedError",
    ),
    "cielo.generation.plan": ("ThreadPlan",),
    "cielo.knowledge.subsets": ("Subset",),
    "cielo.link.document_links": ("DocumentLink",),
    "cielo.link.documents": ("Span",),
    "cielo.link.linker": ("Linker",),
    "cielo.options": ("LinkOptions",),
    "cielo.records": ("BundleIdentity", "Candidate", "Hypothesis", "Link", "Mention", "Provenance", "Timings"),
}  # fmt: skip
_HOMES = {name: module for module, names in _NAMES.items() for name in names}
__all__ = [
    "BundleError", "BundleIdentity", "CacheError", "CalibrationError", "Candidate", "CheckpointError", "CieloError",
    "ClosedError", "ConnectionFailedError", "DeviceError", "DocumentLink", "DownloadError", "Hypothesis", "Link",
    "LinkOptions", "Linker", "Mention", "MentionError", "OptionError", "ParityError", "Provenance", "RecipeError",
    "ServerError", "Span", "Subset", "TableError", "ThreadPlan", "Timings", "TuningError", "UnverifiedError",
    "__version__",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib import metadata  # slow to load

        try:
            return metadata.version("cielo")
        except metadata.PackageNotFoundError:  # a checkout that is not installed
            return "0+unknown"
    if name not in _HOMES:
        raise AttributeError(f"module 'cielo' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
