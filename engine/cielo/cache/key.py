"""The digest that a link is kept under: everything that it depends on, under a secret.

It is made of every field of the options and of the provenance, whatever those records hold, less the fields that are
marked as outside the cache (`cielo.options.OUTSIDE_THE_CACHE`); and of the prompt and the kind. The secret of a cache
that outlives the process is bound to the versions of the libraries and to the processor: see `bound`.
"""

from __future__ import annotations

import functools
import hashlib
import json
import platform
from dataclasses import fields, is_dataclass
from typing import Any

from cielo.machine import machine_key
from cielo.options import LinkOptions
from cielo.records import Provenance

DIGEST_BYTES = 16
# What decides about a link, apart from what the bundle's hash covers.
_LIBRARIES = ("cielo", "ctranslate2", "onnxruntime", "tokenizers", "hnswlib", "numpy", "unidecode")


def key(secret: bytes, provenance: Provenance, options: LinkOptions, *, prompt: str, kind: str | None) -> bytes:
    """Return the digest that a link is kept under.

    Args:
        secret: the cache's.
        provenance: of the link.
        options: that it is asked for with; their decoding is named.
        prompt: the generator's.
        kind: that the mention is restricted to.
    """
    # JSON keeps the borders of the fields, and None apart from "null".
    parts = [_plain(provenance), _plain(options), kind, prompt]
    content = json.dumps(parts, ensure_ascii=False, sort_keys=True).encode("utf-8", "surrogatepass")
    return hashlib.blake2b(content, digest_size=DIGEST_BYTES, key=secret, person=b"cielo.key").digest()


def bound(secret: bytes) -> bytes:
    """Return a secret, as long as this one, for keys that hold with these libraries and on this processor alone."""
    content = json.dumps(_surroundings()).encode()
    return hashlib.blake2b(content, digest_size=len(secret), key=secret, person=b"cielo.around").digest()


def _plain(value: Any) -> Any:
    """Return a record's value as what JSON can hold; equal values give equal ones, and other values other ones.

    Raises:
        TypeError: for a type that is not known here, so that none is ever left out in silence.
    """
    if is_dataclass(value):
        kept = (field for field in fields(value) if field.metadata.get("cached", True))
        return {field.name: _plain(getattr(value, field.name)) for field in kept}
    if isinstance(value, frozenset):
        return sorted(map(_plain, value))
    if isinstance(value, tuple):
        return list(map(_plain, value))
    if value is None or isinstance(value, str | int | float | bool):
        return value
    raise TypeError(f"no form for the cache's key is known for {type(value).__name__}; name one in {__name__}")


@functools.cache
def _surroundings() -> tuple[str, ...]:
    """Return what else decides about a link: it is the same for all links of one process."""
    from importlib import metadata  # slow to load, and not needed for a cache in memory

    versions = [platform.python_version()]  # its Unicode tables decide about normal forms
    for name in _LIBRARIES:
        try:
            versions.append(metadata.version(name))
        except metadata.PackageNotFoundError:
            versions.append("")
    return (machine_key(), *versions)
