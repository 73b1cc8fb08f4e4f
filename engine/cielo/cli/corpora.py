"""What the commands share that read annotated corpora."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cielo.cli.base import EXIT_ROWS, echo
from cielo.cli.tabular import (
    COLUMNS,
    DELIMITER,
    formats_of,
    mention_columns,
    options_given,
    reading_options,
    refuse_given,
    refuse_idle,
    table_format,
)
from cielo.errors import TableError
from cielo.text.language import numeral, retell, say

if TYPE_CHECKING:
    from cielo.knowledge.reading import KnowledgeBase
    from cielo.workbench.evaluation.corpora import CodeMap, RowsReading
    from cielo.workbench.evaluation.records import Corpus

_FORMATS = ("codiesp", "sentences", "shared-task", "e3c", "brat", "rows")
_SHOWN = 10
_REASONS = 3
_OF_ROWS = ("encoding", "delimiter", "sheet", "code_column", *(f"{role}_column" for role in COLUMNS))
_OF_OTHERS = ("split", "code_map")
NONE_LINKABLE = "no mention of the corpus can be linked"
CORPUS = click.option("--format", "form", type=click.Choice(_FORMATS), help="Default: as its contents tell.")
SPLIT = click.option("--split", help="Of CodiEsp (train, dev, test), where a folder holds several.")
CODE_MAP = click.option("--code-map", "--cui-map", "code_map", type=click.Path(path_type=Path),
                        help="CUIs or SNOMED CT to codes (cui,code; snomed,code; ClinIDMap's layout), for corpora with "
                             "concepts.")  # fmt: skip


def rows_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of a corpus that is a table of one's own; `rows_reading` makes the record of them."""
    code = click.option("--code-column", metavar="NAME",
                        help="Of a table: the column of the codes; default: code, codes, cie10, icd10.")  # fmt: skip
    return reading_options(code(DELIMITER(command)))


def rows_reading(given: dict[str, object]) -> RowsReading:
    """Take the options of `rows_options` out of a command's."""
    from cielo.workbench.evaluation.corpora import RowsReading

    columns, table = mention_columns(given), table_format(given)
    given.pop("delimiter")
    code: Any = given.pop("code_column")
    return RowsReading(table=table, columns=columns, code=code)


def refuse_idle_options(paths: Sequence[Path], form: Any, rows: RowsReading) -> None:
    """Refuse options that were given and are of none of the corpora that a command reads.

    Raises:
        TableError: where the form of one is not known.
        UsageError: where there is such an option.
    """
    from cielo.workbench.evaluation.corpora import detect_format

    if not options_given([*_OF_ROWS, *_OF_OTHERS]):
        return
    forms = {path: form or detect_format(path, rows) for path in paths}
    if not any(forms[path] == "codiesp" and path.is_dir() for path in paths):
        refuse_given({"split": "of a folder of CodiEsp"})
    if not {"shared-task", "e3c", "brat"} & {*forms.values()}:
        refuse_given({"code_map": "of corpora that are annotated with concepts"})
    tables = [path for path in paths if forms[path] == "rows"]
    if not tables:
        refuse_given(dict.fromkeys(_OF_ROWS, "of a table of mentions and codes"))
    refuse_idle(formats_of(tables))


def read(path: Path, form: Any, split: str | None, code_map: CodeMap | None, rows: RowsReading | None = None) -> Corpus:
    """Return the annotated mentions of a corpus.

    Raises:
        TableError: where there is none.
    """
    from cielo.workbench.evaluation.corpora import read_corpus

    corpus = read_corpus(path, form, split=split, code_map=code_map, rows=rows)
    require_mentions(corpus, f"{path}: no annotated mention could be read")
    return corpus


def read_map(path: Path | None) -> CodeMap | None:
    """Return the table of concepts, if one is named."""
    from cielo.workbench.evaluation.corpora import read_code_map

    return None if path is None else read_code_map(path)


def require_mentions(corpus: Corpus, message: str) -> None:
    """Refuse a corpus without a mention.

    Raises:
        TableError: with the first reasons why they were passed over.
    """
    if not corpus.mentions:
        reasons = [f"{entry.place}: {entry.reason}" for entry in corpus.skipped[-_REASONS:]]
        if corpus.uncoded:
            reasons.append(f"{corpus.uncoded:,} mentions whose concept no table maps")
        raise TableError(f"{message} ({'; '.join(reasons) or 'there is none'})")


def report_unknown(corpora: Sequence[Corpus], base: KnowledgeBase) -> None:
    """Say on standard error how many right codes the knowledge base lacks, if it lacks any."""
    from cielo.workbench.evaluation.gold import count_gold, describe, judge

    found = count_gold(judge((entry for corpus in corpora for entry in corpus.mentions), base))
    if found is not None and found.all.unknown:
        echo(say("  note: {note}", note=describe(found)), err=True)


def report_skipped(corpora: Sequence[Corpus], code_map: CodeMap | None) -> None:
    """Say what of the corpora and of the table of concepts was passed over; if anything was, end with exit code 3."""
    for note in dict.fromkeys(note for corpus in corpora for note in corpus.notes):
        echo(say("  note: {note}", note=retell(note)), err=True)
    skipped = [*(code_map.skipped if code_map else ()), *(entry for corpus in corpora for entry in corpus.skipped)]
    for entry in skipped[:_SHOWN]:
        place, reason = retell(entry.place), retell(entry.reason)
        echo(say("  skipped: {place}: {reason}", place=place, reason=reason), err=True)
    if len(skipped) > _SHOWN:
        echo(say("  skipped: {count} more", count=numeral(f"{len(skipped) - _SHOWN:,}")), err=True)
    if uncoded := sum(corpus.uncoded for corpus in corpora):
        echo(say("  left out: {count} mentions whose concept no table maps", count=numeral(f"{uncoded:,}")), err=True)
    if skipped:
        sys.exit(EXIT_ROWS)
