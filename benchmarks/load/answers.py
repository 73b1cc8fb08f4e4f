"""``python -m benchmarks.load.answers``: many clients at the same time; each answer against the one computed alone."""

from __future__ import annotations

import itertools
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import click
from cielo import Link, Linker, Mention
from cielo.client import Client
from cielo.client.exchanges import Patience
from cielo.parity.tolerances import generator_tolerances

from benchmarks.load.requests import mentions
from benchmarks.load.server import serving


def differs(found: Link, alone: Link) -> str | float:
    """Return what is another in an answer, beyond rounding; else by how many nats its log-probability is away."""
    for name in ("code", "codes", "method", "description", "generated"):
        if getattr(found, name) != getattr(alone, name):
            return name
    away = abs((found.log_prob or 0.0) - (alone.log_prob or 0.0))
    return away if away <= generator_tolerances(alone.provenance.compute_type).repeated else "log_prob"


@click.command()
@click.option("--bundle", type=click.Path(path_type=Path), help="Default: the mini.")
@click.option("--requests", "count", default=20_000, show_default=True)
@click.option("--clients", default=64, show_default=True)
@click.option("--distinct", default=2_000, show_default=True, help="Prompts; each is asked for several times.")
def main(bundle: Path | None, count: int, clients: int, distinct: int) -> None:
    """Ask, compare, and say how many answers differ; the exit code is 1 where one does."""
    known = [Mention(one.text, one.sentence, one.kind, str(place)) for place, one in
             enumerate(itertools.islice(mentions(), distinct))]  # fmt: skip
    with Linker.open(bundle, cache=False, use="single") as linker:
        alone = [linker.link([mention])[0] for mention in known]
    local = threading.local()
    with serving([] if bundle is None else ["--bundle", str(bundle)]) as served:

        def ask(number: int) -> str | float:
            if not hasattr(local, "client"):
                local.client = Client(served.url, patience=Patience(tries=1000, seconds=3600))
            place = number * 7919 % distinct
            (outcome,) = local.client.link([known[place]])
            if not isinstance(outcome, Link):
                return f"error {outcome.code}"
            return "mixed up" if outcome.id != str(place) else differs(outcome, alone[place])

        with ThreadPoolExecutor(clients) as pool:
            outcomes = list(pool.map(ask, range(count)))
    found = Counter(outcome if isinstance(outcome, str) else "same" for outcome in outcomes)
    away = sorted(outcome for outcome in outcomes if isinstance(outcome, float))
    click.echo(f"{count:,} requests of {clients} clients, {distinct:,} prompts: {dict(found)}")
    click.echo(f"log-probabilities: {away[len(away) // 2]:.1e} nats away in the middle, {away[-1]:.1e} at most")
    if set(found) - {"same"}:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
