"""What a run is: all that the bytes of its output depend on, as a record."""

from __future__ import annotations

from importlib.metadata import version

from cielo import schema
from cielo.bulk.records import BulkOptions, Identity, InputFile, options_of
from cielo.link.linker import Linker
from cielo.options import LinkOptions


def identity_of(linker: Linker, linking: LinkOptions, options: BulkOptions, inputs: tuple[InputFile, ...]) -> Identity:
    """Return the identity of a run.

    Args:
        linker: that links.
        linking: how.
        options: of reading and writing.
        inputs: the files.
    """
    origin = linker.provenance(linking)
    named = options_of(linking, options)
    named["decoding"] = schema.canonical(origin.decoding).decode()
    return Identity(
        version=version("cielo"),
        bundle=origin.bundle.name,
        bundle_sha256=origin.bundle.sha256,
        edition=origin.bundle.edition,
        backend=origin.backend,
        compute_type=origin.compute_type,
        device=origin.device,
        options=named,
        lexicon_sha256=linker.lexicon_sha256,
        inputs=inputs,
    )
