"""The tables of DisTEMIST, SympTEMIST and MedProcNER: a span of a document and its SNOMED CT concepts in each line.

DisTEMIST (https://temu.bsc.es/distemist) has ``filename mark label off0 off1 span code semantic_rel``, the two others
``filename … label start_span end_span text code``. The texts lie beside the table or near it, as the archives have
them. A mention that means several concepts at once has ``+`` between them, one that has none ``NO_CODE``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from cielo.errors import MentionError, TableError
from cielo.link.documents import DocumentMention, Span, mention_of
from cielo.records import Mention
from cielo.tables import Cell, ColumnFinder, RejectedRow, Role, TableFormat, format_of, read_table
from cielo.tables.columns import refuse_twice
from cielo.workbench.evaluation.corpora.code_map import CONCEPT, CONCEPT_EXPECTED, MappedCode
from cielo.workbench.evaluation.corpora.codiesp import fragments_of
from cielo.workbench.evaluation.corpora.concepts import add_linked, files_under, needs_map
from cielo.workbench.evaluation.corpora.lines import Gathering, has_header, in_order, line_of, read_lines
from cielo.workbench.evaluation.corpora.texts import NO_TEXT, Documents
from cielo.workbench.evaluation.records import Corpus

EXPECTED = (
    "a table whose header names the columns filename, off0, off1, span and code (or start_span, end_span, text), as "
    "those of DisTEMIST, SympTEMIST and MedProcNER, or a folder with one of them"
)
_ROLES = (
    Role("filename", ("filename",)), Role("start", ("off0", "startspan", "start")),
    Role("end", ("off1", "endspan", "end")), Role("span", ("span", "text")), Role("code", ("code", "codes")),
)  # fmt: skip
_FURTHER = (Role("mark", ("mark", "annid")), Role("label", ("label",)))
# The kinds of ICD-10 codes that the tasks' labels mean, where the table of codes names none.
_KINDS = {"ENFERMEDAD": "diagnosis", "SINTOMA": "diagnosis", "PROCEDIMIENTO": "procedure"}
_NO_CODE = "NO_CODE"
_BETWEEN = re.compile(r"[+|,;\s]+")
_TEXT_FOLDERS = ("text_files", "txt")


@dataclass(frozen=True, slots=True)
class _Line:
    """A line of a table, and where it is."""

    place: str
    document: str
    fragments: Span
    text: str
    concepts: tuple[str, ...]
    kind: str | None
    name: str


def is_shared_task(line: str) -> bool:
    """Tell whether a first line names the columns, each once, or is a mention in the columns' usual order."""
    return has_header(line, _ROLES) or _places(line.split("\t")) is not None


def _places(cells: Sequence[str]) -> tuple[int, ...] | None:
    """Return where a table without a header has what the roles say: filename, start, end, span, code, mark, label.

    The offsets are known by their looks, the span and its concepts stand behind them, the label before them.
    """
    for start in range(2, len(cells) - 3):
        concepts = [part for part in _BETWEEN.split(cells[start + 3]) if part]
        offsets = [cell.strip() for cell in cells[start : start + 2]]
        if not concepts or not all(part == _NO_CODE or CONCEPT.fullmatch(part) for part in concepts):
            continue
        if all(map(str.isdecimal, offsets)) and int(offsets[0]) < int(offsets[1]) and cells[0].strip():
            return 0, start, start + 1, start + 2, start + 3, 1, start - 1
    return None


def tables_of(folder: Path) -> list[Path]:
    """Return the tables of a folder, in whatever folder below it, that have concepts.

    Raises:
        TableError: where `folder` is none.
    """
    return [file for file, _ in files_under(folder, (".tsv",)) if is_shared_task(_first_line(file))]


def _first_line(file: Path) -> str:
    try:
        return next(read_lines(file), (0, None))[1] or ""
    except TableError:
        return ""  # what cannot be read is no such table


