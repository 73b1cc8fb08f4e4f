"""What is measured, what is noted of each rival, and how memory and prompts are shared out."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.rivals import Inputs, Rival, Variant
from benchmarks.rivals.process import RivalProcess

FEWEST_ROUNDS = 3
HEADROOM_BYTES = 300_000_000
NOT_ITS_OWN = "another search"  # of a rival that does not take part in one


@dataclass(frozen=True, slots=True)
class Settings:
    """What is measured, and for how long.

    Attributes:
        batches: prompts in one call.
        decodings: of `DECODINGS`.
        rounds: turns of each rival for each search and batch size.
        singles: calls in a turn where the batch is one prompt.
        seconds: after `FEWEST_ROUNDS` turns, none is begun that would take a rival beyond so many seconds for one
            search and batch size.
        timeout: of one call.
        compared: prompts whose outputs are compared, scores among them.
        memory: bytes that the rivals may take together.
        widest: bytes that the widest batch takes beyond one prompt.
    """

    batches: tuple[int, ...]
    decodings: tuple[str, ...]
    rounds: int
    singles: int
    seconds: float
    timeout: float
    compared: int
    memory: int
    widest: int


@dataclass(slots=True)
class Cell:
    """One rival, one search, one batch size.

    Attributes:
        samples: round, seconds and mentions of each call.
        texts: prompt's number and best text of each output.
        failure: why it has no samples, or no more of them.
    """

    samples: list[tuple[int, float, int]] = field(default_factory=list)
    texts: list[tuple[int, str]] = field(default_factory=list)
    failure: str | None = None

    @property
    def spent(self) -> float:
        """Seconds of all calls."""
        return sum(seconds for _, seconds, _ in self.samples)

    def has_time(self, seconds: float) -> bool:
        """Tell whether another turn is due."""
        turns = len({number for number, _, _ in self.samples})
        return turns < FEWEST_ROUNDS or self.spent * (turns + 1) / turns <= seconds


@dataclass(slots=True)
class Contender:
    """A rival in the comparison, and all that is found out about it."""

    rival: Rival
    inputs: Inputs
    interpreter: str
    directory: Path
    cells: dict[tuple[str, int], Cell]
    variant: Variant
    failure: str | None = None
    tried: dict[str, float | str] = field(default_factory=dict)
    opened: list[float] = field(default_factory=list)
    prepared: float | None = None
    about: dict[str, Any] = field(default_factory=dict)
    ids_differ: int | None = None
    in_turns: bool = False
    peak: int = 0
    steady: int = 0
    idle: float = 0.0  # processor seconds taken while others worked
    idle_wall: float = 0.0
    outputs: dict[str, list[tuple[str, float | None]]] = field(default_factory=dict)
    output_failures: dict[str, str] = field(default_factory=dict)
    process: RivalProcess | None = None
    warm: set[tuple[str, int]] = field(default_factory=set)  # searches and batch sizes that its process has had

    def need(self, widest: int) -> int:
        """Return the bytes to count with: those of opening, or those of a wide batch."""
        return max(self.peak, self.steady + widest) + HEADROOM_BYTES


def plan_residents(needs: dict[str, int], memory: int) -> set[str]:
    """Return who stays open: the smallest, as many as leave room for the largest of the others."""
    order = sorted(needs, key=lambda name: (needs[name], name))
    for count in range(len(order), 0, -1):
        others = max((needs[name] for name in order[count:]), default=0)
        if sum(needs[name] for name in order[:count]) + others <= memory:
            return set(order[:count])
    return set()


def block(number: int, batch: int, singles: int, count: int) -> list[list[int]]:
    """Return the calls of a turn: the numbers of the prompts of each. All rivals get the same."""
    calls, size = (singles, 1) if batch == 1 else (1, batch)
    first = number * calls * size
    return [[(first + call * size + place) % count for place in range(size)] for call in range(calls)]
