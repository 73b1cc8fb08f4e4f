"""Links to bytes without text, every text being the number of its row in the knowledge base, and back.

Which fields are stored is derived from the records: what is neither a text of the knowledge base nor a call's own is
kept as it is, where it is a number or one of the records' own names. A field that is added later is therefore kept, and
a text in it is a reason not to keep the link.
"""

from __future__ import annotations

import json
from dataclasses import fields, replace
from typing import Any, get_args

from cielo.knowledge.reading import KnowledgeBase
from cielo.options import LinkOptions
from cielo.records import Candidate, Evidence, Link, Match, Method, Proof, Provenance

# What stands for rows of the knowledge base, or is stored in a form of its own; and what belongs to one call.
_ROWS = frozenset(("code", "codes", "description", "kind", "title", "generated", "candidates", "provenance", "proof"))
_OF_THE_CALL = frozenset(("timings", "id"))
_PLAIN = tuple(field.name for field in fields(Link) if field.name not in _ROWS | _OF_THE_CALL)
_PLAIN_OF_CANDIDATE = tuple(field.name for field in fields(Candidate) if field.name not in _ROWS)
_PLAIN_OF_PROOF = tuple(field.name for field in fields(Proof))
# Of the provenance, what the options of a call decide.
_VARYING = tuple(
    field.name for field in fields(Provenance) if field.name in {option.name for option in fields(LinkOptions)}
)
_NAMES = frozenset((*get_args(Method), *get_args(Match), *get_args(Evidence)))


class LinkCodec:
    """Encodes links of one bundle, and decodes them."""

    def __init__(self, knowledge_base: KnowledgeBase, provenance: Provenance) -> None:
        self._rows = knowledge_base
        self._provenance = provenance

    @property
    def owner(self) -> bytes:
        """Whose row numbers these are, and which fields are stored: entries of another owner mean something else."""
        fixed = [getattr(self._provenance, field.name) for field in fields(Provenance) if field.name not in _VARYING]
        return repr((_PLAIN, _PLAIN_OF_CANDIDATE, _PLAIN_OF_PROOF, _VARYING, *fixed)).encode()

    def encode(self, link: Link) -> bytes | None:
        """Return a link without `timings` and `id` as bytes; None where they would not give the same link back."""
        try:
            content = self._encode(link)
            # Also refuses what lies outside the knowledge base in any other way, another bundle's link, and NaN.
            return content if self.decode(content) == link else None
        except (KeyError, ValueError):  # a text that is no row's, or no text for SQLite
            return None

    def _encode(self, link: Link) -> bytes:
        rows = self._rows
        proof, first = link.proof, 0
        if link.code is not None and link.description is not None and link.kind is not None:
            first = rows.number_of(link.code, link.description, link.kind)
        parts = [
            rows.number_of_text(link.generated),
            first,
            [rows.number_of_code(code) for code in link.codes],
            [_plain(getattr(link, name)) for name in _PLAIN],
            [
                [
                    rows.number_of(entry.code, entry.description, entry.kind),
                    *(_plain(getattr(entry, name)) for name in _PLAIN_OF_CANDIDATE),
                ]
                for entry in link.candidates
            ],
            [getattr(link.provenance, name) for name in _VARYING],
            None if proof is None else [_plain(getattr(proof, name)) for name in _PLAIN_OF_PROOF],
        ]
        return json.dumps(parts, separators=(",", ":")).encode()

    def decode(self, content: bytes) -> Link:
        """Return the link that `encode` was given.

        Raises:
            KeyError: where the knowledge base has no such row.
        """
        rows = self._rows
        generated, number, codes, plain, candidates, varying, proof = json.loads(content)
        first = rows.concept_by_number(number) if number else None
        return Link(
            code=first.code if first else None,
            codes=tuple(rows.code_by_number(code) for code in codes),
            description=first.description if first else None,
            kind=first.kind if first else None,
            title=first.title if first else None,
            generated=rows.concept_by_number(generated).description,
            candidates=tuple(self._candidate(*entry) for entry in candidates),
            proof=None if proof is None else Proof(*proof),
            provenance=replace(self._provenance, **dict(zip(_VARYING, varying, strict=True))),
            **dict(zip(_PLAIN, map(_read, plain), strict=True)),
        )

    def _candidate(self, number: int, *plain: Any) -> Candidate:
        found = self._rows.concept_by_number(number)
        return Candidate(
            code=found.code,
            description=found.description,
            kind=found.kind,
            title=found.title,
            **dict(zip(_PLAIN_OF_CANDIDATE, map(_read, plain), strict=True)),
        )


def _plain(value: Any) -> Any:
    """Return a value that is no text.

    Raises:
        ValueError: where it is another text than the records' own names.
    """
    if isinstance(value, tuple):
        return [_plain(entry) for entry in value]
    if value is None or isinstance(value, int | float) or (isinstance(value, str) and value in _NAMES):
        return value
    raise ValueError("a value that is neither a number nor one of the records' names")


def _read(value: Any) -> Any:
    return tuple(map(_read, value)) if isinstance(value, list) else value
