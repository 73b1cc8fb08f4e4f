"""The pipeline, and the only place that knows its order: prompt, generate, match, and for what has no match, search."""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from engine.assembly import Stages, open_stages
from engine.bundle import Bundle, default_bundle
from engine.cache import CacheStats, ResultCache, key, open_cache
from engine.errors import MentionError, UnverifiedError
from engine.memory import keep_within
from engine.plan import ThreadPlan, plan_for, prepare_openmp
from engine.records import BundleIdentity, Candidate, Concept, Hypothesis, Link, Mention, Method, Timings, has_content
from engine.stages.generator import DECODINGS, SEARCHES, Decoding, certain_first, resolve_device
from engine.stages.index import Neighbour
from engine.stages.text import strip_code_suffix
from engine.stages.tokenizer import Encoded

Neighbours = Literal["misses", "always"]
_STREAM_CHUNK = 512


@dataclass(frozen=True, slots=True)
class _Asked:
    """How a batch is to be linked."""

    top_k: int
    neighbours: Neighbours
    identity: BundleIdentity


# What a link depends on, in a batch of one asking: the prompt and the kind.
_Entry = tuple[str, "str | None"]


@dataclass(slots=True)
class _Work:
    """One distinct prompt and kind on their way through the stages."""

    kind: str | None
    hypotheses: list[Hypothesis]
    truncated: bool
    matches: list[list[Concept]] = field(default_factory=list)
    neighbours: list[Candidate] = field(default_factory=list)

    @property
    def generated(self) -> str:
        return strip_code_suffix(self.hypotheses[0].text)

    @property
    def exact(self) -> list[Concept]:
        """The concepts whose description the first hypothesis is."""
        return self.matches[0]

    @property
    def from_hypotheses(self) -> list[Candidate]:
        """The concepts that the hypotheses match, in the hypotheses' order."""
        pairs = zip(self.hypotheses, self.matches, strict=True)
        return [_from_hypothesis(concept, hypothesis) for hypothesis, found in pairs for concept in found]


