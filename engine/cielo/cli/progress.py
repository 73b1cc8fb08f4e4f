"""How far long work is, and what it gave: on standard error, without a word of what is worked on.

On a terminal one line is drawn again and again; elsewhere a plain line comes each half minute. What takes a few seconds
shows nothing, and ``--quiet`` neither.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Literal, Self

from cielo.cli.base import console, echo
from cielo.cli.verbosity import is_quiet, is_verbose
from cielo.decisions import DECISIONS
from cielo.errors import CieloError
from cielo.records import Json, Link, Mention
from cielo.text import wording
from cielo.text.language import numeral, say, speaking, spoken

if TYPE_CHECKING:
    from rich.live import Live

_SILENT = 2.0  # seconds
_EVERY = 30.0  # seconds between two lines where there is no terminal
_TICK = 0.5  # seconds after which it is looked whether something is to be shown, should nothing be counted
# Seconds that the rate is taken over. Within a chunk long prompts come first: a shorter stretch would see that alone.
_WINDOW = 300.0
_APART = 1.0  # seconds between two of the counts that the rate is taken from
_STAGES = ("tokenize", "generate", "match", "embed", "search", "rerank")
_METHODS = ("exact", "semantic", "lexicon", "none")
_RATES = {"row": "rate", "span": "rateOfSpans"}  # by what is counted, the words of its rate

Clock = Callable[[], float]
# How many there are; None: nobody knows. What has to be counted first is counted once the work turns out to be long.
Total = int | Callable[[], int | None] | None


class Progress:
    """How far one piece of work is, or several that come one after the other. Thread-safe.

    Use it as a context manager: what is drawn is removed at its end.
    """

    def __init__(
        self,
        task: str = "",
        total: Total = None,
        *,
        unit: str = "mentions",
        drawn: bool = True,
        clock: Clock = time.monotonic,
    ) -> None:
        """Begin.

        Args:
            task: what is being done, in a word; no text of a user. Empty: `begin` or `step` says it.
            total: how many there are; None: not known.
            unit: of what; empty: of nothing that has a name.
            drawn: whether a terminal may be drawn on; not where the result goes to the same one.
            clock: seconds, of any beginning.
        """
        self._clock, self._lock = clock, threading.RLock()
        self._language = spoken()  # the thread that draws has no context of its own
        self._terminal = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
        self._mute = is_quiet() or (self._terminal and not drawn)
        self._verbose = is_verbose()
        self._live: Live | None = None
        self._ended, self._ticking = threading.Event(), threading.Thread(target=self._tick, daemon=True)
        self._created = self._said = clock()
        self._all = 0
        self._begin(task, total, unit)

    def _begin(self, task: str, total: Total, unit: str) -> None:
        self._task, self._total, self._unit, self._done = task, total, unit, 0
        self._began = self._clock()
        self._counts = deque([(self._began, 0)])  # when so many were done

    def begin(self, task: str, total: Total = None, *, unit: str = "mentions") -> None:
        """Go on with the next piece of work; the one before is done."""
        with self._lock:
            self._tell_task()
            self._begin(task, total, unit)
            self._show(self._began)

    def advance(self, count: int = 1) -> None:
        """Count so many more as done."""
        with self._lock:
            self._done += count
            self._all += count
            now = self._clock()
            self._count(now)
            if callable(self._total) and self._is_shown(now):
                self._total = self._total()
            self._show(now)

    def skip(self, count: int) -> None:
        """Count so many as done before this work began: they say nothing of its rate."""
        with self._lock:
            self._done += count
            self._counts = deque((when, done + count) for when, done in self._counts)

    def step(self, task: str, done: int, total: int | None) -> None:
        """Say how far a step is that counts for itself; where it is another one, or begins anew, the last is done."""
        with self._lock:
            if task != self._task or done < self._done:
                self.begin(task, total, unit="")
            self._total = total
            self.advance(done - self._done)

    def line(self) -> str:
        """Return what there is to say now: what is done, of how many, the rate, the time left."""
        with self._lock, speaking(self._language):
            now, total = self._clock(), self._total if isinstance(self._total, int) else None
            said = []
            if total is None or total > 1:
                said.append(f"{_count_words(self._done, total)} {self._unit_words()}".rstrip())
            rate = self._rate()
            if rate:
                said.append(say("{rate} a second", rate=_rate_words(rate)))
            if rate and total is not None:
                # Between two counts the time goes on.
                left = (total - self._done) / rate - (now - self._counts[-1][0])
                said.append(say("{time} left", time=_duration(max(0.0, left))))
            elif not rate:
                said.append(say("{time} so far", time=_duration(now - self._began)))
            return f"{self._task}: {', '.join(said)}"

    def _unit_words(self) -> str:
        return say("mentions") if self._unit == "mentions" else self._unit

    def show_summary(self) -> None:
        """Say how many were done in all, and how fast; unless nothing but what is wrong is to be said."""
        if not is_quiet():
            seconds = self._clock() - self._created
            with speaking(self._language):
                told = say(
                    "{count} {unit} in {seconds} s, {rate} a second", count=numeral(f"{self._all:,}"),
                    unit=self._unit_words(), seconds=numeral(f"{seconds:,.1f}"),
                    rate=_rate_words(self._all / max(seconds, 1e-9)),
                )  # fmt: skip
            echo(f"cielo: {told}", err=True)

    def _count(self, now: float) -> None:
        if len(self._counts) > 1 and now - self._counts[-2][0] < _APART:
            self._counts.pop()
        self._counts.append((now, self._done))
        while len(self._counts) > 2 and now - self._counts[1][0] >= _WINDOW:
            self._counts.popleft()

    def _rate(self) -> float:
        (first, before), (last, done) = self._counts[0], self._counts[-1]
        return (done - before) / (last - first) if last > first else 0.0

    def _is_shown(self, now: float) -> bool:
        return not self._mute and now - self._created >= _SILENT

    def _show(self, now: float) -> None:
        if not self._is_shown(now):
            return
        if self._terminal:
            self._draw()
        elif now - self._said >= _EVERY:
            self._said = now
            echo(f"cielo: {self.line()}", err=True)

    def _tick(self) -> None:
        while not self._ended.wait(_TICK):
            with self._lock:
                self._show(self._clock())

    def _draw(self) -> None:
        if self._live is not None:
            return
        from rich.live import Live
        from rich.text import Text

        self._live = Live(
            console=console(stderr=True), transient=True, redirect_stdout=False,
            get_renderable=lambda: Text(self.line(), no_wrap=True, overflow="ellipsis"),
        )  # fmt: skip
        self._live.start()

    def _tell_task(self) -> None:
        if self._verbose and self._task:
            echo(f"cielo: {self._task}: {self._clock() - self._began:,.1f} s", err=True)

    def __enter__(self) -> Self:
        if not self._mute:
            self._ticking.start()
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        # Not under the lock: threads that draw may be waiting for it.
        self._ended.set()
        if self._ticking.ident is not None:
            self._ticking.join()
        live, self._live = self._live, None
        if live is not None:
            live.stop()
        if kind is None:
            self._tell_task()


class Summary:
    """What linking rows, or the spans of documents, gave, counted as they go by.

    Attributes:
        rows, errors, without: so far, with an error, and linked to no code.
        documents: so far, where they are counted.
        methods: links by their method.
        decisions: rows by what is to be done with them; empty where nothing is decided.
    """

    def __init__(self, *, unit: Literal["row", "span"] = "row", clock: Clock = time.monotonic) -> None:
        """Begin to count, and to take the time; spans are counted with their documents."""
        self._unit = unit
        self.rows = self.errors = self.without = self.documents = 0
        self.methods: Counter[str] = Counter()
        self.decisions: Counter[str] = Counter()
        self._distinct: set[int] = set()  # hashes: a few bytes for each mention, whatever its sentence
        self._stages = dict.fromkeys(_STAGES, 0.0)
        self._clock, self._began = clock, clock()

    def read(self, entry: Mention | CieloError) -> None:
        """Count a row that was read, as a mention or an error."""
        if isinstance(entry, Mention):
            self._distinct.add(hash((entry.text, entry.sentence, entry.kind)))

    def add(self, outcome: Link | CieloError) -> None:
        """Count the outcome of a row."""
        self.rows += 1
        if not isinstance(outcome, Link):
            self.errors += 1
            return
        self.methods[outcome.method] += 1
        self.without += outcome.code is None
        spent = outcome.timings
        if spent is not None and spent.mentions:
            for stage in _STAGES:
                self._stages[stage] += getattr(spent, stage) / spent.mentions

    def count(self, columns: Mapping[str, Json]) -> None:
        """Count a row that was linked before, by the columns of its link."""
        self.rows += 1
        if "error" in columns:
            self.errors += 1
        else:
            self.methods[str(columns["method"])] += 1
            self.without += columns["code"] is None

    def expect_decisions(self) -> None:
        """Begin to count what is to be done with the rows: every decision is told, in order, those of none too."""
        self.decisions.update({self._decision(name): 0 for name in DECISIONS})

    def decide(self, decision: str) -> None:
        """Count what is to be done with a row."""
        self.decisions[self._decision(decision)] += 1

    def _decision(self, name: str) -> str:
        return wording.words(spoken())["byHand" if name == "none" else name]

    def lines(self) -> list[str]:
        """Return the lines that tell it, the first one whole by itself."""
        seconds = self._clock() - self._began
        rate = _rate_words(self.rows / max(seconds, 1e-9))
        words = wording.words(spoken())
        counts = [(self.rows, self._unit), (len(self._distinct), "mention")]
        counts[:0] = [(self.documents, "document")] * (self._unit == "span")
        counts += [(self.errors, "fault")] * bool(self.errors)
        told = ", ".join(f"{numeral(f'{count:,}')} {words[one if count == 1 else f'{one}s']}" for count, one in counts)
        lines = [f"cielo: {told}; {numeral(f'{seconds:,.1f}')} s, {words[_RATES[self._unit]].format(value=rate)}"]
        lines += counted_lines(self.methods, self.decisions)
        if is_verbose():
            lines.append(self.stages())
        return lines

    def stages(self) -> str:
        """Return the line that tells how long each stage took."""
        spent = ", ".join(f"{stage} {numeral(f'{spent:,.2f}')}" for stage, spent in self._stages.items() if spent)
        return f"  {say('seconds of each stage')}: {spent or '-'}"

    def show(self) -> None:
        """Write the lines on standard error, unless nothing but what is wrong is to be said."""
        if not is_quiet():
            for line in self.lines():
                echo(line, err=True)


@contextlib.contextmanager
def waiting(text: str) -> Iterator[Callable[[str], None]]:
    """Show on a terminal what is being done where nobody can say how far it is; what is yielded shows another text."""
    if is_quiet():
        yield lambda _: None
        return
    with console(stderr=True).status(text) as status:
        yield status.update


def counted_lines(methods: Mapping[str, int], decisions: Mapping[str, int]) -> list[str]:
    """Return the lines that tell how many rows were linked by each method, and what is to be done with them."""
    words, named = wording.words(spoken()), wording.values(spoken())
    in_order = [(named.get(name, name), methods[name]) for name in _METHODS if methods.get(name)]
    decided = [(wording.decided(name, spoken()), count) for name, count in decisions.items()]
    return [
        f"  {words[what]}: " + ", ".join(f"{numeral(f'{count:,}')} {name}" for name, count in counted)
        for what, counted in (("byMethod", in_order), ("byDecision", decided))
        if counted
    ]


def _count_words(done: int, total: int | None) -> str:
    if total is None:
        return numeral(f"{done:,}")
    return say("{done} of {total}", done=numeral(f"{min(done, total):,}"), total=numeral(f"{total:,}"))


def _rate_words(rate: float) -> str:
    return numeral(f"{rate:,.0f}" if rate >= 100 else f"{rate:.1f}" if rate >= 1 else f"{rate:.2g}")


def _duration(seconds: float) -> str:
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{numeral(f'{minutes // 60:,}')} h {minutes % 60} min"
