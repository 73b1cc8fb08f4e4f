"""The texts of a corpus's documents, read once each, as their annotations count them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cielo.errors import TableError
from cielo.link.documents import Span
from cielo.link.sentences import sentences
from cielo.said import Said
from cielo.workbench.evaluation.corpora.line_ends import fitting_text
from cielo.workbench.evaluation.corpora.lines import Gathering, read_text

NO_TEXT = Said("the document has no text file")
_NO_NAME = Said("the document's name is no name of a file")
_UNREADABLE = Said("the document's text file cannot be read")
_NOT_UTF8 = Said("the document's text file is not UTF-8; save it as UTF-8")


@dataclass(frozen=True, slots=True)
class Document:
    """A document's text and the borders of its sentences, or why it has none."""

    text: str = ""
    borders: tuple[tuple[int, int], ...] = ()
    reason: str | None = None


@dataclass(slots=True)
class Documents:
    """The documents that were read, by their names.

    Attributes:
        folders: where their texts are.
        annotations: of each document, with their own text: how its line ends are read depends on them.
        gathering: keeps how a document was read.
    """

    folders: tuple[Path, ...]
    annotations: Mapping[str, Sequence[tuple[Span, str]]]
    gathering: Gathering
    known: dict[str, Document] = field(default_factory=dict)

    def get(self, document: str) -> Document:
        """Return a document, reading it where it is not known."""
        if document not in self.known:
            self.known[document] = self._read(document)
        return self.known[document]

    def _read(self, document: str) -> Document:
        name = f"{document}.txt"
        if not document or Path(name).name != name or "\0" in name:
            return Document(reason=_NO_NAME)
        try:
            file = next((file for folder in self.folders if (file := folder / name).is_file()), None)
            if file is None:
                return Document(reason=NO_TEXT)
            text = read_text(file)
        except (OSError, TableError):
            return Document(reason=_UNREADABLE)
        if text is None:
            return Document(reason=_NOT_UTF8)
        text, change = fitting_text(text, self.annotations.get(document, ()))
        self.gathering.reread(change)
        return Document(text, tuple(sentences(text)))
