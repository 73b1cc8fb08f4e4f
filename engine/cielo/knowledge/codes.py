"""Pure functions on codes: their canonical form, what two codes are compared by, and the chapter they belong to.

ICD-10-CM codes have a dot after three characters, ``X`` in the places that a longer code leaves empty, and sometimes a
seventh character (`ICD-10-CM Official Guidelines for Coding and Reporting`, I.A.4 and I.A.5); ICD-10-PCS codes have
seven characters, no dot, and neither ``I`` nor ``O`` (`ICD-10-PCS Reference Manual`); CIE-10-ES uses both, and the
first four characters of a procedure's code by themselves.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Literal

System = Literal["icd-10-cm", "icd-10-pcs", "other"]
SYSTEMS: tuple[System, ...] = ("icd-10-cm", "icd-10-pcs", "other")

_NOT_IN_KEYS = re.compile(r"[\W_]+")
_AROUND = re.compile(r"^[\W_]+|[\W_]+$")
_CATEGORY = re.compile(r"[A-Z][0-9][0-9A-Z]")
_CM = re.compile(r"[A-Z][0-9][0-9A-Z](?:\.?[0-9A-Z]{1,4})?")
_PCS = re.compile(r"[0-9A-HJ-NP-Z]{3,7}")
# The share of a table's codes that must look like those of a system.
_MOST = 0.8
# Chapters of ICD-10-CM: the last three characters that a code of theirs can begin with, in order.
_CHAPTERS = (
    ("BZZ", "I"), ("D49", "II"), ("DZZ", "III"), ("EZZ", "IV"), ("FZZ", "V"), ("GZZ", "VI"), ("H59", "VII"),
    ("HZZ", "VIII"), ("IZZ", "IX"), ("JZZ", "X"), ("KZZ", "XI"), ("LZZ", "XII"), ("MZZ", "XIII"), ("NZZ", "XIV"),
    ("OZZ", "XV"), ("PZZ", "XVI"), ("QZZ", "XVII"), ("RZZ", "XVIII"), ("TZZ", "XIX"), ("UZZ", "XXII"), ("YZZ", "XX"),
    ("ZZZ", "XXI"),
)  # fmt: skip


def code_key(code: str) -> str:
    """Return a code as upper-case letters and digits alone, ``t68.xxx`` as ``T68XXX``; see `comparison_key`."""
    return _NOT_IN_KEYS.sub("", code.upper())


def canonical_code(code: str, system: System) -> str:
    """Return a code as it is written: upper case, in ICD-10-CM with a dot after three characters.

    Signs around a code are taken off (``A17.0†``, ``A00.-``); inside it only that dot may stand, so that a block of
    codes (``A00-A09``) is not taken for a code.

    Raises:
        ValueError: where it is no code of `system`; the message says what was expected.
    """
    if system == "other":
        found = code.strip().upper()
        if not code_key(found):
            raise ValueError("the code has neither a letter nor a digit")
        return found
    written = _AROUND.sub("", code).upper()
    if system == "icd-10-cm":
        if not _CM.fullmatch(written):
            raise ValueError(
                "no ICD-10-CM code: expected a letter, a digit and 1 to 5 letters or digits, a dot after three or none"
            )
        key = written.replace(".", "")
        return key if len(key) == 3 else f"{key[:3]}.{key[3:]}"
    if not _PCS.fullmatch(written):
        raise ValueError("no ICD-10-PCS code: expected 3 to 7 letters or digits, neither I nor O")
    return written


def guess_system(codes: Iterable[str]) -> System:
    """Return the system that nearly all of a table's codes belong to.

    Four-character procedure codes such as ``B020`` look like diagnoses without their dot: a table is of ICD-10-CM
    where the codes have dots, or where they fit no worse there than in ICD-10-PCS (of four or seven characters).
    """
    written = [_AROUND.sub("", code).upper() for code in codes]
    if not written:
        return "other"
    cm = sum(bool(_CM.fullmatch(code)) for code in written) / len(written)
    pcs = sum(len(code) in (4, 7) and bool(_PCS.fullmatch(code)) for code in written) / len(written)
    if cm >= _MOST and cm >= pcs:
        return "icd-10-cm"
    return "icd-10-pcs" if pcs >= _MOST else "other"


def comparison_key(code: str, system: System | None = None) -> str:
    """Return what two codes of a system are compared by, wherever cielo compares codes.

    But for figures that are to be the paper's or CodiEsp's own, which count codes as they are written: see
    `cielo.workbench.evaluation.scores`.

    That is `code_key`, and in ICD-10-CM without the placeholders at its end, since tables differ in how many they
    write: ``I10X`` is ``I10``, ``T68.XXX`` is ``T68``, ``S42.90X`` is ``S42.90``. Placeholders before another character
    stay (``T08X0``, ``T68XXXA``), and so does every ``X`` of other systems, where it has a meaning of its own.

    Args:
        code: as it is written.
        system: that it belongs to; None: not known, ICD-10-CM where it looks so. A seven-character procedure that ends
            in ``X`` begins with a digit and never looks so; a code of yet another terminology may (``A10BX`` of ATC).
    """
    key = code_key(code)
    if system in ("icd-10-cm", None) and _CM.fullmatch(key):
        return key[:3] + key[3:].rstrip("X")
    return key


def comparison_keys(code: str, system: System) -> list[str]:
    """Return the comparison keys that a code may stand under in a table, best first.

    In ICD-10-CM a code that is not there may stand there without its seventh character: ``T68XXXA`` as ``T68``. A code
    with a seventh character is never among those of one without: which one it has is not known.
    """
    keys = [comparison_key(code, system)]
    if system == "icd-10-cm" and _CM.fullmatch(key := code_key(code)):
        keys.append(comparison_key(key[:6], system))
    return list(dict.fromkeys(filter(None, keys)))


def parent_keys(key: str) -> list[str]:
    """Return the keys that could be a code's parent, nearest first: its beginnings, of one character or more."""
    return [key[:end] for end in range(len(key) - 1, 0, -1)]


def category(code: str) -> str:
    """Return a code's first three characters, letters and digits alone: the category of ICD-10-CM."""
    return code_key(code)[:3]


def chapter(code: str, system: System) -> str | None:
    """Return the chapter of an ICD-10-CM code in Roman numerals, the section of an ICD-10-PCS code, else None."""
    key = code_key(code)
    if system == "icd-10-pcs":
        return key[:1] or None
    if system == "other" or not _CATEGORY.match(key):
        return None
    return next((numeral for last, numeral in _CHAPTERS if key[:3] <= last), None)
