"""The pipeline, and the only place that knows its order: prompt, generate, match, and for what has no match, search."""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from engine.assembly import Stages, open_stages
from engine.bundle import Bundle, default_bundle
from engine.errors import MentionError, UnverifiedError
from engine.records import BundleIdentity, Candidate, Concept, Hypothesis, Link, Mention, Method, Timings, has_content
from engine.stages.generator import DECODINGS, SEARCHES, Decoding, resolve_device
from engine.stages.index import Neighbour
from engine.stages.text import strip_code_suffix

Neighbours = Literal["misses", "always"]
_STREAM_CHUNK = 512


@dataclass(slots=True)
class _Work:
    """One mention on its way through the stages."""

    mention: Mention
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

    def __init__(self, bundle: Bundle, stages: Stages, *, device: str, compute_type: str, decoding: Decoding) -> None:
        self.bundle = bundle
        self._stages = stages
        self._max_distance = float(bundle.manifest["index"]["max_distance"])
        self._decoding = decoding
        self._device = device
        self._compute_type = compute_type

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
    ) -> Self:
        """Open a bundle.

        Args:
            bundle: its directory; default: ``CIELO_BUNDLE``, else the mini that comes with cielo.
            device: ``cpu``, ``cuda``, or ``auto`` (a GPU where there is one on which parity was shown).
            compute_type: of the generator; default: the bundle's own.
            threads: processor threads; default: the processors this process may use.
            decoding: ``reference`` or ``probable``; default: the bundle's own.
            allow_unverified: open a compute type although parity was not shown for it on this kind of device.

        Raises:
            BundleError: where the bundle is missing or damaged.
            UnverifiedError: where parity was not shown for the compute type.
            DeviceError: where the machine cannot run what was asked for.
        """
        opened = Bundle.open(Path(bundle) if bundle is not None else default_bundle())
        settings = opened.manifest["generator"]
        compute_type = compute_type or settings["compute_type"]
        target = _choose_device(opened, device, compute_type)
        if not allow_unverified:
            _require_parity(opened, target, compute_type)
        chosen = _check_decoding(decoding or settings["decoding"])
        stages = open_stages(opened, device=target, compute_type=compute_type, threads=threads)
        return cls(opened, stages, device=target, compute_type=compute_type, decoding=chosen)

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of the knowledge base's rows."""
        return self._stages.knowledge_base.kinds

    def identity(self, decoding: Decoding | None = None) -> BundleIdentity:
        """Return what a link of this linker names as its origin."""
        return BundleIdentity(
            name=self.bundle.name,
            sha256=self.bundle.sha256,
            knowledge_base=str(self.bundle.manifest["knowledge_base"]["edition"]),
            decoding=decoding or self._decoding,
            compute_type=self._compute_type,
            device=self._device,
        )

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
        chosen = _check_decoding(decoding or self._decoding)
        clock = _Clock()
        works = self._generate(batch, chosen, clock)
        self._match(works, clock)
        self._search(works, top_k, neighbours, clock)
        timings = Timings(**clock.seconds, mentions=len(batch))
        identity = self.identity(chosen)
        return [self._link(work, top_k, identity, timings) for work in works]

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

    def _generate(self, batch: Sequence[Mention], decoding: Decoding, clock: _Clock) -> list[_Work]:
        """Decode each distinct prompt once."""
        with clock.stage("tokenize"):
            prompts = [self._stages.prompt(mention.text, mention.sentence) for mention in batch]
            distinct = {prompt: row for row, prompt in enumerate(dict.fromkeys(prompts))}
            encoded = self._stages.tokenizer.encode(list(distinct))
        with clock.stage("generate"):
            outputs = self._stages.generator.generate(encoded, SEARCHES[decoding])
        rows = (distinct[prompt] for prompt in prompts)
        return [_Work(mention, outputs[row], encoded[row].truncated) for mention, row in zip(batch, rows, strict=True)]

    def _match(self, works: Sequence[_Work], clock: _Clock) -> None:
        """Look every hypothesis up; each distinct text once."""
        known: dict[tuple[str, str | None], list[Concept]] = {}
        with clock.stage("match"):
            for work in works:
                for hypothesis in work.hypotheses:
                    key = (strip_code_suffix(hypothesis.text), work.mention.kind)
                    if key not in known:
                        known[key] = self._stages.knowledge_base.match(*key)
                    work.matches.append(known[key])

    def _search(self, works: Sequence[_Work], top_k: int, neighbours: Neighbours, clock: _Clock) -> None:
        """Find the nearest descriptions of the misses (or of all); each distinct generated text is embedded once."""
        wanted = [work for work in works if has_content(work.generated) and (neighbours == "always" or not work.exact)]
        texts = list(dict.fromkeys(work.generated for work in wanted))
        if not texts:
            return
        with clock.stage("embed"):
            vectors = self._stages.embedder.embed(texts)
        with clock.stage("search"):
            found = {kind: index.search(vectors, top_k) for kind, index in self._stages.indexes.items()}
            rows = {text: row for row, text in enumerate(texts)}
            for work in wanted:
                work.neighbours = self._nearest(found, rows[work.generated], work.mention.kind, top_k)

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

    def _link(self, work: _Work, top_k: int, identity: BundleIdentity, timings: Timings) -> Link:
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
            candidates=_distinct([*chosen, *work.from_hypotheses, *work.neighbours], top_k),
            bundle=identity,
            timings=timings,
            truncated=work.truncated,
            id=work.mention.id,
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
        """Release the models; the linker cannot be used afterwards."""
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