def read_shared_task(path: Path, code_map: Mapping[str, tuple[MappedCode, ...]] | None = None) -> Corpus:
    """Read a table of spans and concepts, with or without a header; the codes are those of `code_map`.

    Where a mention has several concepts, the codes of all of them are right. Mentions without a concept, and those
    whose concepts no table maps, are counted and left out. Texts are looked for in ``text_files`` and ``txt`` beside
    the table and beside its folder; a mention whose document has none is read without a sentence.

    Args:
        path: of the table, or of a folder that holds one.
        code_map: see `read_code_map`.

    Raises:
        TableError: where there is no map, or none of it can be read.
    """
    found = needs_map(code_map, path)
    file = _table_of(path)
    gathering = Gathering()
    lines = list(_lines(file, gathering))
    annotations: dict[str, list[tuple[Span, str]]] = {}
    for line in lines:
        annotations.setdefault(line.document, []).append((line.fragments, line.text))
    documents = Documents(tuple(_folders(file)), annotations, gathering)
    for line in lines:
        try:
            located = _mention(line, documents, gathering)
        except MentionError as error:
            gathering.skip(line.place, error.said)
            continue
        gathering.read += 1
        add_linked(gathering, located, line.concepts, found, line.document)
    return gathering.corpus(file, EXPECTED)


def _table_of(path: Path) -> Path:
    if not path.is_dir():
        return path
    found = tables_of(path)
    if len(found) == 1:
        return found[0]
    there = f"there are {', '.join(file.relative_to(path).as_posix() for file in found)}; name one of them"
    raise TableError(f"{path}: {there if found else f'no such table; expected {EXPECTED}'}")


def _folders(table: Path) -> Iterator[Path]:
    """Yield where the texts of a table may be: the archives differ in this."""
    for near in (table.parent, table.absolute().parent.parent):
        for name in _TEXT_FOLDERS:
            yield near / name
            yield from sorted(near.glob(f"*/{name}"))
    yield table.parent


def _lines(file: Path, gathering: Gathering) -> Iterator[_Line]:
    form = format_of(file, default="csv")
    flat = TableFormat(format="csv", quoting="lenient")
    table = read_table(file, flat if form in ("csv", "tsv") else TableFormat(format=form), _ROLES)
    finder = ColumnFinder(*_ROLES, *_FURTHER)
    if table.header is None and form not in ("json", "jsonl"):
        places = _places(_first_line(file).split("\t"))
        if places is None:
            raise TableError(f"{file}: no line names the columns; expected {EXPECTED}")
        table.close()
        table = read_table(file, TableFormat(format="tsv"), _ROLES)
        finder = ColumnFinder(
            *(role.called(str(place + 1)) for role, place in zip((*_ROLES, *_FURTHER), places, strict=True))
        )
    refuse_twice(table.name, table.raw_columns)
    for row in table:
        place = line_of(file.name, row.line if isinstance(row, RejectedRow) else row.number)
        try:
            if isinstance(row, RejectedRow):
                raise MentionError(row.reason)
            yield _line(finder.cells(row.values), place, row.number)
        except MentionError as error:
            gathering.skip(place, error.said)


def _line(cells: Iterable[Cell], place: str, number: int) -> _Line:
    file, start, end, text, code, mark, label = (
        str(cell) if isinstance(cell, str | int) and not isinstance(cell, bool) else "" for cell in cells
    )
    document = file.strip().removesuffix(".txt")
    concepts = in_order(_BETWEEN.split(code))
    if not document or not concepts:
        raise MentionError(
            "the line has no filename or no code; expected both, {no_code} where there is none", no_code=_NO_CODE
        )
    if concepts == (_NO_CODE,):
        concepts = ()
    if not all(map(CONCEPT.fullmatch, concepts)):
        raise MentionError(
            "the line's code is none of a concept; {expected}, or {no_code}",
            expected=CONCEPT_EXPECTED,
            no_code=_NO_CODE,
        )
    name = f"{document}:{mark.strip() or number}"
    kind = _KINDS.get(label.strip().upper())
    return _Line(place, document, fragments_of(f"{start.strip()} {end.strip()}"), text, concepts, kind, name)


def _mention(line: _Line, documents: Documents, gathering: Gathering) -> DocumentMention:
    document = documents.get(line.document)
    if document.reason == NO_TEXT and line.text.strip():
        gathering.textless.add(line.document)
        return DocumentMention(Mention(line.text, None, line.kind, line.name), line.fragments, line.fragments[0])
    if document.reason is not None:
        raise MentionError(document.reason)
    found = mention_of(
        document.text,
        line.fragments,
        document.borders,
        kind=line.kind,
        id=line.name,
        expected=line.text.strip() or None,
    )
    return replace(found, mention=replace(found.mention, text=line.text)) if line.text.strip() else found
