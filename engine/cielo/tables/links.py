"""Rows of links out. JSON and Parquet hold all of a link, in full; CSV, TSV and workbooks are for people.

What is for people has a column for each thing and no JSON in a cell: the runners-up stand in columns of their own,
figures are rounded, and ``found`` says in words how the code was found.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, BinaryIO, cast

from cielo.decisions import Thresholds, decision_of
from cielo.records import Json, Link, Method
from cielo.tables.formats import Format, OutputStyle
from cielo.tables.mentions import InputRow
from cielo.tables.rows import shown
from cielo.tables.workbook_writing import OutCell, Tone
from cielo.tables.writing import cell_text, write_table
from cielo.text import wording
from cielo.text.language import Language, in_language, packed, unpacked
from cielo.text.normal import fold_name

_RESULT_COLUMNS = (
    "code", "codes", "description", "title", "kind", "decision", "method", "match", "confidence", "generated",
    "log_prob", "probability", "distance", "candidates", "proof", "truncated", "provenance", "error",
)  # fmt: skip
_SOMETIMES = ("decision", "proof")  # where thresholds are given, and where a search was constrained
FOR_PEOPLE = ("csv", "tsv", "xlsx")
_PEOPLE = (
    "code", "title", "decision", "confidence", "found", "kind", "codes", "description", "method", "match", "generated",
    "probability", "log_prob", "distance", "alternatives", "proof", "truncated", "provenance", "error",
)  # fmt: skip
_FIGURES = ("confidence", "log_prob", "probability", "distance")
_NAMED = ("kind", "method", "match")
_DIGITS = 3  # of a figure, after the point
_PARTS = ("code", "title", "evidence")
_ALTERNATIVE = re.compile(r"alternative_[0-9]+_(code|title|evidence)")
_NUMBER = re.compile("[0-9]+")
# Before the name of an input's column that is like one of ours within, but not where people see it: shown without.
_OWN = "\0"
_PREFIXES: dict[Language, str] = {"en": "input_", "es": "entrada_"}


@dataclass(frozen=True, slots=True)
class OutputColumns:
    """The columns of an output whose rows are written as they come.

    Attributes:
        given: the input's, as `kept_columns` names them.
        alternatives: how many runners-up a row can have.
        decision: whether there are decisions.
        proof: whether there are proofs.
    """

    given: Sequence[str]
    alternatives: int
    decision: bool = False
    proof: bool = False

    def results(self, names: Sequence[str]) -> list[str]:
        """Return which of the result's columns there are."""
        there = {"decision": self.decision, "proof": self.proof}
        return [name for name in names if there.get(name, True)]


def output_row(row: InputRow, outcome: Link | str, thresholds: Thresholds | None = None) -> dict[str, Json]:
    """Return the output row: the input's columns, then the link's, or the error.

    An input column that bears the name of a result column is kept as ``input_<name>`` (``input_input_<name>`` where
    the input has that column too); ``kind`` is the linked code's, and the input's where nothing was linked.

    Args:
        row: of the input.
        outcome: the link, or why there is none.
        thresholds: of the column ``decision``; None: there is none.
    """
    return joined_row(row, {"error": outcome} if isinstance(outcome, str) else link_columns(outcome, thresholds))


def language_of(form: Format, style: OutputStyle) -> Language:
    """Return the language of a table: its style's where the format is for people; what machines read is English."""
    return style.language if form in FOR_PEOPLE else "en"


def joined_row(row: InputRow, columns: Mapping[str, Json], language: Language = "en") -> dict[str, Json]:
    """Return the output row of `output_row` from what `link_columns` gave, or from an ``error`` alone.

    Args:
        row: of the input.
        columns: of the result.
        language: of the table (see `language_of`); in others than English it is for `write_rows` alone.
    """
    kept = {_kept_name(name, row.values, language): shown(value) for name, value in row.values.items()}
    result = dict(columns)
    if "kind" in result and result["kind"] is None:
        result["kind"] = shown(row.values.get("kind")) or None
    return {**kept, **result}


def kept_columns(names: Sequence[str], language: Language = "en") -> list[str]:
    """Return the names under which `joined_row` keeps an input's columns."""
    return [_kept_name(name, names, language) for name in names]


def _kept_name(name: str, others: Iterable[str], language: Language) -> str:
    if name not in _RESULT_COLUMNS or name == "kind":
        return name
    return _free_name(name, others, language) if language == "en" else f"{_OWN}{name}"


