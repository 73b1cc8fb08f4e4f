"""The records of a run: what it is, how it was cut, and what each fragment gave."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, fields
from typing import Literal

from cielo import schema
from cielo.decisions import Thresholds
from cielo.errors import OptionError
from cielo.options import LinkOptions
from cielo.tables.formats import Format, OutputStyle, TableFormat
from cielo.tables.mentions import MentionColumns

OUTPUT_FORMATS: tuple[Format, ...] = ("parquet", "jsonl", "csv")
BINS = 10  # of the histogram of confidences
_LONGEST = 200  # characters of an option's value that are kept as they are


@dataclass(frozen=True, slots=True, kw_only=True)
class BulkOptions:
    """How a run is cut, written and shared out.

    Attributes:
        form: of the output.
        rows: of the input in each fragment, at least 1.
        limit: the first rows of the whole input alone, at least 1; None: all.
        kind: of all mentions; None: each row's own.
        only_errors: link nothing, and write the rows that cannot be linked.
        table: how tables of the input are read; their formats are known by their names.
        columns: what the input's columns are called.
        style: of CSV.
        thresholds: of the decisions.
        takeover: seconds without a sign of life after which another process's fragment is taken over.

    Raises:
        OptionError: where a value is not among those allowed.
    """

    form: Format = "jsonl"
    rows: int = 2048
    limit: int | None = None
    kind: str | None = None
    only_errors: bool = False
    table: TableFormat = field(default_factory=TableFormat)
    columns: MentionColumns = field(default_factory=MentionColumns)
    style: OutputStyle = field(default_factory=OutputStyle)
    thresholds: Thresholds = field(default_factory=Thresholds)
    takeover: float = 60.0

    def __post_init__(self) -> None:
        if self.form not in OUTPUT_FORMATS:
            raise OptionError(f"got format {self.form!r}, expected one of {', '.join(OUTPUT_FORMATS)}")
        if self.rows < 1 or (self.limit is not None and self.limit < 1):
            raise OptionError("got less than one row for a fragment or as the limit, expected at least 1")
        if not self.takeover > 0:
            raise OptionError(f"got takeover {self.takeover!r}, expected a number of seconds above 0")


@dataclass(frozen=True, slots=True)
class InputFile:
    """A file of the input: its name, its size in bytes, and the SHA-256 of its bytes."""

    name: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """All that the bytes of a run's output depend on; a run goes on only where it is the same.

    Attributes:
        version: of cielo.
        bundle, bundle_sha256, edition: whose models and knowledge base link.
        backend, compute_type, device: that run the generator.
        options: of linking and of the output, by name, as JSON.
        lexicon_sha256: of the lexicon's answers; None: there is none.
        inputs: the files, in their order.
    """

    version: str
    bundle: str
    bundle_sha256: str
    edition: str
    backend: str
    compute_type: str
    device: str
    options: dict[str, str]
    lexicon_sha256: str | None
    inputs: tuple[InputFile, ...]

    def differences(self, other: Identity) -> list[str]:
        """Name what is not the same, each with the value that stands here and that of `other`."""
        found = []
        for name in (entry.name for entry in fields(self) if entry.name not in ("options", "inputs")):
            if getattr(self, name) != getattr(other, name):
                found.append(f"{name}: {getattr(self, name)}, now {getattr(other, name)}")
        for name in sorted({*self.options, *other.options}):
            if self.options.get(name) != other.options.get(name):
                found.append(f"option {name}: {self.options.get(name)}, now {other.options.get(name)}")
        return found + _input_differences(self.inputs, other.inputs)


def _input_differences(before: tuple[InputFile, ...], now: tuple[InputFile, ...]) -> list[str]:
    if len(before) != len(now):
        return [f"inputs: {len(before)} file(s), now {len(now)}"]
    return [
        f"input {place}: {old.name} ({old.size:,} bytes, {old.sha256[:12]}), "
        f"now {new.name} ({new.size:,} bytes, {new.sha256[:12]})"
        for place, (old, new) in enumerate(zip(before, now, strict=True), start=1)
        if old != new
    ]


def options_of(link: LinkOptions, bulk: BulkOptions) -> dict[str, str]:
    """Return the options that bytes depend on, by name, as JSON; a long one (a list of codes) as its SHA-256."""
    return {
        entry.name: _short(getattr(record, entry.name))
        for record in (link, bulk)
        for entry in fields(record)
        if entry.name != "takeover"
    }


def _short(value: object) -> str:
    if hasattr(value, "codes"):  # a subset: sets have no order of their own
        parts = {entry.name: getattr(value, entry.name) for entry in fields(value)}  # type: ignore[arg-type]
        value = {name: sorted(part) if isinstance(part, frozenset) else part for name, part in parts.items()}
    text = schema.canonical(value)
    return text.decode() if len(text) <= _LONGEST else f"sha256 {hashlib.sha256(text).hexdigest()}"


@dataclass(frozen=True, slots=True)
class Fragment:
    """A stretch of one input file.

    Attributes:
        number: in the run, from 0.
        file: of the input, by its place in `Identity.inputs`.
        first, last: the numbers of its first and last row in that file (see `TableRow.number`).
        rows: how many.
        sha256: of its rows as they are kept.
        ordinal: of the first distinct mention that occurs here before anywhere else.
        distinct: how many such there are.
    """

    number: int
    file: int
    first: int
    last: int
    rows: int
    sha256: str
    ordinal: int
    distinct: int


@dataclass(frozen=True, slots=True)
class Plan:
    """How a run's input was cut.

    Attributes:
        columns: of the output, the input's own, in the order in which they first occur.
        fragments: in the order of the input.
        warnings: what is odd about files of the input.
    """

    columns: tuple[str, ...]
    fragments: tuple[Fragment, ...]
    warnings: tuple[str, ...] = ()

    @property
    def rows(self) -> int:
        """Of the input."""
        return sum(fragment.rows for fragment in self.fragments)

    @property
    def distinct(self) -> int:
        """How many different mentions are linked."""
        return sum(fragment.distinct for fragment in self.fragments)


@dataclass(frozen=True, slots=True)
class RowError:
    """A row that could not be linked: its number in its file, and why; the reason holds none of its text."""

    row: int
    reason: str


@dataclass(frozen=True, slots=True)
class Done:
    """What a fragment gave.

    Attributes:
        number: of the fragment.
        part: the name of its file in the output.
        sha256: of that file.
        linked: rows with a link, those without a code among them.
        methods: how many rows were answered by each method.
        decisions: how many rows have each decision.
        confidences: how many rows have a confidence in each tenth of [0, 1].
        errors: the rows that have none.
    """

    number: int
    part: str
    sha256: str
    linked: int
    methods: dict[str, int]
    decisions: dict[str, int]
    confidences: tuple[int, ...]
    errors: tuple[RowError, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """A finished run: what it was, how it was cut, and the hash of every part of the output."""

    schema: Literal[1] = 1
    identity: Identity
    plan: Plan
    parts: tuple[Part, ...] = field(default=())


@dataclass(frozen=True, slots=True)
class Part:
    """A file of the output and the SHA-256 of its bytes."""

    name: str
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What a run gave, and how fast this process was at the end of it.

    Attributes:
        rows, linked, errors: rows of the input, those linked, and those with an error.
        distinct: different mentions.
        methods: rows by the method of their link.
        decisions: rows by their decision.
        confidences: rows in each tenth of [0, 1].
        seconds: that this process took; rows that it or others had done before are in none of its figures.
        rows_written: by this process.
        rows_per_second: of this process.
        identity: of the run.
    """

    rows: int
    linked: int
    errors: int
    distinct: int
    methods: dict[str, int]
    decisions: dict[str, int]
    confidences: tuple[int, ...]
    seconds: float
    rows_written: int
    rows_per_second: float
    identity: Identity
