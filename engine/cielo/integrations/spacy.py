"""spaCy: the pipe ``cielo`` gives each entity its code, as ``ent.kb_id_``, and its candidates, as ``ent._.kb_ents``.

The names are those of scispaCy's linker, so that what reads its results reads these. spaCy finds the pipe by an entry
point; where cielo is not installed, importing this module registers it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from cielo.errors import BundleError, CieloError
from cielo.extras import require
from cielo.files import atomic_write
from cielo.link.documents import DocumentMention, mentions_of
from cielo.link.linker import Linker
from cielo.options import LinkOptions
from cielo.records import Candidate, Link

_EXTRA, _USER = "spacy", "the pipe cielo"
_DEFAULTS = {"bundle": None, "kinds": None, "top_k": 5, "min_confidence": None}
_FILE = "bundle.json"


class CieloPipe:
    """The pipe. Entities are linked in their sentences, those of a whole batch of documents together.

    An entity that has no code, or cannot be linked, has an empty `kb_id_`; where a label's kind is not named by
    `kinds`, codes of all kinds are looked for.
    """

    def __init__(self, linker: Linker, *, kinds: dict[str, str] | None = None, options: LinkOptions | None = None):
        """Take an opened linker, the kind that the entities of a label are of, and how they are linked."""
        self._linker, self._kinds, self._options = linker, dict(kinds or {}), options

    def __call__(self, doc: Any) -> Any:
        """Link the entities of one document, in place, and return it."""
        self._link([doc])
        return doc

    def pipe(self, stream: Iterable[Any], *, batch_size: int = 128) -> Iterator[Any]:
        """Link the entities of documents, `batch_size` documents at a time."""
        documents = iter(stream)
        while batch := list(islice(documents, batch_size)):
            self._link(batch)
            yield from batch

    def _link(self, docs: Sequence[Any]) -> None:
        found = [entry for doc in docs for entry in self._mentions(doc)]
        mentions = [entry.mention if isinstance(entry, DocumentMention) else entry for entry in found]
        outcomes = self._linker.link_each(mentions, self._options)
        for doc in docs:
            entities = list(doc.ents)
            for entity in entities:
                outcome = next(outcomes)
                link = outcome if isinstance(outcome, Link) else None
                entity.kb_id_ = (link.code if link else None) or ""
                entity._.kb_ents = scored(link) if link else []
            doc.set_ents(entities, default="unmodified")

    def _mentions(self, doc: Any) -> Sequence[Any]:
        spans = [(entity.start_char, entity.end_char) for entity in doc.ents]
        return mentions_of(doc.text, spans, kinds=[self._kinds.get(entity.label_) for entity in doc.ents])

    def to_bytes(self, *, exclude: Iterable[str] = ()) -> bytes:
        """Return the name and hash of the bundle, without its weights."""
        bundle = self._linker.bundle
        return json.dumps({"name": bundle.name, "sha256": bundle.sha256}).encode()

    def from_bytes(self, data: bytes, *, exclude: Iterable[str] = ()) -> CieloPipe:
        """Compare the bundle that is open with the one that a pipeline was saved with.

        Raises:
            BundleError: where it is another one.
        """
        try:
            saved = json.loads(data)
            name, sha256 = str(saved["name"]), str(saved["sha256"])
        except (ValueError, TypeError, KeyError) as error:
            raise BundleError("what the pipeline holds of the pipe cielo names no bundle; save it again") from error
        bundle = self._linker.bundle
        if sha256 != bundle.sha256:
            raise BundleError(
                f"the pipeline was saved with the bundle {name}@{sha256[:12]}, and {bundle.name}@{bundle.sha256[:12]} "
                "is open; name the first by the pipe's setting `bundle` or CIELO_BUNDLE"
            )
        return self

    def to_disk(self, path: str | Path, *, exclude: Iterable[str] = ()) -> None:
        """Write what `to_bytes` gives into the folder `path`."""
        Path(path).mkdir(parents=True, exist_ok=True)
        with atomic_write(Path(path) / _FILE) as temporary:
            temporary.write_bytes(self.to_bytes())

    def from_disk(self, path: str | Path, *, exclude: Iterable[str] = ()) -> CieloPipe:
        """Compare the bundle with that of a saved pipeline; see `from_bytes`.

        Raises:
            BundleError: where it is another one, or the folder does not say.
        """
        try:
            return self.from_bytes((Path(path) / _FILE).read_bytes())
        except OSError as error:
            raise BundleError(
                f"{path}: does not say which bundle it was saved with; save the pipeline again"
            ) from error


def scored(link: Link) -> list[tuple[str, float]]:
    """Return the candidates of a link as codes with scores in [0, 1], on one scale for a link, best first.

    The score is the cosine similarity of the description to the generated text where the link was found so
    (``semantic``), 1.0 where the lexicon has the code, and else the probability of the generated description; 0.0 where
    a candidate has no such figure.
    """
    return [(candidate.code, _score(candidate, link)) for candidate in link.candidates]


def _score(candidate: Candidate, link: Link) -> float:
    from math import exp

    if "lexicon" in candidate.evidence:
        return 1.0
    if link.method == "semantic":
        return 0.0 if candidate.distance is None else max(0.0, 1 - candidate.distance / 2)
    return 0.0 if candidate.log_prob is None else min(1.0, exp(candidate.log_prob))


def make_pipe(
    nlp: Any,
    name: str,
    bundle: str | None,
    kinds: dict[str, str] | None,
    top_k: int,
    min_confidence: float | None,
) -> CieloPipe:
    """Return the pipe of a pipeline's configuration; see `CieloPipe` and `LinkOptions`.

    Raises:
        CieloError: where spaCy is not installed.
        BundleError: where the bundle cannot be opened.
        OptionError: where an option has a value that is not allowed.
    """
    require("spacy", _EXTRA, _USER)
    options = LinkOptions(top_k=top_k, min_confidence=min_confidence)
    return CieloPipe(Linker.open(bundle), kinds=kinds, options=options)


def _register() -> None:
    """Make the pipe known to spaCy, where that is installed; `make_pipe` says so where it is not."""
    try:
        language, tokens = require("spacy.language", _EXTRA, _USER), require("spacy.tokens", _EXTRA, _USER)
    except CieloError:
        return
    if not tokens.Span.has_extension("kb_ents"):  # scispaCy has the same one
        tokens.Span.set_extension("kb_ents", default=[])
    language.Language.factory(
        "cielo", func=make_pipe, default_config=_DEFAULTS, requires=["doc.ents"],
        assigns=["span._.kb_ents", "token.ent_kb_id"],
    )  # fmt: skip


_register()