def _free_name(name: str, others: Iterable[str], language: Language) -> str:
    kept = f"{_PREFIXES[language]}{name}"
    while kept in others:
        kept = f"{_PREFIXES[language]}{kept}"
    return kept


def link_columns(link: Link, thresholds: Thresholds | None = None) -> dict[str, Json]:
    """Return what the output shows of a link, in the order of its columns; a proof or a decision where there is one."""
    values = link.to_dict()
    if link.proof is None:
        values.pop("proof")
    if thresholds is not None:
        values["decision"] = decision_of(link, thresholds)
    return {name: values[name] for name in _RESULT_COLUMNS if name in values}


def stored(columns: Mapping[str, Json]) -> dict[str, Json]:
    """Return what `link_columns` gave, or an ``error`` alone, as files of JSON keep it, for `restored`."""
    error = columns.get("error")
    return {**columns, "error": packed(error)} if isinstance(error, str) else dict(columns)


def restored(columns: dict[str, Json]) -> dict[str, Json]:
    """Return what `stored` gave, with the parts of an error's sentence."""
    return {**columns, "error": unpacked(columns["error"])} if "error" in columns else columns


def write_rows(
    stream: BinaryIO,
    form: Format,
    rows: Iterable[dict[str, Json]],
    *,
    style: OutputStyle | None = None,
    columns: OutputColumns | None = None,
    named: Sequence[str] = (),
) -> None:
    """Write output rows.

    Args:
        stream: of bytes.
        form: of the output.
        rows: see `output_row`.
        style: how tables for people look.
        columns: of a table, whose rows are then written as they come; None: those of the rows, in the order in which
            they first occur, once all are known.
        named: columns besides those of the result that are cielo's own, not a user's: they are called in its words.

    Raises:
        TableError: see `cielo.tables.writing.write_table`.
    """
    style = style or OutputStyle()
    if form not in FOR_PEOPLE:
        known = None if columns is None else [*columns.given, *columns.results(_RESULT_COLUMNS)]
        write_table(stream, form, rows, columns=known, order=_ordered, cell=_cell, style=style)
        return
    flat = (_flat(row, style) for row in rows)
    names = None if columns is None else _flat_columns(columns, style.language)
    write_table(
        stream,
        form,
        flat,
        columns=names,
        order=_ordered_flat,
        cell=lambda _, value: value,
        style=style,
        label=_labels(style.language, named),
        tones=_tones(style.language),
    )


def _ordered(columns: Iterable[str]) -> list[str]:
    names = list(columns)
    given = [name for name in names if name not in _RESULT_COLUMNS]
    return given + [name for name in _RESULT_COLUMNS if name in names or name not in _SOMETIMES]


def _cell(name: str, value: Any) -> str | None:
    """Write a value as a cell's text: codes with ``|`` between them, the provenance as its bundle and options."""
    if name == "codes" and isinstance(value, (list, tuple)):
        return "|".join(value)
    if name == "provenance" and isinstance(value, dict):
        bundle, how = value["bundle"], [value["decoding"], value["pipeline"]]
        if value["matching"] == "published":
            how.append("published matching")
        return " ".join([f"{bundle['name']}@{bundle['sha256'][:12]}", *how])
    return cell_text(value)


def _flat(row: Mapping[str, Json], style: OutputStyle) -> dict[str, OutCell]:
    """Return a row for people."""
    language = style.language
    given = {name: value for name, value in row.items() if name not in _RESULT_COLUMNS}
    flat: dict[str, OutCell] = {_free_of_ours(name, row, language): cell_text(value) for name, value in given.items()}
    for name, value in row.items():
        if name in _RESULT_COLUMNS and name not in ("candidates", "proof", "truncated", "decision"):
            is_figure = name in _FIGURES and isinstance(value, int | float)
            flat[name] = round(float(cast(float, value)), _DIGITS) if is_figure else _cell(name, value)
    flat.update(_worded(row, language))
    if "method" in row:
        flat["found"] = wording.found_by(
            cast(Method, row["method"]), normal=row.get("match") == "normal",
            unsure=row.get("confidence") is not None, language=language,
        )  # fmt: skip
    flat.update(_alternatives(row, style))
    return flat


def _worded(row: Mapping[str, Json], language: Language) -> Iterator[tuple[str, str]]:
    """Yield the cells that hold a word or a sentence in a language."""
    words, proof = wording.words(language), row.get("proof")
    for name in _NAMED:
        if isinstance(value := row.get(name), str):
            yield name, wording.values(language).get(value, value)
    if "decision" in row:
        yield "decision", wording.decided(str(row["decision"]), language)
    if "truncated" in row:
        yield "truncated", words["yes" if row["truncated"] else "no"]
    if isinstance(proof, dict):
        yield "proof", words["proven" if proof["exact"] else "unproven"]
    if isinstance(error := row.get("error"), str):
        yield "error", in_language(error, language)


