"""A linker as commands open it, and what they say of it, its subset and its lexicon before and after they link."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import click

from cielo.cli.base import echo
from cielo.cli.options import LISTED
from cielo.cli.verbosity import is_verbose
from cielo.text.language import numeral, retell, say

if TYPE_CHECKING:
    from cielo.knowledge.code_list import CodeList
    from cielo.knowledge.subsets import Subset
    from cielo.link.lexicon import LexiconProblem
    from cielo.link.linker import Linker

_SHOWN = 10


def open_linker(**opening: Any) -> Linker:
    """Open a linker: see `cielo.link.linker.Linker.open`; where more is to be said, say what was opened."""
    started = time.monotonic()
    from cielo.link.linker import Linker  # loads the libraries of the models: only where they are needed

    linker = Linker.open(**opening)
    if is_verbose():
        _report_opened(linker, time.monotonic() - started)
    return linker


def _report_opened(linker: Linker, seconds: float) -> None:
    origin, plan = linker.provenance(), linker.plan
    bundle = origin.bundle
    echo(f"cielo: bundle {bundle.name}@{bundle.sha256[:12]}, {bundle.edition}, opened in {seconds:,.1f} s", err=True)
    echo(
        f"  backend {origin.backend}, {origin.compute_type} on {origin.device}; decoding {origin.decoding}; "
        f"{plan.replicas} batch(es) at a time, {plan.threads} thread(s) each, {plan.batch_tokens:,} tokens a batch "
        f"(plan: {plan.source})",
        err=True,
    )


def require_codes(linker: Linker, subset: Subset | None) -> None:
    """Refuse a subset without a single code: a chapter that is none, or codes of another edition.

    Raises:
        UsageError: saying what was expected.
    """
    base = linker.knowledge_base
    report_unknown_codes(lambda code: base.find(code) is not None)
    if subset is not None and not linker.knowledge_base.count(subset):
        raise click.UsageError(
            "no code of the knowledge base lies in the subset that was asked for; chapters are Roman numerals of "
            "ICD-10-CM or the first character of ICD-10-PCS, and --codes names codes of this edition"
        )


def report_unknown_codes(knows: Callable[[str], bool]) -> None:
    """Report the lines of --codes that name no code that `knows` has, on standard error."""
    listed: CodeList | None = click.get_current_context().meta.get(LISTED)
    if listed is None:
        return
    problems = listed.problems(knows)
    for problem in problems[:_SHOWN]:
        echo(f"  codes, line {problem.line}: {problem.reason}", err=True)
    if problems:
        echo(f"  codes: {len(problems):,} of {len(listed.lines):,} lines name no code that is known", err=True)


def report_withheld(linker: Linker, subset: Subset | None, without: int, linked: int) -> None:
    """Say on standard error that a subset is why most mentions may have no code, where most have none."""
    if subset is None or 2 * without <= linked:
        return
    base = linker.knowledge_base
    told = say(
        "{without} of {linked} mentions got no code; --chapter, --leaf and --codes left {left} of {all} codes to "
        "choose from",
        without=numeral(f"{without:,}"), linked=numeral(f"{linked:,}"), left=numeral(f"{base.count(subset):,}"),
        all=numeral(f"{sum(base.concepts.values()):,}"),
    )  # fmt: skip
    echo(f"cielo: {told}", err=True)


def report_problems(problems: Sequence[LexiconProblem]) -> None:
    """Report the lines of a lexicon that are not used, on standard error."""
    for problem in problems[:_SHOWN]:
        reason = retell(problem.reason)
        echo(f"  {say('lexicon, line {line}: {reason}', line=problem.line, reason=reason)}", err=True)
    if (rest := len(problems) - _SHOWN) > 0:
        echo(f"  {say('lexicon: {count} more lines; `cielo lexicon check` names them', count=rest)}", err=True)
