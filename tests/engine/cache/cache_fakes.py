"""What the tests of the caches share: links to a small knowledge base, and what is done to a cache's file."""

from __future__ import annotations

import contextlib
import dataclasses
import multiprocessing
import random
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cielo.cache.disk import DiskCache
from cielo.cache.protocol import ResultCache
from cielo.knowledge.records import DescriptionRow
from cielo.records import BundleIdentity, Candidate, Concept, Evidence, Link, Provenance

if TYPE_CHECKING:
    pass

ROOT = Path(__file__).parents[3]
MARKER = "Ximénez"
SECRET = bytes(range(32))
ROWS = [
    DescriptionRow("T68", "Hipotermia", "diagnosis"),
    DescriptionRow("R50", "Fiebre", "diagnosis"),
    DescriptionRow("R50.9", "Fiebre, no especificada", "diagnosis"),
    DescriptionRow("R50.9", "Pirexia", "diagnosis", preferred=False),
    DescriptionRow("R05", "Tos", "diagnosis"),
    DescriptionRow("6A4Z", "hipotermia", "procedure"),
    DescriptionRow("BW20", "tomografía abdominal", "procedure"),
    DescriptionRow("BW20ZZZ", "tomografía abdominal", "procedure"),
    DescriptionRow("0210", "Fiebre", "procedure"),
    DescriptionRow("R05", "Tos", "procedure"),
]
TITLES = {(row.kind, row.code): row.description for row in reversed(ROWS) if row.preferred}
CONCEPTS = [Concept(row.code, row.description, row.kind, TITLES[row.kind, row.code]) for row in ROWS]
PROVENANCE = Provenance(
    BundleIdentity("de prueba", "ab" * 32, "CIE-10-ES 2024"), "ctranslate2", "int8", "cpu", "probable"
)
OTHER = dataclasses.replace(PROVENANCE, bundle=dataclasses.replace(PROVENANCE.bundle, sha256="cd" * 32))
SPAWN = multiprocessing.get_context("spawn")
PATIENCE = 300  # seconds for another process, on a busy machine


class Clock:
    """The cache's monotonic clock and its calendar, to be set forward."""

    def __init__(self) -> None:
        self.seconds = 1_000_000.0
        self.day = 20_000


def candidate(concept: Concept, **numbers: float) -> Candidate:
    evidence: Evidence = "neighbour" if "distance" in numbers else "hypothesis"
    return Candidate(concept.code, concept.description, concept.kind, (evidence,), **numbers, title=concept.title)


def link_to(number: int, **changes: Any) -> Link:
    """An exact link to a row of the knowledge base."""
    concept = CONCEPTS[number]
    others = [candidate(CONCEPTS[(number + 1) % len(ROWS)], distance=0.1), candidate(CONCEPTS[3], log_prob=-2.5)]
    link = Link(
        code=concept.code,
        codes=(concept.code,),
        description=concept.description,
        kind=concept.kind,
        title=concept.title,
        match="literal",
        method="exact",
        generated=concept.description,
        log_prob=-0.1 - number / 3,
        distance=None,
        candidates=(candidate(concept, log_prob=-0.1 - number / 3), *others),
        provenance=PROVENANCE,
    )
    return dataclasses.replace(link, **changes)


def digest(number: int) -> bytes:
    return number.to_bytes(4, "big") * 4


def links_to(count: int) -> dict[bytes, Link]:
    return {digest(number): link_to(number % len(ROWS)) for number in range(count)}


def run_threads(count: int, target: Callable[..., None], *arguments: Any) -> None:
    """Run threads to their end; an error in one of them is an error of the test."""
    errors: list[BaseException] = []

    def guarded() -> None:
        try:
            target(*arguments)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=guarded) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


@contextlib.contextmanager
def processes(count: int, target: Callable[..., None], *arguments: Any) -> Iterator[list[Any]]:
    """Run processes, each with its number where the first argument is None; they must end well."""
    started = [
        SPAWN.Process(target=target, args=[number if entry is None else entry for entry in arguments])
        for number in range(count)
    ]
    for process in started:
        process.start()
    yield started
    for process in started:
        process.join(PATIENCE)
    assert [process.exitcode for process in started] == [0] * count


def hammer(cache: ResultCache, rounds: int) -> None:
    """Put and get, and check that each key has its own link."""
    chance = random.Random()
    for _ in range(rounds):
        numbers = chance.sample(range(40), 5)
        cache.put_many({digest(number): link_to(number % len(ROWS)) for number in numbers[:2]})
        for entry, link in cache.get_many(map(digest, numbers)).items():
            assert link == link_to(int.from_bytes(entry[:4], "big") % len(ROWS))


def entries_of(cache: DiskCache) -> int:
    with contextlib.closing(sqlite3.connect(cache._path)) as connection:
        return int(connection.execute("SELECT count(*) FROM entry").fetchone()[0])


def counted(cache: DiskCache) -> int:
    """What the file itself says how many entries it holds."""
    with contextlib.closing(sqlite3.connect(cache._path)) as connection:
        return int(connection.execute("SELECT entries FROM size").fetchone()[0])


def contents_of(directory: Path) -> dict[str, bytes]:
    """The files of a cache, but for the locks that readers share."""
    return {file.name: file.read_bytes() for file in directory.iterdir() if file.is_file() and not file.match("*-shm")}


def forms(word: str) -> Iterator[bytes]:
    for text in {word, word.lower(), word.upper(), word.casefold(), word[:6]}:
        for encoding in ("utf-8", "latin-1", "utf-16-le", "utf-16-be"):
            yield text.encode(encoding)


def break_tables(path: Path) -> None:
    """Drop a table under an open cache: every statement after that is an error."""
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("DROP TABLE entry")


def damage(file: Path, start: int, content: bytes) -> None:
    with file.open("r+b") as stream:
        stream.seek(start)
        stream.write(content)


def changed(path: Path, *statements: str) -> None:
    """Change a cache as another version, or somebody else, would have."""
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        for statement in statements:
            connection.execute(statement)


def works(cache: DiskCache) -> bool:
    cache.put_many(links_to(5))
    return cache.get_many(links_to(5)) == links_to(5)
