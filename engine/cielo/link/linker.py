"""The linker: a bundle opened, mentions checked, linked and handed back; `cielo.link.steps` knows the order of work."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Self

from cielo.bundle.calibration import Calibration
from cielo.bundle.hashes import VerifyFiles
from cielo.bundle.opening import open_bundle
from cielo.bundle.stages import Stages
from cielo.cache.opening import open_cache
from cielo.cache.protocol import CacheStats, ResultCache
from cielo.errors import CalibrationError, CieloError, OptionError
from cielo.generation.backends import backend as registered
from cielo.generation.capabilities import require_search
from cielo.generation.plan import ThreadPlan, Use
from cielo.knowledge.reading import KnowledgeBase
from cielo.link.candidates import LinkRequest, decoding_of
from cielo.link.document_links import DocumentLink, document_link
from cielo.link.documents import DocumentMention, Span, mentions_of
from cielo.link.guard import Guard, close_at_exit
from cielo.link.progress import Told
from cielo.link.resolver import Resolver, read_calibrations
from cielo.link.steps import Steps, open_lexicon, problems_of
from cielo.link.streams import chunks, each_of, many
from cielo.options import LinkOptions
from cielo.records import BundleIdentity, Decoding, Link, Mention, Provenance
from cielo.text.kinds import named_kind

if TYPE_CHECKING:
    from cielo.link.lexicon import Lexicon, LexiconProblem

CHUNK = 512


class Linker:
    """Links clinical mentions to codes by one bundle. Use `Linker.open`; close it, or use it as a context manager.

    Thread-safe. It belongs to the process that opened it: processes are started by ``spawn``, and open their own.
    """

    def __init__(
        self,
        stages: Stages,
        plan: ThreadPlan,
        provenance: Provenance,
        resolver: Resolver,
        *,
        decoding: Decoding = "probable",
        max_distance: float = math.inf,
        cache: ResultCache | None = None,
        lexicon: Lexicon | None = None,
    ) -> None:
        """Put a linker together; see `open`.

        Args:
            stages: the opened models and knowledge base, closed with the linker.
            plan: how the processors are used.
            provenance: of its links; decoding, pipeline and matching are those of the options.
            resolver: over the same stages.
            decoding: where options name none.
            max_distance: squared L2 distance above which no description counts as near, where options name none.
            cache: of links, closed with the linker; None: each is found again.
            lexicon: asked before the model; None: there is none.
        """
        self.plan = plan
        self._decoding: Decoding = decoding
        self._stages = stages
        self._provenance = provenance
        self._resolver = resolver
        self._max_distance = max_distance
        self._cache = cache
        self._lexicon = lexicon
        self._steps = Steps(stages, plan, resolver, cache, lexicon)
        self._guard = Guard()
        close_at_exit(self)

    @classmethod
    def open(
        cls,
        bundle: str | Path | None = None,
        *,
        backend: str = "auto",
        device: str = "auto",
        compute_type: str | None = None,
        threads: int | None = None,
        decoding: Decoding | None = None,
        allow_unverified: bool = False,
        plan: ThreadPlan | None = None,
        memory: int | None = None,
        cache: bool | Path = True,
        lexicon: Path | None = None,
        verify_files: VerifyFiles = "once",
        use: Use = "bulk",
        beside: Linker | None = None,
        knowledge_base: Path | None = None,
    ) -> Self:
        """Open a bundle.

        Args:
            bundle: its directory; default: ``CIELO_BUNDLE``, else the mini that comes with cielo.
            backend: that runs the generator; ``auto``: of the bundle's that run `decoding`, the fastest here for `use`.
            device: ``cpu``, ``cuda``, or ``auto`` (a GPU where there is one on which parity was shown).
            compute_type: of the generator; default: the bundle's own.
            threads: processor threads; default: as the plan says.
            decoding: where options name none; default: the bundle's own.
            allow_unverified: open a compute type although parity was not shown for it on this kind of device.
            plan: how the processors are used; default: what `cielo tune` kept here, else the backend's default.
            memory: a budget for the resident memory of this process, in bytes: batches are made so small that the
                worst they can need fits into it, whoever calls; callers take turns.
            cache: keep the last 10,000 links in memory (`cielo.cache`); a path: in that file too; False: keep none.
            lexicon: a table of mentions and their codes (`cielo.link.lexicon`), asked before the model; lines with
                codes that the knowledge base does not have are passed over.
            verify_files: when the bundle's files are hashed, so that a damaged one is refused: ``once`` for each
                machine, as long as their sizes and times stay; ``always``, at each opening; ``never``.
            use: ``single`` (one mention at a time) or ``bulk``: what backend and plan are chosen for.
            beside: a linker of the same bundle and device, which stays open for longer: all but the generator is its.
            knowledge_base: a file of another knowledge base in place of the bundle's, for pipeline I alone: it has no
                vectors, and links get no confidence.

        Raises:
            TableError: where the lexicon cannot be read.
            BundleError: where the bundle is missing or damaged.
            UnverifiedError: where parity was not shown for the compute type.
            DeviceError, OptionError: where the machine or the bundle cannot run what was asked for, or not in `memory`.
            CacheError: where the file of the cache is something else.
        """
        opened = open_bundle(
            bundle, backend=backend, device=device, compute_type=compute_type, threads=threads, plan=plan,
            allow_unverified=allow_unverified, memory=memory, verify_files=verify_files, decoding=decoding, use=use,
            shared=None if beside is None else beside._stages, knowledge_base=knowledge_base,
        )  # fmt: skip
        stages, manifest = opened.stages, opened.bundle.manifest
        try:
            decoding = LinkOptions(decoding=decoding or manifest.generator.decoding).decoding or "probable"
            provenance = opened.provenance(decoding)
            calibrations = {} if stages.foreign else read_calibrations(opened.bundle)
            file = cache if isinstance(cache, Path) else None
            base = stages.knowledge_base
            most = stages.turns.cache_bytes if stages.turns else None
            kept = open_cache(file, knowledge_base=base, provenance=provenance, most_bytes=most) if cache else None
            listed = None if lexicon is None else open_lexicon(lexicon, base)
            return cls(
                stages,
                opened.plan,
                provenance,
                Resolver(stages.knowledge_base, stages.embedder, stages.indexes, stages.score, calibrations),
                decoding=decoding,
                max_distance=manifest.index.max_distance,
                cache=kept,
                lexicon=listed,
            )
        except BaseException:
            stages.close()
            raise

    @property
    def bundle(self) -> BundleIdentity:
        """Which bundle it is."""
        return self._provenance.bundle

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of the knowledge base's rows."""
        return self._stages.knowledge_base.kinds

    @property
    def knowledge_base(self) -> KnowledgeBase:
        """The opened knowledge base; it is closed with the linker."""
        return self._stages.knowledge_base

    def provenance(self, options: LinkOptions | None = None) -> Provenance:
        """Return what a link of these options names as its origin."""
        options = options or LinkOptions()
        return replace(
            self._provenance,
            decoding=decoding_of(options, self._decoding),
            pipeline=options.pipeline,
            matching=options.matching,
        )

    @property
    def lexicon_sha256(self) -> str | None:
        """The identity of the lexicon's answers; None where there is none."""
        return self._lexicon.sha256 if self._lexicon else None

    def lexicon_problems(self) -> list[LexiconProblem]:
        """Return what is wrong with lines of the lexicon: unusable, in conflict, or with a code that is not known."""
        return [] if self._lexicon is None else problems_of(self._lexicon, self.knowledge_base)

    @property
    def calibrations(self) -> Mapping[str, Calibration]:
        """The calibrations of the confidence that the bundle holds."""
        return self._resolver.calibrations

    @property
    def cache_stats(self) -> CacheStats:
        """Distinct prompts that were found in the cache, and that were not."""
        return self._cache.stats if self._cache else CacheStats()

    def input_lengths(self, mentions: Sequence[Mention]) -> list[int]:
        """Return the tokens of each mention's prompt, ``</s>`` included."""
        with self._guard.working():
            prompts = self._steps.prompts(mentions, self._request(None))
            return [len(encoded.ids) for encoded in self._stages.tokenizer.encode(prompts)]

    def output_lengths(self, links: Sequence[Link]) -> list[int]:
        """Return the tokens of each link's generated text, ``</s>`` included."""
        with self._guard.working():
            return [len(self._stages.tokenizer.encode_target(link.generated)) + 1 for link in links]

    def check(self, mention: Mention) -> None:
        """Refuse a mention that this linker cannot link.

        Raises:
            MentionError: where it is no `Mention`, or its kind is none of the knowledge base's.
        """
        self.named(mention)

    def named(self, mention: Mention) -> Mention:
        """Return a mention with its kind as the knowledge base calls it: ``Diagnóstico`` means ``diagnosis``.

        Raises:
            MentionError: as `check`.
        """
        return named_kind(mention, self.kinds)

    def link(
        self, mentions: Iterable[Mention], options: LinkOptions | None = None, *, progress: Told | None = None
    ) -> list[Link]:
        """Link mentions, in one batch; the results are in their order.

        Args:
            mentions: to be linked; where one cannot be, none is: see `link_each`.
            options: how; default: `LinkOptions()`.
            progress: is told how many more mentions are done, batch by batch of the model; see `cielo.link.progress`.

        Raises:
            MentionError: where a mention cannot be linked.
            OptionError: where the options are none.
            CalibrationError: where a least confidence is asked for that cannot be known.
            ClosedError: where the linker is closed, or was opened in another process.
        """
        batch = [self.named(mention) for mention in many(mentions)]
        with self._guard.working():
            return self._steps.run(batch, self._request(options), progress)

    def link_iter(
        self, mentions: Iterable[Mention], options: LinkOptions | None = None, *, chunk: int = CHUNK,
        progress: Told | None = None,
    ) -> Iterator[Link]:  # fmt: skip
        """Link a stream of mentions, `chunk` at a time, and yield the results in order. See `link`."""
        for batch in chunks(mentions, chunk):
            yield from self.link(batch, options, progress=progress)

    def link_each(
        self,
        mentions: Iterable[Mention | CieloError],
        options: LinkOptions | None = None,
        *,
        chunk: int = CHUNK,
        progress: Told | None = None,
    ) -> Iterator[Link | CieloError]:
        """Link what can be linked of a stream, `chunk` at a time, and yield a link or an error for each, in order.

        Args:
            mentions: to be linked; an error instead of one (a row that could not be read, say) is handed through.
            options: how; default: `LinkOptions()`.
            chunk: how many are linked at a time, at least 1.
            progress: as `link`; an error is done too.

        Raises:
            OptionError, CalibrationError, ClosedError: as `link`.
        """
        for batch in chunks(mentions, chunk):
            yield from each_of(batch, self.check, lambda rest: self.link(rest, options, progress=progress), progress)

    def link_document(
        self,
        text: str,
        spans: Iterable[Span | tuple[int, int]],
        *,
        kinds: Iterable[str | None] = (),
        ids: Iterable[str | None] = (),
        texts: Iterable[str | None] = (),
        options: LinkOptions | None = None,
    ) -> list[DocumentLink]:
        """Link the spans of a document, each in its sentence, and return a result for each, in their order.

        Args:
            text: of the document.
            spans: one fragment ``(start, end)`` or several, in characters of `text`; see `cielo.link.documents`.
            kinds: of the spans, in their order; those that are missing are None.
            ids: likewise.
            texts: what each span is expected to hold, likewise: where it holds another text (white space apart) it is
                not linked, and its result says so.
            options: see `link`.

        Raises:
            MentionError: where `text` is no string, or there are more kinds, ids or texts than spans. What is wrong
                with one span is in its result, beside the others.
            OptionError, CalibrationError, ClosedError: as `link`.
        """
        found = mentions_of(text, spans, kinds=kinds, ids=ids, texts=texts)
        mentions = [entry.mention if isinstance(entry, DocumentMention) else entry for entry in found]
        outcomes = self.link_each(mentions, options, chunk=max(1, len(mentions)))
        return [document_link(entry, outcome) for entry, outcome in zip(found, outcomes, strict=True)]

    def _request(self, options: LinkOptions | None) -> LinkRequest:
        if options is not None and not isinstance(options, LinkOptions):
            raise OptionError(f"got options of type {type(options).__name__}, expected LinkOptions")
        options = options or LinkOptions()
        options = replace(options, decoding=decoding_of(options, self._decoding))
        self._steps.require(options)
        require_search(registered(self._provenance.backend), options.decoding or "", log_probs=options.rerank)
        limit = self._max_distance if options.max_distance is None else options.max_distance
        request = LinkRequest(options, self.provenance(options), math.inf if options.matching == "published" else limit)
        if request.is_constrained:
            request = self._steps.constrained.completed(request, self._resolver.calibration(request))
        if options.min_confidence is not None and self._resolver.calibration(request) is None:
            raise CalibrationError(
                "a least confidence was asked for, and the bundle was never calibrated for this decoding (none is for "
                "matching published, rerank, a subset, one proven description); see `cielo calibrate`, or ask for none"
            )
        return request

    def close(self) -> None:
        """Wait for the calls at work, and release the models and the cache; it cannot be used afterwards."""
        self.close_for(at_exit=False)

    def close_for(self, *, at_exit: bool) -> None:
        """Close it; `at_exit`: see `cielo.link.guard.Guard.close`."""
        if not self._guard.close(at_exit=at_exit):
            return
        if self._cache is not None:
            self._cache.close()
        self._stages.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
