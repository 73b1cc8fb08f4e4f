"""Score the mini on its held-out mentions: ``python models/mini/evaluate.py [--bundle DIR] [--file FILE]``.

Prints the share of mentions whose first code is the right one, by kind, by the way the link was found and by the way
the mention was made, for each search, and how often the searches and compute types agree.
"""

from __future__ import annotations

import argparse
import csv
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from engine.linker import Linker
from engine.records import Link, Mention
from engine.stages.generator import DECODINGS

FOLDER = Path(__file__).resolve().parent


@dataclass(frozen=True, slots=True)
class Held:
    """A held-out mention, its right code, and how its text was made."""

    mention: Mention
    code: str
    kind: str
    how: str


def read_held(path: Path) -> list[Held]:
    """Read a file with the columns text, sentence, kind, code, how."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    return [Held(Mention(row["text"], row["sentence"] or None), row["code"], row["kind"], row["how"]) for row in rows]


def is_right(held: Held, link: Link) -> bool:
    """Tell whether the first code of the link is the mention's."""
    return link.code == held.code


def accuracy(held: Sequence[Held], links: Sequence[Link]) -> float:
    """Return the share of mentions with the right first code."""
    return sum(map(is_right, held, links)) / len(held)


def _table(title: str, held: list[Held], links: list[Link], group: Callable[[Held, Link], str]) -> None:
    groups: dict[str, list[bool]] = defaultdict(list)
    for row, link in zip(held, links, strict=True):
        groups[group(row, link)].append(is_right(row, link))
    for name, right in sorted(groups.items()):
        print(f"  {title:<8}{name:<12}{sum(right) / len(right):7.2%}  ({sum(right)} of {len(right)})")


def main() -> None:
    """Print the scores."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path)
    parser.add_argument("--file", type=Path, default=FOLDER / "heldout.tsv")
    parser.add_argument("--compute-type")
    options = parser.parse_args()
    held = read_held(options.file)
    with Linker.open(options.bundle, device="cpu", compute_type=options.compute_type, allow_unverified=True) as linker:
        for decoding in DECODINGS:
            links = linker.link([row.mention for row in held], decoding=decoding)
            print(f"{decoding}, {linker.identity().compute_type}: {accuracy(held, links):.2%} of {len(held)}")
            _table("kind", held, links, lambda row, _: row.kind)
            _table("method", held, links, lambda _, link: link.method)
            _table("made as", held, links, lambda row, _: row.how)


if __name__ == "__main__":
    main()
