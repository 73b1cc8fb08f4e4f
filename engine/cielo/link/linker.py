"""The whole pipeline, and the only place that knows its order: lexicon, cache, prompt, generator, resolver."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self, Unpack

from cielo.bundle.budget import keep_within
from cielo.bundle.layout import Bundle, default_bundle
from cielo.bundle.stages import Stages, open_stages
from cielo.cache.disk import CacheStats, ResultCache, key, open_cache
from cielo.errors import MentionError, UnverifiedError
from cielo.generation.ctranslate2 import SEARCHES, Decoding, certain_first, resolve_device
from cielo.generation.plan import ThreadPlan, plan_for, prepare_openmp
from cielo.knowledge.reading import KnowledgeBase
from cielo.knowledge.subsets import Subset
from cielo.link.confidence import CalibrationError
from cielo.link.documents import DocumentMention, Span, mentions_of
from cielo.link.lexicon import Lexicon, Problem, all_problems, read_lexicon
from cielo.link.resolver import Asked, Clock, LinkOptions, Resolver, Work, candidate_of, judge, read_calibrations
from cielo.records import BundleIdentity, Concept, Hypothesis, Link, Mention, Pipeline, Timings
from cielo.text.tokenizer import Encoded

_STREAM_CHUNK = 512

# What a link depends on, in a batch of one asking: the prompt and the kind.
_Entry = tuple[str, "str | None"]


@dataclass(frozen=True, slots=True)
class DocumentLink:
    """The result for one span of a document.

    Attributes:
        spans: its fragments that are not empty, in characters of the document's text.
        sentence: borders of the sentence in which the first of them begins.
        link: what the mention was linked to; None where there is an error.
        error: why it could not be linked.
    """

    spans: Span = ()
    sentence: tuple[int, int] | None = None
    link: Link | None = None
    error: str | None = None


class Linker:
    """Links clinical mentions to codes by one bundle. Use `Linker.open`; close it, or use it as a context manager."""

    def __init__(self, bundle: Bundle, stages: Stages, plan: ThreadPlan, identity: BundleIdentity) -> None:
        self.bundle = bundle
        self.plan = plan
        self._stages = stages
        self._max_distance = float(bundle.manifest["index"]["max_distance"])
        self._identity = identity
        self._cache: ResultCache | None = None
        self._lexicon: Lexicon | None = None
        self._resolver = Resolver(
            stages.knowledge_base, stages.embedder, stages.indexes, self._log_probs, read_calibrations(bundle)
        )

    @classmethod
    def open(
        cls,
        bundle: str | Path | None = None,
        *,
        device: str = "auto",
        compute_type: str | None = None,
        threads: int | None = None,
        decoding: Decoding | None = None,
        allow_unverified: bool = False,
        plan: ThreadPlan | None = None,
        memory: int | None = None,
        cache: bool | Path = True,
        lexicon: Path | None = None,
    ) -> Self:
        """Open a bundle.

        Args:
            bundle: its directory; default: ``CIELO_BUNDLE``, else the mini that comes with cielo.
            device: ``cpu``, ``cuda``, or ``auto`` (a GPU where there is one on which parity was shown).
            compute_type: of the generator; default: the bundle's own.
            threads: processor threads; default: as the plan says.
            decoding: ``published`` or ``probable``; default: the bundle's own.
            allow_unverified: open a compute type although parity was not shown for it on this kind of device.
            plan: how the processors are used; default: what `cielo tune` kept for this machine, else one thread for
                each batch and a batch for each physical core.
            memory: a budget for the resident memory of this process, in bytes: batches are made so small that the
                worst they can need fits into it.
            cache: keep links in memory, the last 10,000 of them (`cielo.cache.disk`); a path: in that file too; False:
                link everything anew.
            lexicon: a table of mentions and their codes (`cielo.link.lexicon`), asked before the model; lines with
                codes that the knowledge base does not have are passed over.

        Raises:
            TableError: where the lexicon cannot be read.
            BundleError: where the bundle is missing or damaged.
            UnverifiedError: where parity was not shown for the compute type.
            DeviceError: where the machine cannot run what was asked for, or not within `memory`.
            CacheError: where the file of the cache is something else.
        """
        opened = Bundle.open(Path(bundle) if bundle is not None else default_bundle())
        settings = opened.manifest["generator"]
        compute_type = compute_type or settings["compute_type"]
        if device != "cuda":  # before the library loads, which looking for a GPU does
            prepare_openmp(plan or plan_for(opened, "cpu", compute_type, threads))
        target = _choose_device(opened, device, compute_type)
        if not allow_unverified:
            _require_parity(opened, target, compute_type)
        identity = _identify(opened, target, compute_type, decoding or settings["decoding"])
        plan = plan or plan_for(opened, target, compute_type, threads)
        stages = open_stages(opened, device=target, compute_type=compute_type, plan=plan)
        linker = cls(opened, stages, plan, identity)
        try:
            linker._prepare(memory, cache, lexicon)
        except BaseException:
            linker.close()
            raise
        return linker

    def _prepare(self, memory: int | None, cache: bool | Path, lexicon: Path | None) -> None:
        if lexicon is not None:
            self._lexicon = read_lexicon(lexicon)
        if memory is not None:
            keep_within(self._stages, self.bundle, memory)
        if cache is not False:
            path = cache if isinstance(cache, Path) else None
            self._cache = open_cache(path, knowledge_base=self.bundle.knowledge_base, identity=self._identity)

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of the knowledge base's rows."""
        return self._stages.knowledge_base.kinds

    @property
    def knowledge_base(self) -> KnowledgeBase:
        """The opened knowledge base; it is closed with the linker."""
        return self._stages.knowledge_base

    def identity(self, decoding: Decoding | None = None) -> BundleIdentity:
        """Return what a link of this linker names as its origin."""
        return self._identity if decoding is None else replace(self._identity, decoding=_check_decoding(decoding))

    @property
    def lexicon_sha256(self) -> str | None:
        """The identity of the lexicon's answers; None where there is none."""
        return self._lexicon.sha256 if self._lexicon else None

    def lexicon_problems(self) -> list[Problem]:
        """Return what is wrong with lines of the lexicon: unusable, in conflict, or with a code that is not known."""
        if self._lexicon is None:
            return []
        return all_problems(self._lexicon, lambda code, kind: self.knowledge_base.find(code, kind) is not None)

    def is_calibrated(self, decoding: Decoding | None = None) -> bool:
        """Tell whether links of this search get a confidence."""
        return self.identity(decoding).decoding in self._resolver.calibrations

    @property
    def cache_stats(self) -> CacheStats:
        """Distinct prompts that were found in the cache, and that were not."""
        return self._cache.stats if self._cache else CacheStats()

    def input_lengths(self, mentions: Sequence[Mention]) -> list[int]:
        """Return the tokens of each mention's prompt, ``</s>`` included."""
        return [len(encoded.ids) for encoded in self._stages.tokenizer.encode(self._prompts(mentions))]

    def output_lengths(self, links: Sequence[Link]) -> list[int]:
        """Return the tokens of each link's generated text, ``</s>`` included."""
        return [len(self._stages.tokenizer.encode_target(link.generated)) + 1 for link in links]

    def check(self, mention: Mention) -> None:
        """Refuse a mention that this linker cannot link.

        Raises:
            MentionError: where its kind is none of the knowledge base's.
        """
        if mention.kind is not None and mention.kind not in self.kinds:
            # The value is not shown: in a table with shifted columns it is clinical text.
            raise MentionError(
                f"the mention's kind is none of the knowledge base's: expected {', '.join(self.kinds)}, or none"
            )

    def link(self, mentions: Iterable[Mention], **options: Unpack[LinkOptions]) -> list[Link]:
        """Link mentions, in one batch; the results are in their order. See `LinkOptions`.

        Raises:
            MentionError: where a mention's kind is unknown; `check` tells which.
            ValueError: where an option is not one of those allowed.
            CalibrationError: where a least confidence is asked for that cannot be known.
        """
        batch = list(mentions)
        asked = self._asked(**options)
        for mention in batch:
            self.check(mention)
        clock = Clock()
        listed = {row: link for row, mention in enumerate(batch) if (link := self._look_up(mention, asked))}
        rest = [mention for row, mention in enumerate(batch) if row not in listed]
        with clock.stage("tokenize"):
            prompts = self._prompts(rest)
        entries: list[_Entry] = [(prompt, mention.kind) for prompt, mention in zip(prompts, rest, strict=True)]
        found = self._find_all(list(dict.fromkeys(entries)), asked, clock)
        timings = Timings(**clock.seconds, mentions=len(batch))
        judged = iter([judge(found[entry], asked) for entry in entries])
        return [
            replace(listed[row] if row in listed else next(judged), timings=timings, id=mention.id)
            for row, mention in enumerate(batch)
        ]

    def link_iter(
        self, mentions: Iterable[Mention], *, chunk: int = _STREAM_CHUNK, **options: Unpack[LinkOptions]
    ) -> Iterator[Link]:
        """Link a stream of mentions, `chunk` at a time, and yield the results in order. See `link`."""
        if chunk < 1:
            raise ValueError(f"got chunk {chunk}, expected at least 1")
        source = iter(mentions)
        while batch := list(itertools.islice(source, chunk)):
            yield from self.link(batch, **options)

    def link_document(
        self,
        text: str,
        spans: Iterable[Span | tuple[int, int]],
        *,
        kinds: Iterable[str | None] = (),
        ids: Iterable[str | None] = (),
        **options: Unpack[LinkOptions],
    ) -> list[DocumentLink]:
        """Link the spans of a document, each in its sentence, and return a result for each, in their order.

        Args:
            text: of the document.
            spans: one fragment ``(start, end)`` or several, in characters of `text`; see `cielo.link.documents`.
            kinds: of the spans, in their order; those that are missing are None.
            ids: likewise.
            options: see `LinkOptions`.

        Raises:
            MentionError: where `text` is no string, or there are more kinds or ids than spans. What is wrong with one
                span is in its result, beside the others.
        """
        found = [self._checked(entry) for entry in mentions_of(text, spans, kinds=kinds, ids=ids)]
        mentions = [entry.mention for entry in found if isinstance(entry, DocumentMention)]
        links = iter(self.link(mentions, **options))
        return [
            DocumentLink(entry.spans, entry.sentence, next(links))
            if isinstance(entry, DocumentMention)
            else DocumentLink(error=str(entry))
            for entry in found
        ]

    def _checked(self, entry: DocumentMention | MentionError) -> DocumentMention | MentionError:
        try:
            if isinstance(entry, DocumentMention):
                self.check(entry.mention)
        except MentionError as error:
            return error
        return entry

    def _asked(
        self,
        *,
        decoding: Decoding | None = None,
        pipeline: Pipeline = "II",
        reference: bool = False,
        max_distance: float | None = None,
        **options: Any,
    ) -> Asked:
        identity = replace(self.identity(decoding), pipeline=pipeline, reference=reference)
        limit = self._max_distance if max_distance is None else max_distance
        asked = Asked(identity, math.inf if reference else limit, **options)
        if asked.min_confidence is not None and self._resolver.calibration(asked) is None:
            raise CalibrationError(
                "a least confidence was asked for, and the bundle was never calibrated for this search (nor is any for "
                "reference, rerank or a part of the codes); see `cielo calibrate`, or ask for none"
            )
        return asked

    def _look_up(self, mention: Mention, asked: Asked) -> Link | None:
        """Return the lexicon's answer for a mention, if it has one that the knowledge base knows."""
        if self._lexicon is None or asked.reference or not asked.lexicon:
            return None
        code = self._lexicon.find(mention.text, mention.kind)
        concept = self.knowledge_base.find(code, mention.kind) if code is not None else None
        if concept is None or not self._is_within(concept, asked.subset):
            return None
        return Link(
            code=concept.code,
            codes=(concept.code,),
            description=concept.description,
            kind=concept.kind,
            method="lexicon",
            generated="",
            log_prob=None,
            distance=None,
            candidates=(candidate_of(concept, "lexicon"),),
            bundle=asked.identity,
            title=concept.title,
        )

    def _is_within(self, concept: Concept, subset: Subset | None) -> bool:
        if subset is None:
            return True
        # Another code may share its description: it is this one that has to be in.
        found = self.knowledge_base.match(concept.description, concept.kind, subset)
        return concept.code in {other.code for other in found}

    def _prompts(self, mentions: Sequence[Mention]) -> list[str]:
        return [self._stages.prompt(mention.text, mention.sentence) for mention in mentions]

    def _find_all(self, entries: list[_Entry], asked: Asked, clock: Clock) -> dict[_Entry, Link]:
        """Return the link of each distinct entry: from the cache, or found anew and kept there."""
        if self._cache is None:
            return dict(zip(entries, self._find(entries, asked, clock), strict=True))
        secret, settings = self._cache.secret, asked.settings()
        keys = {
            entry: key(secret, asked.identity, prompt=entry[0], kind=entry[1], settings=settings) for entry in entries
        }
        known = self._cache.get_many(keys.values())
        missing = [entry for entry in entries if keys[entry] not in known]
        fresh = dict(zip(missing, self._find(missing, asked, clock), strict=True))
        self._cache.put_many({keys[entry]: link for entry, link in fresh.items()})
        return {entry: fresh[entry] if entry in fresh else known[keys[entry]] for entry in entries}

    def _find(self, entries: list[_Entry], asked: Asked, clock: Clock) -> list[Link]:
        return self._resolver.resolve(self._generate(entries, asked, clock), asked, clock) if entries else []

    def _generate(self, entries: Sequence[_Entry], asked: Asked, clock: Clock) -> list[Work]:
        """Decode each distinct prompt once."""
        with clock.stage("tokenize"):
            rows = {prompt: row for row, prompt in enumerate(dict.fromkeys(prompt for prompt, _ in entries))}
            encoded = self._stages.tokenizer.encode(list(rows))
        with clock.stage("generate"):
            outputs = self._decode(encoded, asked)
        return [Work(kind, prompt, encoded[rows[prompt]], outputs[rows[prompt]]) for prompt, kind in entries]

    def _decode(self, encoded: list[Encoded], asked: Asked) -> list[list[Hypothesis]]:
        decoding = _check_decoding(asked.identity.decoding)
        # The best one alone is wanted: it may be found by a shorter way. Runners-up, and the margin over them that the
        # confidence looks at, need the beams.
        alone = asked.top_k == 1 and not asked.rerank and decoding not in self._resolver.calibrations
        if decoding == "probable" and alone and self.plan.first_search == "greedy":
            return certain_first(self._stages.generator, encoded, SEARCHES[decoding])
        return self._stages.generator.generate(encoded, SEARCHES[decoding])

    def _log_probs(self, prompts: Sequence[Encoded], texts: Sequence[str]) -> list[float]:
        """Return the log-probability of each text given its prompt."""
        targets = [self._stages.tokenizer.encode_target(text) for text in texts]
        return [float(tokens.sum()) for tokens in self._stages.generator.log_probs(prompts, targets)]

    def close(self) -> None:
        """Release the models and the cache; the linker cannot be used afterwards."""
        if self._cache is not None:
            self._cache.close()
        self._stages.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _check_decoding(decoding: str) -> Decoding:
    for known in SEARCHES:
        if decoding == known:
            return known
    raise ValueError(f"got decoding {decoding!r}, expected one of {', '.join(SEARCHES)}")


