"""Score the mini by the way its held-out mentions were made: ``python models/mini/evaluate.py [--bundle DIR]``.

All other scores are those of ``cielo evaluate models/mini/heldout.tsv``.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

from cielo.generation.searches import DECODINGS
from cielo.link.linker import Linker
from cielo.workbench.evaluation.corpora import read_rows
from cielo.workbench.evaluation.run import link_corpus
from cielo.workbench.evaluation.scores import score

FOLDER = Path(__file__).resolve().parent


def main() -> None:
    """Print the accuracy of each search on mentions of each making."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path)
    parser.add_argument("--file", type=Path, default=FOLDER / "heldout.tsv")
    options = parser.parse_args()
    corpus = read_rows(options.file)
    with options.file.open(encoding="utf-8", newline="") as file:
        made = [row["how"] for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)]
    with Linker.open(options.bundle, device="cpu") as linker:
        for decoding in DECODINGS:
            outcomes = link_corpus(linker, corpus, decoding, decoding=decoding).outcomes
            for name in sorted(set(made)):
                group = [outcome for outcome, how in zip(outcomes, made, strict=True) if how == name]
                print(f"{decoding:<10}  {name:<12}{score(group).accuracy:6.2f} %  of {len(group)}")


if __name__ == "__main__":
    main()
