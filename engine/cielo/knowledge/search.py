"""Search by words in a knowledge base, and what may have been meant by a word that no description holds."""

from __future__ import annotations

import re
import threading
import unicodedata
from collections.abc import Iterator, Sequence
from itertools import islice

from cielo.knowledge.records import SearchResult
from cielo.knowledge.storage import ReadConnection
from cielo.records import Concept

_WORD = re.compile(r"[^\W_]+")
_MOST_WORDS = 64  # of one search; a description holds fewer
_LONGEST_WORD = 64  # characters
_MOST_SUGGESTIONS = 5
_MOST_MISSPELT = 8  # words of one search for which others are looked for
_SHORTEST_MISSPELT, _SHORTEST_TWICE_MISSPELT = 4, 6  # characters of a word in which one or two slips are looked for
_SHORTEST_PART = 2  # of a word that is written with a hyphen there, and without one here
_HITS = "FROM words JOIN description d ON d.id = words.rowid JOIN concept c ON c.id = d.concept WHERE words MATCH ?1"
_OF_KIND = "(?2 IS NULL OR c.kind = ?2)"


class WordSearch:
    """Search in the words of descriptions. Thread-safe."""

    def __init__(self, file: ReadConnection) -> None:
        self._file = file
        self._lock = threading.Lock()
        self._known: dict[str, int] | None = None

    def find(
        self,
        text: str,
        kind: str | None,
        limit: int,
        *,
        every: bool = False,
        without: frozenset[int] = frozenset(),
    ) -> SearchResult:
        """Return the concepts with a description that holds the words of `text`, or words that begin so.

        Args:
            text: as somebody types it.
            kind: of the concepts; None: any.
            limit: the most that are returned; all are counted.
            every: only descriptions that hold every word; else, where there are none, those that hold some.
            without: row numbers of concepts that are neither returned nor counted.
        """
        words = list(islice(dict.fromkeys(_words(text)), _MOST_WORDS))
        if not words:
            return SearchResult((), 0)
        unknown = [word for word in words if not self._occurs(word)]
        patterns = [pattern for word in words if (pattern := self._pattern(word, word in unknown))]
        numbers: set[int] = set()
        expression = " AND ".join(patterns)
        if len(patterns) == len(words):
            numbers = self._numbers(expression, kind) - without
        if not numbers and patterns and not every:
            expression = " OR ".join(patterns)
            numbers = self._numbers(expression, kind) - without
        found = self._ranked(expression, kind, limit + len(without), without)[:limit] if numbers else []
        suggestions = tuple(self._suggestions(words, unknown)) if len(patterns) < len(words) else ()
        return SearchResult(tuple(found), len(numbers), suggestions)

    def _occurs(self, word: str) -> bool:
        return bool(self._file.query("SELECT 1 FROM words WHERE words MATCH ? LIMIT 1", f'"{word}"*'))

    def _pattern(self, word: str, unknown: bool) -> str | None:
        """Return FTS5's expression for a word; None where no description holds it.

        What is written in one word here may be written with a hyphen there (``posquirúrgico``, ``pos-quirúrgico``).
        """
        if not unknown:
            return f'"{word}"*'
        known = self._vocabulary()
        cuts = range(_SHORTEST_PART, len(word) - _SHORTEST_PART + 1)
        phrases = [f'"{word[:cut]} {word[cut:]}"*' for cut in cuts if word[:cut] in known]
        found = [phrase for phrase in phrases if self._file.query(
            "SELECT 1 FROM words WHERE words MATCH ? LIMIT 1", phrase)]  # fmt: skip
        return f"({' OR '.join(found)})" if found else None

    def _numbers(self, expression: str, kind: str | None) -> set[int]:
        rows = self._file.query(f"SELECT DISTINCT c.id {_HITS} AND {_OF_KIND}", expression, kind)
        return {number for (number,) in rows}

    def _ranked(self, expression: str, kind: str | None, limit: int, without: frozenset[int]) -> list[Concept]:
        rows = self._file.query(
            f"SELECT c.id, c.code, d.text, c.kind, c.title, min(rank) {_HITS} AND {_OF_KIND} "
            "GROUP BY c.id ORDER BY min(rank), c.id LIMIT ?3",
            expression,
            kind,
            limit,
        )
        return [Concept(*row[1:5]) for row in rows if row[0] not in without]

    def _vocabulary(self) -> dict[str, int]:
        """Return the words of all descriptions, without accents, and in how many descriptions each is."""
        with self._lock:
            if self._known is None:
                self._known = dict(self._file.query("SELECT term, doc FROM vocabulary"))
            return self._known

    def _suggestions(self, words: Sequence[str], unknown: Sequence[str]) -> Iterator[str]:
        """Yield the query with its misspelt words replaced: at first by the likeliest, then by the next ones."""
        meant = {word: self._near(word) for word in unknown[:_MOST_MISSPELT]}
        for place in range(max(map(len, meant.values()), default=0)):
            replaced = []
            for word in words:
                near = meant.get(word, [] if word in unknown else [word])
                if near:  # a word that is like none is left out
                    replaced.append(near[min(place, len(near) - 1)])
            yield " ".join(replaced)

    def _near(self, word: str) -> list[str]:
        """Return words of the vocabulary that a word may be a misspelling of, as a description writes them.

        The nearest first, of these the most used first; where one slip is enough, none that needs two.
        """
        slips = 2 if len(word) >= _SHORTEST_TWICE_MISSPELT else 1 if len(word) >= _SHORTEST_MISSPELT else 0
        letters = set(word)
        found = []
        for term, used in self._vocabulary().items():
            # A slip changes the length by one, and which letters there are by two.
            if abs(len(term) - len(word)) <= slips and len(letters.symmetric_difference(term)) <= 2 * slips:
                apart = _slips_between(word, term)
                if 0 < apart <= slips:
                    found.append((apart, -used, term))
        found.sort()
        return [self._written(term) for apart, _, term in found[:_MOST_SUGGESTIONS] if apart == found[0][0]]

    def _written(self, term: str) -> str:
        rows = self._file.query(
            "SELECT d.text FROM words JOIN description d ON d.id = words.rowid WHERE words MATCH ? LIMIT 1", f'"{term}"'
        )
        return next((w.lower() for (text,) in rows for w in _WORD.findall(text) if _folded(w) == term), term)


def _words(text: str) -> Iterator[str]:
    return (_folded(match[0][:_LONGEST_WORD]) for match in _WORD.finditer(unicodedata.normalize("NFC", text)))


def _folded(word: str) -> str:
    parts = unicodedata.normalize("NFD", word.lower())
    return unicodedata.normalize("NFC", "".join(part for part in parts if not unicodedata.combining(part)))


def _slips_between(one: str, other: str) -> int:
    """Return how many letters were left out, added, mistyped or exchanged with the next (optimal string alignment)."""
    before, row = [0] * (len(other) + 1), list(range(len(other) + 1))
    for i, letter in enumerate(one, start=1):
        earlier, before = before, row
        row = [i]
        for j, wanted in enumerate(other, start=1):
            best = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (letter != wanted))
            if i > 1 and j > 1 and letter == other[j - 2] and one[i - 2] == wanted:
                best = min(best, earlier[j - 2] + 1)
            row.append(best)
    return row[-1]
