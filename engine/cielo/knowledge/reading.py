"""The opened knowledge base: codes and their descriptions in one SQLite file, read in place.

Order. A description can belong to several codes (two codes share a title; titles that differ in casing share a
normal form). `KnowledgeBase.match` returns all of them: those whose description is the text to the letter first, then
those that agree in normal form; within each, preferred descriptions before synonyms, then the order of the tables'
rows, tables in the order of the recipe. `KnowledgeBase.match_as_published` returns what the paper does: the first row
of the tables that agrees in the paper's own normal form, and no other.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from cielo.errors import BundleError, OptionError
from cielo.knowledge.code_systems import systems_in
from cielo.knowledge.codes import System, code_key, comparison_key, comparison_keys
from cielo.knowledge.records import CodeSystem, ConceptDetails, SearchResult, TableSource
from cielo.knowledge.search import WordSearch
from cielo.knowledge.storage import ReadConnection
from cielo.knowledge.subsets import Subset
from cielo.records import Concept, Match
from cielo.text.normal import normal_form, published_form

_MATCH = """
SELECT c.id, c.code, d.text, c.kind, c.title FROM description d JOIN concept c ON c.id = d.concept
WHERE {condition} AND (?2 IS NULL OR c.kind = ?2) ORDER BY {order}
"""
_MATCHES: tuple[tuple[Match, str], ...] = (("literal", "d.text = ?1"), ("normal", "d.normal = ?1"))
_IN_ORDER, _FIRST = "d.preferred DESC, d.id", "d.id LIMIT 1"
_PUBLISHED = "(d.published = ?1 OR d.published IS NULL AND d.normal = ?1)"
_SUBSETS_KEPT = 8
_ROWS_KEPT = 10_000  # of those asked for by number: the same codes come up again and again
_SHORTEST_CODE = 3  # characters of a search that looks for codes


class KnowledgeBase:
    """Look-up of codes and descriptions in a knowledge base file. Thread-safe."""

    def __init__(self, path: Path) -> None:
        """Open the file, read-only and in place.

        Raises:
            BundleError: where it is not a knowledge base, or no regular file.
        """
        self._file = ReadConnection(path)
        try:
            kinds = self._query("SELECT name, system, concepts FROM kind ORDER BY id")
            about = dict(self._query("SELECT key, value FROM about"))
        except BaseException:
            self._file.close()
            raise
        self.systems: dict[str, System] = {name: system for name, system, _ in kinds}
        self.concepts: dict[str, int] = {name: count for name, _, count in kinds}
        self.edition = str(about.get("edition", ""))
        self.code_systems: dict[str, CodeSystem] = _code_systems(about)
        self._subset = functools.lru_cache(_SUBSETS_KEPT)(self._select_subset)
        self._row = functools.lru_cache(_ROWS_KEPT)(self._select_row)
        self._search = WordSearch(self._file)

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of its rows, in the order of the tables."""
        return tuple(self.systems)

    @property
    def sources(self) -> tuple[TableSource, ...]:
        """The tables that it was built from."""
        rows = self._query("SELECT name, kind, sha256, rows, rejected FROM source ORDER BY id")
        return tuple(TableSource(*row) for row in rows)

    def match(self, text: str, kind: str | None = None, subset: Subset | None = None) -> list[Concept]:
        """Return every code that has `text` as a description, in the order that the module documents.

        Args:
            text: a description, as generated.
            kind: of the rows to look in; None: all.
            subset: the codes to look among; None: all.
        """
        first: dict[tuple[str, str], Concept] = {}
        for match, condition in _MATCHES:
            value = text if match == "literal" else normal_form(text)
            if not value:
                continue
            for number, *columns in self._query(_MATCH.format(condition=condition, order=_IN_ORDER), value, kind):
                if subset is None or number in self._subset(subset):
                    concept = replace(Concept(*columns), match=match)
                    first.setdefault((concept.code, concept.kind), concept)
        return list(first.values())

    def match_as_published(self, text: str, kind: str | None = None) -> list[Concept]:
        """Return the code of the first row that agrees with `text` in the paper's normal form, or nothing."""
        form = published_form(text)
        if not form:
            return []
        rows = self._query(_MATCH.format(condition=_PUBLISHED, order=_FIRST), form, kind)
        concepts = [Concept(*columns) for _, *columns in rows]
        return [replace(concept, match="literal" if concept.description == text else "normal") for concept in concepts]

    def first_row(self, description: str, kind: str | None = None) -> list[Concept]:
        """Return the code of the first row with a description, to the letter, or nothing: as the paper has it."""
        rows = self._query(_MATCH.format(condition="d.text = ?1", order=_FIRST), description, kind)
        return [Concept(*columns) for _, *columns in rows]

    def find(self, code: str, kind: str | None = None) -> Concept | None:
        """Return the code as the knowledge base writes it, with its title; None where it has no such code.

        Compared by `comparison_key`. Of several codes that agree so (``B02.0`` and ``B020``, ``I10`` and ``I10.X``) it
        is the one that is written like `code`, else the one with the same letters and digits, else the first of the
        tables; where none agrees, likewise without a seventh character (see `comparison_keys`).
        """
        key, written = code_key(code), code.strip().upper()
        kinds = self.kinds if kind is None else (kind,)
        forms = {of: comparison_keys(code, self.systems.get(of, "other")) for of in kinds}
        for step in range(max(map(len, forms.values()), default=0)):
            rows = [
                row for of, keys in forms.items() for form in keys[step : step + 1] for row in self._alike(of, form)
            ]
            wanted = key if step == 0 else key[:6]
            if rows:
                _, *columns = min(rows, key=lambda row: (row[1] != written, code_key(row[1]) != wanted, row[0]))
                return Concept(*columns)
        return None

    def holds(
        self, code: str, kind: str | None = None, subset: Subset | None = None, *, as_written: bool = False
    ) -> bool:
        """Tell whether an answer can be `code` as scores compare codes: by `comparison_key`, its seventh character too.

        Args:
            code: as it is written.
            kind: to look in; None: all.
            subset: to look in; None: all.
            as_written: placeholders at the end count too: compared by `code_key`.
        """
        allowed = None if subset is None else self._subset(subset)
        return any(
            (allowed is None or number in allowed) and not (as_written and code_key(written) != code_key(code))
            for of in (self.kinds if kind is None else (kind,))
            for number, written, *_ in self._alike(of, comparison_key(code, self.systems.get(of, "other")))
        )

    def _alike(self, kind: str, key: str) -> list[Any]:
        return self._query("SELECT id, code, title, kind, title FROM concept WHERE kind = ? AND key = ?", kind, key)

    def show(self, code: str, kind: str | None = None) -> ConceptDetails | None:
        """Return a code with its descriptions, ancestors and children; None where there is no such code."""
        concept = self.find(code, kind)
        if concept is None:
            return None
        number, chapter_of, leaf = self._query(
            "SELECT id, chapter, leaf FROM concept WHERE kind = ? AND code = ?", concept.kind, concept.code
        )[0]
        texts = self._query(
            "SELECT text FROM description WHERE concept = ? AND text != ? ORDER BY preferred DESC, id",
            number,
            concept.title,
        )
        children = self._query(
            "SELECT code, title FROM concept WHERE kind = ? AND parent = ? ORDER BY code", concept.kind, concept.code
        )
        return ConceptDetails(
            code=concept.code,
            kind=concept.kind,
            title=concept.title,
            descriptions=tuple(text for (text,) in texts),
            chapter=chapter_of,
            leaf=bool(leaf),
            ancestors=tuple(self._ancestors(concept)),
            children=tuple((str(child), str(title)) for child, title in children),
        )

    def _ancestors(self, concept: Concept) -> list[tuple[str, str]]:
        query = (
            "SELECT p.code, p.title FROM concept c JOIN concept p ON p.kind = c.kind AND p.code = c.parent "
            "WHERE c.kind = ? AND c.code = ?"
        )
        found: dict[str, str] = {}
        code = concept.code
        while rows := self._query(query, concept.kind, code):
            code, title = rows[0]
            if code in found or code == concept.code:
                raise BundleError(
                    f"the knowledge base cannot be read: {concept.code} is its own ancestor; build it, or its bundle, "
                    "again"
                )
            found[code] = title
        return list(found.items())

    def beginning_with(self, code: str, limit: int = 20, kind: str | None = None) -> list[Concept]:
        """Return codes that begin with `code`, for somebody who gave no whole one; the shortest first."""
        return [Concept(*columns) for _, *columns in self._beginning_with(code, kind)[:limit]]

    def _beginning_with(self, code: str, kind: str | None) -> list[Any]:
        rows = []
        for of in self.kinds if kind is None else (kind,):
            if key := comparison_key(code, self.systems.get(of, "other")):
                rows += self._query(
                    "SELECT key, id, code, title, kind, title FROM concept WHERE kind = ? AND key >= ? AND key < ?",
                    of,
                    key,
                    f"{key}{chr(0x10FFFF)}",
                )
        return [row[1:] for row in sorted(rows)]

    def search(self, text: str, kind: str | None = None, limit: int = 20) -> SearchResult:
        """Search for codes as people type them: by words of their descriptions, or by the code itself.

        A code, or its beginning of at least three characters, with or without its dot, finds that code and those that
        begin with it. Words are found by their beginnings, whatever their case and accents; behind a hyphen or slash
        begins another word. Where no description holds all of them, those count that hold some. Ranked by BM25
        (SQLite's FTS5), each code once. Where a word is in no description, words that differ in a letter or two are
        suggested.
        """
        coded = self._beginning_with(text, kind) if _is_code_like(text) else []
        by_code = {number: Concept(*columns) for number, *columns in coded}
        words = self._search.find(text, kind, limit, every=bool(by_code), without=frozenset(by_code))
        found = [*by_code.values(), *words.found][:limit]
        return SearchResult(tuple(found), len(by_code) + words.total, () if by_code else words.suggestions)

    def descriptions(self, kind: str, subset: Subset | None = None) -> list[str]:
        """Return the distinct descriptions of a kind, in the order of the tables."""
        rows = self._query(
            "SELECT d.text, d.concept FROM description d JOIN concept c ON c.id = d.concept "
            "WHERE c.kind = ? ORDER BY d.id",
            kind,
        )
        allowed = None if subset is None else self._subset(subset)
        return list(dict.fromkeys(text for text, number in rows if allowed is None or number in allowed))

    def texts(self) -> list[str]:
        """Return the text of every description, those of one text too, in the order of their numbers: 1, 2 and so on.

        Raises:
            BundleError: where the numbers leave one out.
        """
        rows = self._query("SELECT id, text FROM description ORDER BY id")
        if rows and rows[-1][0] != len(rows):
            raise BundleError("the knowledge base's descriptions are not numbered one by one; build it again")
        return [text for _, text in rows]

    def numbers(self, kind: str | None = None, subset: Subset | None = None) -> list[int]:
        """Return the numbers of the descriptions of the codes of a kind that are in a subset; None: of all."""
        rows = self._query(
            "SELECT d.id, d.concept FROM description d"
            if kind is None
            else "SELECT d.id, d.concept FROM description d JOIN concept c ON c.id = d.concept WHERE c.kind = ?",
            *([] if kind is None else [kind]),
        )
        allowed = None if subset is None else self._subset(subset)
        return [number for number, concept in rows if allowed is None or concept in allowed]

    def codes(self, kind: str) -> list[str]:
        """Return the codes of a kind, in the order of the tables."""
        return [code for (code,) in self._query("SELECT code FROM concept WHERE kind = ? ORDER BY id", kind)]

    def titles(self, kind: str) -> list[tuple[str, str]]:
        """Return each code of a kind with its title, in the order of the tables."""
        return self._query("SELECT code, title FROM concept WHERE kind = ? ORDER BY id", kind)

    def count(self, subset: Subset) -> int:
        """Return how many codes are in a subset."""
        return len(self._subset(subset))

    def _select_subset(self, subset: Subset) -> frozenset[int]:
        rows = self._query("SELECT id, code, kind, chapter, leaf FROM concept")
        return frozenset(number for number, *columns in rows if subset.holds(*columns))

    # Row numbers stand for texts where no text may be kept; the bundle's hash fixes them.

    def number_of(self, code: str, description: str, kind: str) -> int:
        """Return the number of the row of a code's description; KeyError where there is none."""
        return self._number(
            "SELECT d.id FROM concept c JOIN description d ON d.concept = c.id "
            "WHERE c.kind = ? AND c.code = ? AND d.text = ?",
            (kind, code, description),
        )

    def number_of_text(self, text: str) -> int:
        """Return the number of the first row whose description is `text`, letter for letter; KeyError as above."""
        return self._number("SELECT id FROM description WHERE text = ? ORDER BY id LIMIT 1", (text,))

    def number_of_code(self, code: str) -> int:
        """Return the number of a code, of the first kind that has it; KeyError where none has."""
        for kind in self.kinds:  # the index of codes begins with the kind
            with contextlib.suppress(KeyError):
                return self._number("SELECT id FROM concept WHERE kind = ? AND code = ?", (kind, code))
        raise KeyError

    def concept_by_number(self, number: int) -> Concept:
        """Return the code and description that `number_of` or `number_of_text` gave a number; KeyError for others."""
        query = (
            "SELECT c.code, d.text, c.kind, c.title FROM description d JOIN concept c ON c.id = d.concept "
            "WHERE d.id = ?"
        )
        code, description, kind, title = self._row(query, (number,))
        return Concept(str(code), str(description), str(kind), str(title))

    def code_by_number(self, number: int) -> str:
        """Return the code that `number_of_code` gave a number; KeyError for others."""
        return str(self._row("SELECT code FROM concept WHERE id = ?", (number,))[0])

    def _number(self, query: str, values: tuple[str, ...]) -> int:
        return int(self._row(query, values)[0])

    def _select_row(self, query: str, values: tuple[str | int, ...]) -> tuple[str | int, ...]:
        rows: list[tuple[str | int, ...]] = self._query(query, *values)
        if not rows:
            raise KeyError
        return rows[0]

    def _query(self, statement: str, *values: Any) -> list[Any]:
        return self._file.query(statement, *values)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _is_code_like(text: str) -> bool:
    key = code_key(text)
    return len(text.split()) == 1 and len(key) >= _SHORTEST_CODE and any(character.isdigit() for character in key)


def _code_systems(about: Mapping[str, str]) -> dict[str, CodeSystem]:
    try:
        return systems_in(about)
    except OptionError as error:
        raise BundleError(f"the knowledge base cannot be read: {error}; build it, or its bundle, again") from error
