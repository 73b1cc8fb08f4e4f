"""One link as a person reads it on a terminal, in English or Spanish."""

from __future__ import annotations

from collections.abc import Iterator

from cielo.cli.base import console
from cielo.decisions import Decision
from cielo.records import Candidate, Link, Proof
from cielo.text import wording
from cielo.text.language import Language

_LABELS: dict[Language, dict[str, str]] = {
    "en": {
        "none": "no code", "confidence": "confidence", "title": "title", "also": "also", "found": "found by",
        "generated": "generated", "proof": "proof", "note": "note", "others": "runners-up", "kind": "kind",
        "description": "description", "evidence": "evidence", "pipeline": "pipeline {value}",
        "published": "matched as in the paper", "on": "{compute} on {device}",
        "cut": "the prompt was longer than the model takes, and was cut",
        "found-mass": "{mass:.3f} of the probability in the descriptions found, {passes} passes of the decoder",
        "open": "open: one that was not looked at could be more probable by {gap:.2f} nats",
        "proven": "no description is more probable",
    },
    "es": {
        "none": "sin código", "confidence": "confianza", "title": "título", "also": "también", "found": "cómo",
        "generated": "generado", "proof": "búsqueda", "note": "nota", "others": "alternativas", "kind": "tipo",
        "description": "descripción", "evidence": "prueba", "pipeline": "pipeline {value}",
        "published": "comparado como en el artículo", "on": "{compute} en {device}",
        "cut": "la frase era más larga de lo que el modelo lee, y se cortó",
        "found-mass": "{mass:.3f} de la probabilidad en las descripciones halladas, {passes} pasadas del decodificador",
        "open": "abierta: una que no se miró podría ser más probable en {gap:.2f} nats",
        "proven": "ninguna descripción es más probable",
    },
}  # fmt: skip


def show_link(linked: Link, decision: Decision, language: Language) -> None:
    """Print a link: the code, how it was found, the figures, the runners-up, and where it comes from."""
    from rich.markup import escape
    from rich.table import Table

    words, out = _LABELS[language], console()
    out.print(_head(linked, decision, language))
    for name, value in _facts(linked, language):
        out.print(f"  {f'{words[name]}:':<10} {escape(value)}")
    others = linked.candidates[1:] if linked.code else linked.candidates
    if others:
        table = Table(box=None, pad_edge=False, show_header=True, header_style="dim")
        for name in ("others", "kind", "description", "evidence"):
            table.add_column(f"  {words[name]}" if name == "others" else words[name], no_wrap=name != "description")
        for candidate in others:
            evidence = ", ".join(_evidence(candidate, language))
            kind = wording.values(language).get(candidate.kind, candidate.kind)
            table.add_row(f"  {escape(candidate.code)}", kind, escape(candidate.description), evidence)
        out.print(table)
    out.print(f"[dim]  {escape(_origin(linked, words))}[/]")


def _head(linked: Link, decision: Decision, language: Language) -> str:
    from rich.markup import escape

    words = _LABELS[language]
    if not linked.code:
        return f"[bold]{words['none']}[/]"
    decided = wording.words(language)["byHand" if decision == "none" else decision]
    sure = "" if linked.confidence is None else f"  [bold]({words['confidence']} {linked.confidence:.2f}: {decided})[/]"
    return f"[bold]{escape(linked.code)}[/]  {escape(linked.description or '')}{sure}"


def _facts(linked: Link, language: Language) -> Iterator[tuple[str, str]]:
    """Yield what is told of a link, each by the name of its label."""
    words, shared = _LABELS[language], wording.words(language)
    if linked.title is not None and linked.title != linked.description:
        yield "title", linked.title
    if len(linked.codes) > 1:
        yield "also", ", ".join(linked.codes[1:])
    how = wording.found_by(
        linked.method, normal=linked.match == "normal", unsure=linked.confidence is not None, language=language
    )
    yield "found", f"{wording.values(language).get(linked.method, linked.method)}: {how}"
    if linked.probability is not None:
        figures = [shared["probability"].format(value=f"{linked.probability:.3f}")]
        if linked.distance is not None:
            figures.append(shared["distance"].format(value=f"{linked.distance:.3f}"))
        yield "generated", f"{linked.generated}  ({', '.join(figures)})"
    if linked.proof is not None:
        yield "proof", _proof(linked.proof, words)
    if linked.truncated:
        yield "note", words["cut"]


def _proof(proof: Proof, words: dict[str, str]) -> str:
    found = words["found-mass"].format(mass=proof.mass, passes=proof.passes)
    return f"{words['proven'] if proof.exact else words['open'].format(gap=proof.gap)}; {found}"


def _evidence(candidate: Candidate, language: Language) -> Iterator[str]:
    if candidate.log_prob is not None:
        yield f"log-prob. {candidate.log_prob:.2f}"
    if candidate.distance is not None:
        yield wording.words(language)["distance"].format(value=f"{candidate.distance:.3f}")


def _origin(linked: Link, words: dict[str, str]) -> str:
    origin, bundle = linked.provenance, linked.provenance.bundle
    how = words["pipeline"].format(value=origin.pipeline)
    if origin.matching == "published":
        how += f", {words['published']}"
    compute = words["on"].format(compute=origin.compute_type, device=origin.device)
    return f"{bundle.name}@{bundle.sha256[:12]}, {bundle.edition}, {origin.decoding}, {how}, {compute}"