def _identify(bundle: Bundle, device: str, compute_type: str, decoding: str) -> BundleIdentity:
    return BundleIdentity(
        name=bundle.name,
        sha256=bundle.sha256,
        knowledge_base=str(bundle.manifest["knowledge_base"]["edition"]),
        decoding=_check_decoding(decoding),
        compute_type=compute_type,
        device=device,
    )


def _choose_device(bundle: Bundle, device: str, compute_type: str) -> str:
    """Resolve ``auto`` to a GPU only where there is one and parity was shown on it."""
    target = resolve_device(device)
    if device == "auto" and target == "cuda" and not _has_parity(bundle, target, compute_type):
        return "cpu"
    return target


def _has_parity(bundle: Bundle, device: str, compute_type: str) -> bool:
    return bundle.parity().get(f"{device}/{compute_type}", {}).get("status") == "passed"


def _require_parity(bundle: Bundle, device: str, compute_type: str) -> None:
    if _has_parity(bundle, device, compute_type):
        return
    shown = sorted(key for key, entry in bundle.parity().items() if entry.get("status") == "passed")
    raise UnverifiedError(
        f"parity of compute type {compute_type} on {device} was not shown for the bundle {bundle.name} "
        f"(shown: {', '.join(shown) or 'none'}); run `cielo verify --parity {bundle.path} --device {device} "
        f"--compute-type {compute_type}` on this machine, or allow unverified types explicitly"
    )
