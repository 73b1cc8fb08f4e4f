"""The records of a bulk run: what is asked for, what it was cut into, and what became of each part."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Literal

from cielo.options import LinkOptions
from cielo.records import Provenance
from cielo.tables.formats import TableFormat

PartFormat = Literal["parquet", "jsonl", "csv"]
NO_CONFIDENCES = (0,) * 10


@dataclass(frozen=True, slots=True)
class Source:
    """A file of input.

    Attributes:
        path: as it was given, or found in a folder.
        sha256: of its content.
        size: in bytes.
    """

    path: str
    sha256: str
    size: int


@dataclass(frozen=True, slots=True)
class Request:
    """What decides about the bytes of the output: with the same request a run can be gone on with.

    Attributes:
        sources: in the order in which they are read.
        provenance: of the links: bundle, backend, compute type, options of the search.
        reading: how the sources are read, as far as it is named.
        options: of linking.
        lexicon_sha256: of the lexicon's answers; None: there is none.
        kind: of the mentions that name none.
        limit: rows of all sources together; None: all.
        format: of the parts.
        part_rows: rows of a part.
        unit_mentions: distinct mentions that are linked together.
        version: of cielo.
    """

    sources: tuple[Source, ...]
    provenance: Provenance
    reading: TableFormat
    options: LinkOptions
    lexicon_sha256: str | None
    kind: str | None
    limit: int | None
    format: PartFormat
    part_rows: int
    unit_mentions: int
    version: str

    def differences(self, other: Request) -> list[str]:
        """Return what differs in another request, by the names of the fields; of sources which."""
        found = [field.name for field in fields(self) if getattr(self, field.name) != getattr(other, field.name)]
        if "sources" not in found:
            return found
        mine, theirs = ({source.path: source.sha256 for source in one.sources} for one in (self, other))
        changed = [path for path in dict.fromkeys([*mine, *theirs]) if mine.get(path) != theirs.get(path)]
        return [name for name in found if name != "sources"] + [f"the input {path}" for path in changed or ["order"]]


@dataclass(frozen=True, slots=True)
class Part:
    """A stretch of rows that becomes one file of output.

    Attributes:
        source: its number.
        first: row of the source, from 0.
        rows: how many.
    """

    number: int
    source: int
    first: int
    rows: int


@dataclass(frozen=True, slots=True)
class Plan:
    """A request, and what it was cut into.

    Attributes:
        columns: of each source, in their order.
        warnings: of each source, about the file as a whole.
        mentions: distinct ones; they are numbered, and linked in units of their numbers.
    """

    request: Request
    parts: tuple[Part, ...]
    columns: tuple[tuple[str, ...], ...]
    warnings: tuple[tuple[str, ...], ...]
    rows: int
    mentions: int

    @property
    def units(self) -> int:
        """How many units there are."""
        return -(-self.mentions // self.request.unit_mentions)


@dataclass(frozen=True, slots=True)
class PartSummary:
    """What became of a part.

    Attributes:
        methods: how many rows were linked by each method.
        confidences: ten counts, of confidences in [0, 0.1), [0.1, 0.2) …
        errors: rows with an error.
        sha256: of the part's file.
    """

    number: int
    rows: int
    errors: int
    sha256: str
    methods: dict[str, int] = field(default_factory=dict)
    confidences: tuple[int, ...] = NO_CONFIDENCES
    without_code: int = 0


@dataclass(frozen=True, slots=True)
class Measured:
    """How long a run took; of one that was begun again, the last stretch alone."""

    seconds: float
    rows_per_second: float
    mentions_linked: int
    versions: dict[str, str]


@dataclass(frozen=True, slots=True)
class Summary:
    """What a run did: `measured` alone differs from run to run."""

    rows: int
    mentions: int
    errors: int
    without_code: int
    methods: dict[str, int]
    confidences: tuple[int, ...]
    parts: int
    request: Request
    measured: Measured
