"""Runs: an annotated corpus linked by a bundle, or stored outputs resolved without the generator."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from cielo.errors import MentionError
from cielo.knowledge.codes import System
from cielo.knowledge.reading import KnowledgeBase
from cielo.knowledge.subsets import Subset
from cielo.link.candidates import LinkRequest, Work
from cielo.link.lexicon import Lexicon
from cielo.link.linker import Linker
from cielo.link.progress import Told
from cielo.link.resolver import Resolver
from cielo.link.steps import look_up
from cielo.link.timing import StageTimer
from cielo.options import LinkOptions
from cielo.records import BundleIdentity, Hypothesis, Link, Provenance
from cielo.said import Said
from cielo.text.kinds import named_kind
from cielo.text.normal import fold_spaces
from cielo.text.tokenizer import Encoded
from cielo.workbench.evaluation.gold import is_known
from cielo.workbench.evaluation.records import Annotated, Corpus, Missed, Outcome, RunSettings, Skipped, SubsetSummary

_AT_ONCE = 512
_SCORE_ERROR = 1e-4  # of the mean log-probability of a token: the tolerance of parity


@dataclass(frozen=True, slots=True)
class Run:
    """What was answered to a corpus in one way.

    Attributes:
        name: of the way, for tables.
        settings: bundle, search, pipeline and the like.
        outcomes: one for each mention, in the corpus's order.
        links: they come from; empty where outputs were stored.
        seconds: that linking took; None where outputs were stored.
    """

    name: str
    settings: RunSettings
    outcomes: tuple[Outcome, ...]
    links: tuple[Link, ...] = field(default=(), repr=False)
    seconds: float | None = None


def seen_texts(corpora: Iterable[Corpus]) -> frozenset[str]:
    """Return the texts of training mentions; a mention is seen where one equals its text, runs of spaces apart."""
    return frozenset(fold_spaces(entry.mention.text) for corpus in corpora for entry in corpus.mentions)


def linkable(corpus: Corpus, linker: Linker) -> Corpus:
    """Return the corpus without the mentions that the linker refuses; they are among the skipped ones."""
    kept, skipped = [], list(corpus.skipped)
    for number, entry in enumerate(corpus.mentions, start=1):
        try:
            kept.append(replace(entry, mention=linker.named(entry.mention)))
        except MentionError as error:
            skipped.append(Skipped(Said("mention {number}", number=number), error.said))
    return replace(corpus, mentions=tuple(kept), skipped=tuple(skipped))


def link_corpus(
    linker: Linker,
    corpus: Corpus,
    name: str,
    seen: frozenset[str] | None = None,
    options: LinkOptions | None = None,
    progress: Told | None = None,
) -> Run:
    """Link every mention of a corpus.

    Args:
        linker: which links.
        corpus: whose mentions it takes (`linkable`).
        name: of the run.
        seen: texts of the training mentions; None: not known.
        options: of the linker.
        progress: is told how many more mentions are linked.
    """
    start = time.perf_counter()
    links = tuple(linker.link_iter((entry.mention for entry in corpus.mentions), options, progress=progress))
    seconds = time.perf_counter() - start
    options = options or LinkOptions()
    # What was stored for a mention has no part in its link.
    pairs = zip((replace(entry, generated=None) for entry in corpus.mentions), links, strict=True)
    base, written = linker.knowledge_base, options.matching == "published"
    outcomes = tuple(_outcome(entry, link, seen, base, options.subset, as_written=written) for entry, link in pairs)
    return Run(name, _settings(linker, options), outcomes, links, seconds)


def _settings(linker: Linker, options: LinkOptions) -> RunSettings:
    """Return what was asked for."""
    subset = options.subset
    asked = options.lexicon and options.matching != "published"  # the paper has none
    return replace(
        _origin(linker.provenance(options)),
        top_k=options.top_k,
        rerank=options.rerank,
        min_confidence=options.min_confidence,
        subset=None
        if subset is None
        else SubsetSummary(
            tuple(sorted(subset.chapters or ())), subset.leaf, None if subset.codes is None else len(subset.codes)
        ),
        lexicon=linker.lexicon_sha256 if asked else None,
    )


def _origin(provenance: Provenance) -> RunSettings:
    return RunSettings(
        name=provenance.bundle.name,
        sha256=provenance.bundle.sha256,
        edition=provenance.bundle.edition,
        decoding=provenance.decoding,
        backend=provenance.backend,
        compute_type=provenance.compute_type,
        device=provenance.device,
        pipeline=provenance.pipeline,
        matching=provenance.matching,
    )


def _outcome(
    entry: Annotated,
    link: Link,
    seen: frozenset[str] | None,
    base: KnowledgeBase,
    subset: Subset | None = None,
    *,
    as_written: bool,
) -> Outcome:
    # Descriptions of the knowledge base have single spaces, and so do outputs: the annotated one is compared with them.
    description = None if entry.description is None else fold_spaces(entry.description)
    return Outcome(
        annotated=replace(entry, description=description),
        ranked=tuple(candidate.code for candidate in link.candidates),
        code=link.code,
        kind=link.kind,
        method=link.method,
        generated=link.generated,
        description=link.description,
        probability=link.probability,
        confidence=link.confidence,
        distance=link.distance,
        seen=None if seen is None else fold_spaces(entry.mention.text) in seen,
        known=is_known(entry, base, subset, as_written=as_written),
        system="other" if as_written else base.systems.get(link.kind or entry.mention.kind or ""),
    )


@dataclass(frozen=True, slots=True)
class Replay:
    """How stored outputs are resolved.

    Attributes:
        resolver: of the knowledge base, and of an encoder and its indexes where the pipeline is II.
        edition: of the knowledge base.
        max_distance: above which the answer is none.
        systems: the code system of each kind.
        encoder: name of the bundle that the encoder comes from; empty: there is none.
        encoder_sha256: of that bundle.
        lexicon: asked before the stored output, as in linking; None: there is none.
    """

    resolver: Resolver
    edition: str
    max_distance: float
    systems: Mapping[str, System]
    encoder: str = ""
    encoder_sha256: str = ""
    lexicon: Lexicon | None = None

    def run(
        self,
        corpus: Corpus,
        name: str,
        options: LinkOptions,
        seen: frozenset[str] | None = None,
    ) -> Run:
        """Resolve the stored output of each mention; an empty one is an answer of none."""
        bundle = BundleIdentity(self.encoder, self.encoder_sha256, self.edition)
        provenance = Provenance(bundle, "", "", "", "stored", options.pipeline, options.matching)
        limit = math.inf if options.matching == "published" else self.max_distance
        request = LinkRequest(options, provenance, limit)
        links: list[Link] = []
        for start in range(0, len(corpus.mentions), _AT_ONCE):
            part = corpus.mentions[start : start + _AT_ONCE]
            links += self._resolve(part, request)
        pairs = zip(corpus.mentions, links, strict=True)
        base = self.resolver.knowledge_base
        outcomes = [_outcome(entry, link, seen, base, as_written=True) for entry, link in pairs]
        asked = self.lexicon is not None and options.lexicon and not request.is_published
        lexicon = self.lexicon.sha256 if self.lexicon is not None and asked else None
        settings = replace(_origin(provenance), top_k=options.top_k, lexicon=lexicon)
        return Run(name, settings, tuple(_without_probability(outcomes)))

    def _resolve(self, part: Sequence[Annotated], request: LinkRequest) -> list[Link]:
        base, lexicon = self.resolver.knowledge_base, self.lexicon
        listed = [None if lexicon is None else look_up(lexicon, entry.mention, base, request) for entry in part]
        works = [_stored(entry) for entry, link in zip(part, listed, strict=True) if link is None]
        found = iter(self.resolver.resolve(works, request, StageTimer()))
        # What was generated stands beside the lexicon's answer: the text accuracy is the model's, of all mentions.
        return [
            next(found) if link is None else replace(link, generated=fold_spaces(entry.generated or ""))
            for entry, link in zip(part, listed, strict=True)
        ]


def _stored(entry: Annotated) -> Work:
    output = Hypothesis(fold_spaces(entry.generated or ""), score=0.0, log_prob=0.0)
    return Work(entry.mention.kind, "", Encoded([], False), [output])


def _without_probability(outcomes: Iterable[Outcome]) -> Iterator[Outcome]:
    """Take out the probability: of a stored output it is not known."""
    for outcome in outcomes:
        yield replace(outcome, probability=None)


def stored_only(corpus: Corpus, kinds: Sequence[str]) -> Corpus:
    """Return the mentions that have a stored output and a kind of the knowledge base; the others are skipped."""
    kept: list[Annotated] = []
    skipped = list(corpus.skipped)
    for number, entry in enumerate(corpus.mentions, start=1):
        if entry.generated is None:
            skipped.append(
                Skipped(Said("mention {number}", number=number), Said("no stored output; expected a column `pred`"))
            )
        else:
            try:
                kept.append(replace(entry, mention=named_kind(entry.mention, kinds)))
            except MentionError as error:
                skipped.append(Skipped(Said("mention {number}", number=number), error.said))
    return replace(corpus, mentions=tuple(kept), skipped=tuple(skipped))


def missed_share(published: Run, others: Sequence[Run]) -> Missed | None:
    """Return on how many prompts the published search missed a better output.

    Better is by its own score, the log-probability divided by the number of tokens; the outputs are those of the other
    searches. Prompts that the lexicon answered are not counted. None: there is nothing to compare.
    """
    counted = missed = 0
    for row, link in enumerate(published.links):
        rivals = [run.links[row] for run in others if run.links]
        if link.log_prob is None or not link.tokens or not rivals:
            continue
        counted += 1
        best = max((_score(rival) for rival in rivals), default=float("-inf"))
        missed += best > _score(link) + _SCORE_ERROR
    return Missed(counted, missed, 100.0 * missed / counted) if counted else None


def _score(link: Link) -> float:
    return float("-inf") if link.log_prob is None or not link.tokens else link.log_prob / link.tokens
