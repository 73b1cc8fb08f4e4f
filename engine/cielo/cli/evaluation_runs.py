"""The runs of ``cielo evaluate``: mentions linked, or stored outputs resolved, in each way that was asked for."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cielo.bundle.layout import Bundle, default_bundle
from cielo.cli import corpora
from cielo.cli.base import echo
from cielo.cli.linkers import open_linker, report_problems, require_codes
from cielo.cli.options import link_options, searched
from cielo.cli.progress import Progress, waiting
from cielo.files import temporary_folder
from cielo.options import LinkOptions
from cielo.text.language import say, sentence

if TYPE_CHECKING:
    from cielo.bundle.calibration import Reliability
    from cielo.bundle.manifest import Manifest
    from cielo.knowledge.codes import System
    from cielo.link.linker import Linker
    from cielo.workbench.evaluation.records import Corpus
    from cielo.workbench.evaluation.results import About
    from cielo.workbench.evaluation.run import Replay, Run

_BESIDE: dict[str, tuple[str, dict[str, Any]]] = {
    "I": (sentence("pipeline I"), {"pipeline": "I"}),
    "published": (sentence("matched as in the paper"), {"matching": "published"}),
    "rerank": (sentence("re-ranked"), {"rerank": True}),
    "no-lexicon": (sentence("without the lexicon"), {"lexicon": False}),
}
WAYS = tuple(_BESIDE)
"""What a further run may change."""


@dataclass(frozen=True, slots=True)
class Found:
    """The runs of an evaluation and what they were made on."""

    runs: list[Run]
    corpus: Corpus
    systems: Mapping[str, System]
    about: About
    resamples: int
    calibration: dict[str, Reliability] = field(default_factory=dict)
    manifest: Manifest | None = None


def evaluate_links(corpus: Corpus, seen: frozenset[str] | None, **given: Any) -> Found:
    """Link a corpus in each way that a command's options ask for.

    Args:
        corpus: its mentions.
        seen: texts of the training mentions; None: not known.
        given: the command's options.

    Raises:
        TableError: where no mention can be linked.
    """
    from cielo.workbench.evaluation.headline import shown_run
    from cielo.workbench.evaluation.results import About
    from cielo.workbench.evaluation.run import link_corpus, linkable

    given.pop("tables")
    decodings, beside, resamples = (given.pop(name) for name in ("decodings", "beside", "resamples"))
    options = link_options(given)
    opened = Bundle.open(given["bundle"] or default_bundle())
    names = _names(decodings)
    with open_linker(cache=False, decoding=searched(names), **given) as linker:
        require_codes(linker, options.subset)
        report_problems(linker.lexicon_problems())
        corpus = linkable(corpus, linker)
        corpora.require_mentions(corpus, corpora.NONE_LINKABLE)
        runs = []
        with Progress() as progress:
            for name, changed in _ways(linker, options, names, beside):
                progress.begin(f"{say('linking')}, {shown_run(name)}", len(corpus.mentions))
                runs.append(link_corpus(linker, corpus, name, seen, changed, progress.advance))
        progress.show_summary()
        bundle = linker.bundle
        about = About(bundle=f"{bundle.name}@{bundle.sha256[:12]}", knowledge_base=linker.knowledge_base.edition)
        worth = {str(name): entry.reliability for name, entry in opened.calibrations().items()}
        return Found(runs, corpus, linker.knowledge_base.systems, about, resamples, worth, opened.manifest)


def _names(decodings: str | None) -> list[str]:
    return [name.strip() for name in decodings.split(",")] if decodings else []


def _ways(
    linker: Linker, options: LinkOptions, decodings: Sequence[Any], beside: Sequence[str]
) -> Iterator[tuple[str, LinkOptions]]:
    """Yield the name of each run and the options for it."""
    names: Sequence[Any] = decodings or [linker.provenance().decoding]
    has_lexicon = linker.lexicon_sha256 is not None
    for name in dict.fromkeys(names):
        asked = replace(options, decoding=name)
        yield _named(name, asked, has_lexicon), asked
    for way in dict.fromkeys(beside):
        words, changes = _BESIDE[way]
        # Confidence is known of the default way of linking alone.
        unsure: dict[str, Any] = {"min_confidence": None} if way in ("published", "rerank") else {}
        free: dict[str, Any] = {"decoding": None, **changes, **unsure}
        # What needs free outputs goes with another search than constrained: the one that linking takes then.
        search = names[0]
        if search == "constrained" and way in ("published", "rerank"):
            search = linker.provenance(replace(options, **free)).decoding
        asked = replace(options, **{**free, "decoding": search})
        yield _named(search, asked, has_lexicon and way != "no-lexicon", words), asked


def _named(search: str, options: LinkOptions, has_lexicon: bool, *words: str) -> str:
    """Return the name of a run: its search, whether a lexicon is asked, and what is special."""
    asked = has_lexicon and options.matching != "published"  # the paper's matching asks none
    return ", ".join((search, *([sentence("with the lexicon")] * asked), *words))


def evaluate_stored(corpus: Corpus, seen: frozenset[str] | None, **given: Any) -> Found:
    """Resolve a corpus's stored outputs in each way that a command's options ask for; see `evaluate_links`."""
    from cielo.link.steps import problems_of
    from cielo.workbench.evaluation.results import About, KnowledgeSource
    from cielo.workbench.evaluation.run import stored_only

    beside, resamples = given["beside"], given["resamples"]
    options = link_options(given)
    with _replay(given, options.pipeline) as replay:
        base = replay.resolver.knowledge_base
        if replay.lexicon is not None:
            report_problems(problems_of(replay.lexicon, base))
        corpus = stored_only(corpus, base.kinds)
        corpora.require_mentions(corpus, "no row can be scored")
        search, has_lexicon = sentence("stored outputs"), replay.lexicon is not None
        how = [_BESIDE["published"][0]] * (options.matching == "published")
        runs = [replay.run(corpus, _named(search, options, has_lexicon, *how), options, seen)]
        for way in dict.fromkeys(beside):
            words, changes = _BESIDE[way]
            asked = replace(options, **changes)
            name = _named(search, asked, has_lexicon and way != "no-lexicon", words)
            runs.append(replay.run(corpus, name, asked, seen))
        about = About(
            knowledge_base=tuple(
                KnowledgeSource(source.name, source.kind, source.rows, source.rejected) for source in base.sources
            ),
            encoder=replay.encoder or None,
        )
        return Found(runs, corpus, dict(replay.systems), about, resamples)


def refuse_linking(**given: Any) -> None:
    """Refuse the options that mean nothing where outputs are stored."""
    names = {"decodings": "--decoding", "as_published": "--as-published", "rerank": "--rerank", "chapters": "--chapter",
             "leaf": "--leaf", "codes": "--codes"}  # fmt: skip
    refused = [option for name, option in names.items() if given[name]]
    if given["min_confidence"] is not None:
        refused.append("--min-confidence")
    ways = ("published", "I", "no-lexicon") if given["lexicon"] else ("published", "I")
    refused += [f"--beside {way}" for way in given["beside"] if way not in ways]
    if refused:
        raise click.UsageError(f"stored outputs are what they are: no {', '.join(refused)} with them")


@contextlib.contextmanager
def _replay(given: dict[str, Any], pipeline: str) -> Iterator[Replay]:
    from cielo.knowledge.code_tables import CodeTable
    from cielo.workbench.evaluation.replay import open_replay

    tables = [CodeTable(Path(path), kind) for kind, path in given["tables"]]
    bundle = Bundle.open(given["bundle"] or default_bundle()) if pipeline == "II" else None
    if bundle is not None:
        echo(f"  encoder: of the bundle {bundle.name}@{bundle.sha256[:12]}", err=True)
    with (
        temporary_folder(Path(tempfile.gettempdir())) as folder,
        waiting("reading the tables"),
        open_replay(
            folder,
            tables,
            bundle,
            lexicon=given["lexicon"],
            threads=given["threads"],
            verify_files=given["verify_files"],
        ) as replay,
    ):
        yield replay
