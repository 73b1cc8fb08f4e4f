"""The steps from mentions to links, in their order: lexicon, cache, prompt, generator, resolver."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from cielo.bundle.stages import Stages
from cielo.cache.key import key
from cielo.cache.protocol import ResultCache
from cielo.errors import OptionError
from cielo.generation.plan import ThreadPlan
from cielo.generation.progress import listening
from cielo.generation.searches import SEARCHES, certain_first
from cielo.knowledge.subsets import Subset
from cielo.link.candidates import LinkRequest, Work, candidate_of
from cielo.link.constrained import ConstrainedDecoder
from cielo.link.progress import BatchProgress, Told
from cielo.link.resolver import Resolver, judge
from cielo.link.timing import StageTimer
from cielo.options import LinkOptions
from cielo.records import Concept, Hypothesis, Link, Mention, Timings
from cielo.text.prompt import LineEnds
from cielo.text.tokenizer import Encoded

if TYPE_CHECKING:
    from cielo.knowledge.reading import KnowledgeBase
    from cielo.link.lexicon import Lexicon, LexiconProblem

# What a link depends on, in a batch of one request: the prompt and the kind.
_Entry = tuple[str, "str | None"]


class Steps:
    """Takes batches of mentions through the stages. Thread-safe."""

    def __init__(
        self,
        stages: Stages,
        plan: ThreadPlan,
        resolver: Resolver,
        cache: ResultCache | None = None,
        lexicon: Lexicon | None = None,
    ) -> None:
        """Hold what the steps need; see `cielo.link.linker.Linker`. `constrained` is the decoder of that name."""
        self._stages = stages
        self._plan = plan
        self._resolver = resolver
        self._cache = cache
        self._lexicon = lexicon
        self.constrained = ConstrainedDecoder(stages)

    def require(self, options: LinkOptions) -> None:
        """Refuse options for which the stages lack something.

        Raises:
            OptionError: saying how it can be had.
        """
        if options.pipeline == "II" and self._stages.foreign is not None:
            raise OptionError(
                "got pipeline II with a knowledge base that has no vectors, expected pipeline I; `cielo kb replace` "
                "makes a bundle of it that has them"
            )

    def run(self, batch: Sequence[Mention], request: LinkRequest, told: Told | None = None) -> list[Link]:
        """Return the link of each mention of a batch, in order; within a memory budget part by part, in turns."""
        turns = self._stages.turns
        if turns is None:
            return self._run(batch, request, told)
        links: list[Link] = []
        for part in turns.parts(batch, request.options.top_k):
            with turns.taken():
                links += self._run(part, request, told)
        return links

    def _run(self, batch: Sequence[Mention], request: LinkRequest, told: Told | None) -> list[Link]:
        clock, progress = StageTimer(), BatchProgress(told, len(batch))
        listed = {row: link for row, mention in enumerate(batch) if (link := self._look_up(mention, request))}
        progress.done(len(listed))
        rest = [mention for row, mention in enumerate(batch) if row not in listed]
        with clock.stage("tokenize"):
            prompts = self.prompts(rest, request)
        entries: list[_Entry] = [(prompt, mention.kind) for prompt, mention in zip(prompts, rest, strict=True)]
        found = self._find_all(Counter(entries), request, clock, progress)
        progress.finish()
        timings = Timings(**clock.seconds, mentions=len(batch))
        judged = iter([judge(found[entry], request) for entry in entries])
        return [
            replace(listed[row] if row in listed else next(judged), timings=timings, id=mention.id)
            for row, mention in enumerate(batch)
        ]

    def _look_up(self, mention: Mention, request: LinkRequest) -> Link | None:
        if self._lexicon is None:
            return None
        return look_up(self._lexicon, mention, self._stages.knowledge_base, request)

    def prompts(self, mentions: Sequence[Mention], request: LinkRequest) -> list[str]:
        """Return the generator's prompt of each mention."""
        # The paper deleted line ends, and so glued words together.
        line_ends: LineEnds = "delete" if request.is_published else "space"
        return [self._stages.prompt(mention.text, mention.sentence, line_ends=line_ends) for mention in mentions]

    def _find_all(
        self, entries: Counter[_Entry], request: LinkRequest, clock: StageTimer, progress: BatchProgress
    ) -> dict[_Entry, Link]:
        """Return the link of each distinct entry: from the cache, or found by the models and kept there."""
        if self._cache is None:
            return dict(zip(entries, self._find(list(entries), request, clock, progress), strict=True))
        keys = {
            (prompt, kind): key(self._cache.secret, request.provenance, request.options, prompt=prompt, kind=kind)
            for prompt, kind in entries
        }
        known = self._cache.get_many(keys.values())
        missing = [entry for entry in entries if keys[entry] not in known]
        progress.done(entries.total() - sum(entries[entry] for entry in missing))
        fresh = dict(zip(missing, self._find(missing, request, clock, progress), strict=True))
        self._cache.put_many({keys[entry]: link for entry, link in fresh.items()})
        return {entry: fresh[entry] if entry in fresh else known[keys[entry]] for entry in entries}

    def _find(
        self, entries: list[_Entry], request: LinkRequest, clock: StageTimer, progress: BatchProgress
    ) -> list[Link]:
        if not entries:
            return []
        # In re-ranking the generator works a second time, as long as the first or longer.
        with listening(progress.rest(0.5 if request.options.rerank else 1.0)):
            works = self._generate(entries, request, clock)
        with listening(progress.rest()):
            return self._resolver.resolve(works, request, clock)

    def _generate(self, entries: Sequence[_Entry], request: LinkRequest, clock: StageTimer) -> list[Work]:
        """Decode each distinct prompt once; in a constrained search once for each kind that is asked for."""
        with clock.stage("tokenize"):
            rows = {prompt: row for row, prompt in enumerate(dict.fromkeys(prompt for prompt, _ in entries))}
            encoded = self._stages.tokenizer.encode(list(rows))
        if request.is_constrained:
            sources, kinds = [encoded[rows[prompt]] for prompt, _ in entries], [kind for _, kind in entries]
            with clock.stage("generate"):
                found = self.constrained.decode(sources, kinds, request)
            return [
                Work(kind, prompt, source, hypotheses, proof=proof)
                for (prompt, kind), source, (hypotheses, proof) in zip(entries, sources, found, strict=True)
            ]
        with clock.stage("generate"):
            outputs = self._decode(encoded, request)
        return [Work(kind, prompt, encoded[rows[prompt]], outputs[rows[prompt]]) for prompt, kind in entries]

    def _decode(self, encoded: list[Encoded], request: LinkRequest) -> list[list[Hypothesis]]:
        options = request.options
        decoding = options.decoding or "probable"
        # The best one alone is wanted: it may be found by a shorter way. Runners-up, and the margin over them that the
        # confidence looks at, need the beams.
        alone = options.top_k == 1 and not options.rerank and decoding not in self._resolver.calibrations
        if decoding == "probable" and alone and self._plan.first_search == "greedy":
            return certain_first(self._stages.generator, encoded, SEARCHES[decoding])
        return self._stages.generator.generate(encoded, SEARCHES[decoding])


