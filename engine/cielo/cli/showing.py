"""One link as a person reads it on a terminal, in the language of `cielo.text.language.speaking`."""

from __future__ import annotations

from collections.abc import Iterator

from cielo.cli.base import console
from cielo.decisions import Decision
from cielo.records import Candidate, Link, Proof
from cielo.text import wording
from cielo.text.language import numeral, say, spoken

_LABEL = 10  # columns that a label takes, at least


def show_link(linked: Link, decision: Decision) -> None:
    """Print a link: the code, how it was found, the figures, the runners-up, and where it comes from."""
    from rich.markup import escape
    from rich.table import Table

    out = console()
    out.print(_head(linked, decision))
    for label, value in _facts(linked):
        out.print(f"  {f'{label}:':<{_LABEL}} {escape(value)}")
    others = linked.candidates[1:] if linked.code else linked.candidates
    if others:
        table = Table(box=None, pad_edge=False, show_header=True, header_style="dim")
        for number, label in enumerate((f"  {say('runners-up')}", say("kind"), say("description"), say("evidence"))):
            table.add_column(label, no_wrap=number != 2)  # descriptions are long
        for candidate in others:
            kind = wording.values(spoken()).get(candidate.kind, candidate.kind)
            row = f"  {escape(candidate.code)}", kind, escape(candidate.description), ", ".join(_evidence(candidate))
            table.add_row(*row)
        out.print(table)
    out.print(f"[dim]  {escape(_origin(linked))}[/]")


def _head(linked: Link, decision: Decision) -> str:
    from rich.markup import escape

    if not linked.code:
        return f"[bold]{say('no code')}[/]"
    decided = wording.decided(decision, spoken())
    if linked.confidence is None:
        told = say("no confidence: {decision}", decision=decided)
    else:
        told = say("confidence {value}: {decision}", value=numeral(f"{linked.confidence:.2f}"), decision=decided)
    return f"[bold]{escape(linked.code)}[/]  {escape(linked.description or '')}  [bold]({told})[/]"


def _facts(linked: Link) -> Iterator[tuple[str, str]]:
    """Yield what is told of a link, each with its label."""
    if linked.title is not None and linked.title != linked.description:
        yield say("title"), linked.title
    if len(linked.codes) > 1:
        yield say("also"), ", ".join(linked.codes[1:])
    how = wording.found_by(
        linked.method, normal=linked.match == "normal", unsure=linked.confidence is not None, language=spoken()
    )
    yield say("found by"), f"{wording.values(spoken()).get(linked.method, linked.method)}: {how}"
    if linked.probability is not None:
        figures = [say("probability {value}", value=numeral(f"{linked.probability:.3f}"))]
        if linked.distance is not None:
            figures.append(_distance(linked.distance))
        yield say("generated"), f"{linked.generated}  ({', '.join(figures)})"
    if linked.proof is not None:
        yield say("proof"), _proof(linked.proof)
    if linked.truncated:
        yield say("note"), say("the prompt was longer than the model takes, and was cut")


def _proof(proof: Proof) -> str:
    shown = say("no description is more probable") if proof.exact else say(
        "open: one that was not looked at could be more probable by {gap} nats", gap=numeral(f"{proof.gap:.2f}")
    )  # fmt: skip
    found = say(
        "{mass} of the probability in the descriptions found, {passes} passes of the decoder",
        mass=numeral(f"{proof.mass:.3f}"), passes=proof.passes,
    )  # fmt: skip
    return f"{shown}; {found}"


def _distance(value: float) -> str:
    return say("distance {value}", value=numeral(f"{value:.3f}"))


def _evidence(candidate: Candidate) -> Iterator[str]:
    if candidate.log_prob is not None:
        yield f"log-prob. {numeral(f'{candidate.log_prob:.2f}')}"
    if candidate.distance is not None:
        yield _distance(candidate.distance)


def _origin(linked: Link) -> str:
    origin, bundle = linked.provenance, linked.provenance.bundle
    how = [origin.decoding, say("pipeline {value}", value=origin.pipeline)]
    if origin.matching == "published":
        how.append(say("matched as in the paper"))
    compute = say("{compute} on {device}", compute=origin.compute_type, device=origin.device)
    return ", ".join([f"{bundle.name}@{bundle.sha256[:12]}", bundle.edition, *how, compute])
