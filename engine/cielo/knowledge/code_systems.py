"""The addresses of code systems, as FHIR and others name them: ``https://example.org/cie-10-es|2024``.

They are given by whoever builds or serves a knowledge base, and never guessed: no official address of CIE-10-ES is
known.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from cielo.errors import OptionError
from cielo.knowledge.records import CodeSystem

_KEY = "code_system:"
_URL = re.compile(r"(?:https?://[^\s/|]+|urn:[a-z0-9-]+:)[^\s|]*", re.IGNORECASE)
_VERSION = re.compile(r"[^\s|]+(?: [^\s|]+)*")


def parse_code_system(text: str) -> CodeSystem:
    """Return the code system of an address, ``URL`` or ``URL|VERSION`` (FHIR's form of a canonical address).

    Raises:
        OptionError: where it is none.
    """
    url, sign, version = text.strip().partition("|")
    if not _URL.fullmatch(url) or (sign and not _VERSION.fullmatch(version)):
        raise OptionError(f"got the code system {text!r}, expected https://… or urn:…, and perhaps | and a version")
    return CodeSystem(url, version or None)


def parse_code_systems(texts: Iterable[str], kinds: Iterable[str]) -> dict[str, CodeSystem]:
    """Return the code system of each kind that is named, from ``KIND=URL`` or ``KIND=URL|VERSION``.

    Args:
        texts: one for each kind; of two for the same the last counts.
        kinds: that there are.

    Raises:
        OptionError: where one is not of that form, or its kind is not there.
    """
    parts = [(kind.strip(), address) for kind, _, address in (text.partition("=") for text in texts)]
    require_kinds([kind for kind, _ in parts], kinds)
    return {kind: parse_code_system(address) for kind, address in parts}


def require_kinds(named: Iterable[str], kinds: Iterable[str]) -> None:
    """Refuse the code system of a kind that is not there.

    Raises:
        OptionError: naming those that are.
    """
    known = list(kinds)
    for kind in named:
        if kind not in known:
            raise OptionError(f"got a code system's address for the kind {kind!r}, expected one of {', '.join(known)}")


def address_of(system: CodeSystem) -> str:
    """Return a code system as ``URL`` or ``URL|VERSION``."""
    return system.url if system.version is None else f"{system.url}|{system.version}"


def entries_of(systems: Mapping[str, CodeSystem]) -> list[tuple[str, str]]:
    """Return what a knowledge base's file keeps of them, as keys and values; see `systems_in`."""
    return [(f"{_KEY}{kind}", address_of(system)) for kind, system in sorted(systems.items())]


def systems_in(about: Mapping[str, str]) -> dict[str, CodeSystem]:
    """Return the code systems that a knowledge base's file names, by kind.

    Raises:
        OptionError: where one is none.
    """
    return {key.removeprefix(_KEY): parse_code_system(value) for key, value in about.items() if key.startswith(_KEY)}