def _alternatives(row: Mapping[str, Json], style: OutputStyle) -> dict[str, OutCell]:
    """Return the runners-up, each in three columns."""
    candidates = cast("Sequence[dict[str, Any]]", row.get("candidates") or ())
    others = candidates[1:] if row.get("code") else candidates
    return {
        f"alternative_{place}_{part}": _evidence(other, style) if part == "evidence" else other[part]
        for place, other in enumerate(others, start=1)
        for part in _PARTS
    }


def _evidence(candidate: Mapping[str, Any], style: OutputStyle) -> str:
    words = wording.words(style.language)
    parts = [words["ofLexicon" if evidence == "lexicon" else evidence] for evidence in candidate["evidence"]]
    if candidate["log_prob"] is not None:
        parts.append(words["probability"].format(value=_figure(math.exp(candidate["log_prob"]), style)))
    if candidate["distance"] is not None:
        parts.append(words["distance"].format(value=_figure(candidate["distance"], style)))
    return ", ".join(parts)


def _figure(value: float, style: OutputStyle) -> str:
    return f"{value:.{_DIGITS}f}".replace(".", style.decimal)


def _free_of_ours(name: str, others: Iterable[str], language: Language) -> str:
    """Return the key of an input's column: another name where one of ours for people is shown under its own."""
    bare, ours = name.removeprefix(_OWN), name == "found" or _ALTERNATIVE.fullmatch(name) is not None
    if _NUMBER.sub("1", fold_name(bare)) in _labelled(language) or (ours and language == "en"):
        return _free_name(bare, others, language)
    return f"{_OWN}{name}" if ours else name


def _flat_columns(columns: OutputColumns, language: Language) -> list[str]:
    given = [_free_of_ours(name, columns.given, language) for name in columns.given if name not in _RESULT_COLUMNS]
    alternatives = [f"alternative_{place}_{part}" for place in range(1, columns.alternatives + 1) for part in _PARTS]
    return given + _with_alternatives(columns.results(_PEOPLE), alternatives)


def _ordered_flat(columns: Iterable[str]) -> list[str]:
    names = list(columns)
    alternatives = [name for name in names if _ALTERNATIVE.fullmatch(name)]
    given = [name for name in names if name not in _PEOPLE and name not in alternatives]
    results = [name for name in _PEOPLE if name in names or name not in _SOMETIMES]
    return given + _with_alternatives(results, sorted(alternatives, key=_place))


def _place(name: str) -> tuple[int, int]:
    _, number, part = name.split("_")
    return int(number), _PARTS.index(part)


def _with_alternatives(results: Sequence[str], alternatives: Sequence[str]) -> list[str]:
    return [each for name in results for each in (alternatives if name == "alternatives" else [name])]


def _labels(language: Language, named: Sequence[str]) -> Callable[[str], str]:
    """Return what a column is called in a language; the input's keep their names."""
    labels = wording.labels(language)

    def label(name: str) -> str:
        if not labels or not _ALTERNATIVE.fullmatch(name):
            return labels.get(name, name) if name in _PEOPLE or name in named else name.removeprefix(_OWN)
        _, number, part = name.split("_")
        return _alternative_label(labels, number, part)

    return label


def _alternative_label(labels: Mapping[str, str], number: str, part: str) -> str:
    return f"{labels['alternative']} {number}: {labels[part]}"


@cache
def _labelled(language: Language) -> frozenset[str]:
    """Return what people see our columns called, folded; of the runners-up those of the first."""
    labels = wording.labels(language)
    named = [labels[name] for name in _PEOPLE if name in labels]
    alternatives = [_alternative_label(labels, "1", part) for part in _PARTS] if labels else []
    return frozenset(map(fold_name, named + alternatives))


def _tones(language: Language) -> Callable[[Mapping[str, OutCell]], dict[str, Tone]]:
    """Return which cells of a row a workbook colours: where the decision is not to accept."""
    words = wording.words(language)
    tones: dict[OutCell, Tone] = {words["review"]: "look", words["byHand"]: "stop"}

    def tone(row: Mapping[str, OutCell]) -> dict[str, Tone]:
        found = tones.get(row.get("decision"))
        return dict.fromkeys(("decision", "confidence"), found) if found else {}

    return tone
