"""Subsets: parts of a knowledge base that a call may be restricted to."""

from __future__ import annotations

import functools
from dataclasses import dataclass

from cielo.knowledge.codes import comparison_key

_SUBSETS_KEPT = 8


@dataclass(frozen=True, slots=True)
class Subset:
    """A part of a knowledge base. What is None restricts nothing.

    Attributes:
        kinds: of the codes.
        chapters: Roman numerals of ICD-10-CM, the first character of ICD-10-PCS; ``kind:X`` means that kind's alone.
        leaf: only codes below which there is no other.
        codes: these codes alone, by their comparison keys (``R05X`` holds ``R05``).
    """

    kinds: frozenset[str] | None = None
    chapters: frozenset[str] | None = None
    leaf: bool = False
    codes: frozenset[str] | None = None

    def holds(self, code: str, kind: str, chapter: str | None, leaf: bool) -> bool:
        """Tell whether a code is in it."""
        return (
            (self.kinds is None or kind in self.kinds)
            and (self.chapters is None or bool(self.chapters & {chapter, f"{kind}:{chapter}"}))
            and (leaf or not self.leaf)
            and (self.codes is None or comparison_key(code) in self._keys)
        )

    @property
    def _keys(self) -> frozenset[str]:
        return _keys_of(self.codes or frozenset())


@functools.lru_cache(_SUBSETS_KEPT)
def _keys_of(codes: frozenset[str]) -> frozenset[str]:
    return frozenset(comparison_key(code) for code in codes)