def look_up(lexicon: Lexicon, mention: Mention, base: KnowledgeBase, request: LinkRequest) -> Link | None:
    """Return a lexicon's answer for a mention, if it is to be asked and has one that the knowledge base knows."""
    if request.is_published or not request.options.lexicon:  # the paper has no lexicon
        return None
    code = lexicon.find(mention.text, mention.kind)
    concept = base.find(code, mention.kind) if code is not None else None
    if concept is None or not _is_within(concept, base, request.options.subset):
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
        provenance=request.provenance,
        title=concept.title,
    )


def _is_within(concept: Concept, base: KnowledgeBase, subset: Subset | None) -> bool:
    if subset is None:
        return True
    # Another code may share its description: it is this one that has to be in.
    found = base.match(concept.description, concept.kind, subset)
    return concept.code in {other.code for other in found}


# Few linkers have a lexicon: what reads tables is loaded for these alone.
def open_lexicon(path: Path, base: KnowledgeBase) -> Lexicon:
    """Read a lexicon for a knowledge base; see `cielo.link.lexicon.read_lexicon`.

    Raises:
        TableError: where it cannot be read.
    """
    from cielo.link.lexicon import read_lexicon

    return read_lexicon(path, lambda *code: base.find(*code) is not None, kinds=base.kinds)


def problems_of(lexicon: Lexicon, base: KnowledgeBase) -> list[LexiconProblem]:
    """Return what is wrong with lines of a lexicon; see `cielo.link.lexicon.all_problems`."""
    from cielo.link.lexicon import all_problems

    return all_problems(lexicon, lambda code, kind: base.find(code, kind) is not None)
