"""The requests of the load: the workload of `cielo bench`, each prompt another one, so that no cache answers."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator

from cielo.records import Mention
from cielo.workbench.bench.workload import load_workload


def mentions(first: int = 0) -> Iterator[Mention]:
    """Yield the mentions of the workload over and over; a number makes the sentence of each a new one."""
    known = load_workload().mentions
    for number in itertools.count(first):
        mention = known[number % len(known)]
        yield Mention(mention.text, f"{mention.sentence or mention.text} Caso {number}.", mention.kind)


def body(part: list[Mention]) -> bytes:
    """Return the body of a request."""
    rows = [{"text": one.text, "sentence": one.sentence, "kind": one.kind} for one in part]
    return json.dumps({"mentions": rows}).encode()