class Linker:
    """Links clinical mentions to codes by one bundle. Use `Linker.open`; close it, or use it as a context manager."""

    def __init__(self, bundle: Bundle, stages: Stages, plan: ThreadPlan, identity: BundleIdentity) -> None:
        self.bundle = bundle
        self.plan = plan
        self._stages = stages
        self._max_distance = float(bundle.manifest["index"]["max_distance"])
        self._identity = identity
        self._cache: ResultCache | None = None

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
    ) -> Self:
        """Open a bundle.

        Args:
            bundle: its directory; default: ``CIELO_BUNDLE``, else the mini that comes with cielo.
            device: ``cpu``, ``cuda``, or ``auto`` (a GPU where there is one on which parity was shown).
            compute_type: of the generator; default: the bundle's own.
            threads: processor threads; default: as the plan says.
            decoding: ``reference`` or ``probable``; default: the bundle's own.
            allow_unverified: open a compute type although parity was not shown for it on this kind of device.
            plan: how the processors are used; default: what `cielo tune` kept for this machine, else one thread for
                each batch and a batch for each physical core.
            memory: a budget for the resident memory of this process, in bytes: batches are made so small that the
                worst they can need fits into it.
            cache: keep links in memory, the last 10,000 of them (`engine.cache`); a path: in that file too; False:
                link everything anew.

        Raises:
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
            linker._prepare(memory, cache)
        except BaseException:
            linker.close()
            raise
        return linker

    def _prepare(self, memory: int | None, cache: bool | Path) -> None:
        if memory is not None:
            keep_within(self._stages, self.bundle, memory)
        if cache is not False:
            path = cache if isinstance(cache, Path) else None
            self._cache = open_cache(path, knowledge_base=self.bundle.knowledge_base, identity=self._identity)

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of the knowledge base's rows."""
        return self._stages.knowledge_base.kinds

    def identity(self, decoding: Decoding | None = None) -> BundleIdentity:
        """Return what a link of this linker names as its origin."""
        return self._identity if decoding is None else replace(self._identity, decoding=_check_decoding(decoding))

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

    def link(
        self,
        mentions: Iterable[Mention],
        *,
        top_k: int = 5,
        neighbours: Neighbours = "misses",
        decoding: Decoding | None = None,
    ) -> list[Link]:
        """Link mentions, in one batch; the results are in their order.

        Args:
            mentions: what to link.
            top_k: the most candidates in each link, at least 1.
            neighbours: look for the nearest descriptions of the ``misses`` only (generated texts without an exact
                match), or ``always``, so that exact links have neighbours among their candidates too.
            decoding: overrides the linker's.

        Raises:
            MentionError: where a mention's kind is unknown; `check` tells which.
            ValueError: where `top_k` is below 1.
        """
        batch = list(mentions)
        if top_k < 1:
            raise ValueError(f"got top_k {top_k}, expected at least 1")
        for mention in batch:
            self.check(mention)
        asked = _Asked(top_k, neighbours, self.identity(decoding))
        clock = _Clock()
        with clock.stage("tokenize"):
            prompts = self._prompts(batch)
        entries: list[_Entry] = [(prompt, mention.kind) for prompt, mention in zip(prompts, batch, strict=True)]
        found = self._find_all(list(dict.fromkeys(entries)), asked, clock)
        timings = Timings(**clock.seconds, mentions=len(batch))
        return [
            replace(found[entry], timings=timings, id=mention.id) for entry, mention in zip(entries, batch, strict=True)
        ]

    def link_iter(
        self,
        mentions: Iterable[Mention],
        *,
        top_k: int = 5,
        neighbours: Neighbours = "misses",
        decoding: Decoding | None = None,
        chunk: int = _STREAM_CHUNK,
    ) -> Iterator[Link]:
        """Link a stream of mentions, `chunk` at a time, and yield the results in order. See `link`."""
        if chunk < 1:
            raise ValueError(f"got chunk {chunk}, expected at least 1")
        source = iter(mentions)
        while batch := list(itertools.islice(source, chunk)):
            yield from self.link(batch, top_k=top_k, neighbours=neighbours, decoding=decoding)

    def _prompts(self, mentions: Sequence[Mention]) -> list[str]:
        return [self._stages.prompt(mention.text, mention.sentence) for mention in mentions]

    def _find_all(self, entries: list[_Entry], asked: _Asked, clock: _Clock) -> dict[_Entry, Link]:
        """Return the link of each distinct entry: from the cache, or found anew and kept there."""
        if self._cache is None:
            return dict(zip(entries, self._find(entries, asked, clock), strict=True))
        secret = self._cache.secret
        keys = {
            entry: key(
                secret,
                asked.identity,
                prompt=entry[0],
                kind=entry[1],
                top_k=asked.top_k,
                neighbours=asked.neighbours,
            )
            for entry in entries
        }
        known = self._cache.get_many(keys.values())
        missing = [entry for entry in entries if keys[entry] not in known]
        fresh = dict(zip(missing, self._find(missing, asked, clock), strict=True))
        self._cache.put_many({keys[entry]: link for entry, link in fresh.items()})
        return {entry: fresh[entry] if entry in fresh else known[keys[entry]] for entry in entries}

    def _find(self, entries: list[_Entry], asked: _Asked, clock: _Clock) -> list[Link]:
        works = self._generate(entries, asked, clock)
        self._match(works, clock)
        self._search(works, asked, clock)
        return [self._link(work, asked) for work in works]

    def _generate(self, entries: Sequence[_Entry], asked: _Asked, clock: _Clock) -> list[_Work]:
        """Decode each distinct prompt once."""
        with clock.stage("tokenize"):
            rows = {prompt: row for row, prompt in enumerate(dict.fromkeys(prompt for prompt, _ in entries))}
            encoded = self._stages.tokenizer.encode(list(rows))
        with clock.stage("generate"):
            outputs = self._decode(encoded, asked)
        return [_Work(kind, outputs[rows[prompt]], encoded[rows[prompt]].truncated) for prompt, kind in entries]

    def _decode(self, encoded: list[Encoded], asked: _Asked) -> list[list[Hypothesis]]:
        decoding = _check_decoding(asked.identity.decoding)
        # Runners-up among the hypotheses are wanted, or the best one alone: then it may be found by a shorter way.
        if decoding == "probable" and asked.top_k == 1 and self.plan.first_search == "greedy":
            return certain_first(self._stages.generator, encoded, SEARCHES[decoding])
        return self._stages.generator.generate(encoded, SEARCHES[decoding])

    def _match(self, works: Sequence[_Work], clock: _Clock) -> None:
        """Look every hypothesis up; each distinct text once."""
        known: dict[tuple[str, str | None], list[Concept]] = {}
        with clock.stage("match"):
            for work in works:
                for hypothesis in work.hypotheses:
                    key = (strip_code_suffix(hypothesis.text), work.kind)
                    if key not in known:
                        known[key] = self._stages.knowledge_base.match(*key)
                    work.matches.append(known[key])

    def _search(self, works: Sequence[_Work], asked: _Asked, clock: _Clock) -> None:
        """Find the nearest descriptions of the misses (or of all); each distinct generated text is embedded once."""
        always, top_k = asked.neighbours == "always", asked.top_k
        wanted = [work for work in works if has_content(work.generated) and (always or not work.exact)]
        texts = list(dict.fromkeys(work.generated for work in wanted))
        if not texts:
            return
        with clock.stage("embed"):
            vectors = self._stages.embedder.embed(texts)
        with clock.stage("search"):
            found = {kind: index.search(vectors, top_k) for kind, index in self._stages.indexes.items()}
            rows = {text: row for row, text in enumerate(texts)}
            for work in wanted:
                work.neighbours = self._nearest(found, rows[work.generated], work.kind, top_k)

    def _nearest(
        self, found: dict[str, list[list[Neighbour]]], row: int, kind: str | None, top_k: int
    ) -> list[Candidate]:
        """Merge one row of the indexes' answers, nearest first, and give each description its codes."""
        near = [(of, neighbour) for of in found if kind in (None, of) for neighbour in found[of][row]]
        near.sort(key=lambda entry: entry[1].distance)
        # What ties with the nearest stays whatever `top_k` is: the link's codes come from it.
        kept = itertools.takewhile(lambda entry: entry[1].distance == near[0][1].distance, near[top_k:])
        return [
            Candidate(concept.code, concept.description, concept.kind, "neighbour", distance=neighbour.distance)
            for of, neighbour in [*near[:top_k], *kept]
            for concept in self._stages.knowledge_base.match(neighbour.description, of)
        ]

    def _link(self, work: _Work, asked: _Asked) -> Link:
        method, chosen = self._decide(work)
        first = chosen[0] if chosen else None
        best = work.hypotheses[0]
        return Link(
            code=first.code if first else None,
            codes=tuple(candidate.code for candidate in chosen),
            description=first.description if first else None,
            kind=first.kind if first else None,
            method=method,
            generated=best.text,
            log_prob=best.log_prob,
            distance=work.neighbours[0].distance if work.neighbours else None,
            candidates=_distinct([*chosen, *work.from_hypotheses, *work.neighbours], asked.top_k),
            bundle=asked.identity,
            truncated=work.truncated,
        )

    def _decide(self, work: _Work) -> tuple[Method, list[Candidate]]:
        """Return how the link was found, and the candidates for each code of the description it was found by."""
        if work.exact:
            return "exact", [_from_hypothesis(concept, work.hypotheses[0]) for concept in work.exact]
        nearest = work.neighbours[0] if work.neighbours else None
        if nearest is None or nearest.distance is None or nearest.distance > self._max_distance:
            return "none", []
        ties = [near for near in work.neighbours if near.distance == nearest.distance]
        return "semantic", list(_distinct(ties, len(ties)))

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


class _Clock:
    """Adds up the seconds of each stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start


def _from_hypothesis(concept: Concept, hypothesis: Hypothesis) -> Candidate:
    return Candidate(concept.code, concept.description, concept.kind, "hypothesis", log_prob=hypothesis.log_prob)


def _distinct(candidates: Iterable[Candidate], top_k: int) -> tuple[Candidate, ...]:
    """Keep the first candidate of each code, and of these the first `top_k`."""
    first: dict[tuple[str, str], Candidate] = {}
    for candidate in candidates:
        first.setdefault((candidate.kind, candidate.code), candidate)
    return tuple(itertools.islice(first.values(), top_k))


def _check_decoding(decoding: str) -> Decoding:
    for known in DECODINGS:
        if decoding == known:
            return known
    raise ValueError(f"got decoding {decoding!r}, expected one of {', '.join(DECODINGS)}")


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
