"""The evaluation as one HTML page: no network, no script, plots as inline SVG, light and dark.

It is made of the dictionary that `summary.summarize` returns, so that a page can be made again from a
kept JSON file. It holds scores, counts, names and hashes, and no clinical text. What is missing there, or None, is a
dash here, or is left out.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from cielo.errors import TableError
from cielo.workbench.page import plots
from cielo.workbench.page.frame import (
    DASH,
    Markup,
    card,
    facts,
    header,
    keys,
    legend,
    markup,
    notices,
    page,
    table,
    tiles,
    wide,
    write,
)

_FEW_MENTIONS = 20  # a group of fewer is drawn faintly
_FEW_DOCUMENTS = 20  # from which intervals are not to be relied on
_SPLITS = {"test": "All mentions", "test_unseen": "Unseen in training", "test_seen": "Seen in training"}
_MEASURES: tuple[tuple[str, str, plots.Shape], ...] = (
    ("plii", "PLII", "circle"), ("pli", "PLI", "square"), ("accuracy_3", "3 characters", "diamond"),
)  # fmt: skip
_COLUMNS = (
    ("recall_at_3", "recall@3"), ("recall_at_5", "recall@5"), ("mrr", "MRR"), ("coverage", "answered"),
    ("accuracy_covered", "right of answered"), ("text_accuracy", "text"),
)  # fmt: skip
_QUALITIES: tuple[tuple[str, str, plots.Shape], ...] = (
    ("calibrated", "confidence", "circle"), ("raw", "probability as it is", "square"),
)  # fmt: skip
# Classes of errors as they are named in a bar, and in the style below.
_ERRORS = {
    "near: parent": "parent",
    "near: child": "child",
    "near: sibling": "sibling",
    "same chapter": "chapter",
    "other": "other",
    "wrong kind": "kind",
    "none": "none",
}
# Light enough in both schemes for the dark letters on them.
_STYLE = """.error-parent { fill: #9cc5f2; --key: #9cc5f2; }
.error-child { fill: #6ea9ea; --key: #6ea9ea; }
.error-sibling { fill: #86d3b4; --key: #86d3b4; }
.error-chapter { fill: #f3c75b; --key: #f3c75b; }
.error-other { fill: #f0918a; --key: #f0918a; }
.error-kind { fill: #c5a9ee; --key: #c5a9ee; }
.error-none { fill: #c6c3bc; --key: #c6c3bc; }
svg .inside { fill: #1d1c1a; }
.tiles { grid-template-columns: repeat(auto-fit, minmax(min(175px, 100%), 1fr)); }
.caveats { margin-top: 16px; padding: 14px 18px; }
.caveats .read { max-width: none; margin: 0; }
.caveats .read + .read { margin-top: 6px; }
td small { display: block; font-size: 12.5px; font-weight: 400; color: var(--soft); }
.skipped td, .skipped th { text-align: left; white-space: normal; }
.wide svg { min-width: 820px; }
.half svg { min-width: 0; max-width: 430px; }
.dense, .narrow { margin-top: 12px; }
.dense th { white-space: normal; vertical-align: bottom; }
.dense th, .dense td { padding-left: 7px; padding-right: 7px; }
.dense td:first-child { white-space: normal; min-width: 118px; }
.card .wide + .wide { margin-top: 14px; }
details { font-size: 14.5px; }
summary { cursor: pointer; font-weight: 550; }
"""


def write_page(path: Path, told: dict[str, Any]) -> None:
    """Write the page of an evaluation, whole or not at all.

    Args:
        path: of the HTML file.
        told: what `cielo.workbench.evaluation.summary.summarize` returned.

    Raises:
        TableError: where it cannot be written; it names `path`.
    """
    write(path, to_html(told), TableError)


def to_html(told: Mapping[str, Any]) -> str:
    """Return the page of an evaluation."""
    runs = _entries(told.get("runs"))
    corpus = _mapping(told.get("corpus"))
    name = _words(_mapping(told.get("about")).get("corpus"))
    sections = (
        _header(told),
        _headline(corpus, runs),
        _caveats(corpus, runs),
        _accuracy(runs),
        _comparisons(told),
        _curves(runs),
        _calibration(told),
        _groups(runs),
        _errors(runs),
        _codiesp(runs),
        _skipped(corpus),
        _definitions(),
        _settings(told, runs),
        _footer(),
    )
    return page(f"cielo evaluate: {name}", sections, _STYLE)


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _entries(value: object) -> list[Mapping[str, Any]]:
    return [entry for entry in value if isinstance(entry, Mapping)] if isinstance(value, list | tuple) else []


def _known(value: object) -> float | None:
    """Return a number that can be shown and drawn, else None."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def _figure(value: object, digits: int = 2) -> str:
    known = _known(value)
    return DASH if known is None else f"{known:,.{digits}f}"


def _count(value: object) -> str:
    return _figure(value, 0)


def _many(count: float, name: str) -> str:
    return f"{count:,.0f} {name}" if count == 1 else f"{count:,.0f} {name}s"


def _words(value: object) -> str:
    """Write a setting or a name."""
    if value is None or value == "" or (isinstance(value, float) and not math.isfinite(value)):
        return DASH
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return "; ".join(map(_words, value)) or DASH
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_words(entry)}" for name, entry in value.items()) or DASH
    return str(value)


def _name(run: Mapping[str, Any]) -> str:
    return _words(run.get("name"))


def _split(run: Mapping[str, Any], name: str = "test") -> Mapping[str, Any]:
    return _mapping(_mapping(run.get("splits")).get(name))


def _interval(split: Mapping[str, Any], measure: str) -> tuple[float | None, float | None]:
    found = _mapping(_mapping(split.get("intervals")).get(measure))
    return _known(found.get("low")), _known(found.get("high"))


def _with_interval(value: object, low: float | None, high: float | None) -> Markup:
    known = "" if low is None or high is None else f"<small>{low:.2f} to {high:.2f}</small>"
    return Markup(markup(_figure(value)) + (known if _known(value) is not None else ""))


def _header(told: Mapping[str, Any]) -> str:
    about = _mapping(told.get("about"))
    corpus_hash = f"@{str(about['corpus_sha256'])[:12]}" if about.get("corpus_sha256") else ""
    lines = []
    if about.get("bundle"):
        lines.append(f"bundle {_words(about['bundle'])}")
    elif about.get("encoder"):
        lines.append(f"stored outputs; encoder of {_words(about['encoder'])}")
    if about.get("knowledge_base"):
        lines.append(f"knowledge base: {_words(about['knowledge_base'])}")
    return header("cielo · evaluation", _words(about.get("corpus")), corpus_hash, lines)


def _best_known(split: Mapping[str, Any]) -> tuple[str, str]:
    """Return the key and the name of the measure that counts for a run: PLII where there is one, else PLI."""
    return ("plii", "PLII") if _known(split.get("plii")) is not None else ("pli", "PLI")


def _headline(corpus: Mapping[str, Any], runs: Sequence[Mapping[str, Any]]) -> str:
    split = _split(runs[0]) if runs else {}
    among = _known(corpus.get("documents"))
    documents = f" in {_many(among, 'document')}" if among else ""
    shown = [(_count(corpus.get("mentions")), f"annotated mentions{documents} were scored")]
    key, name = _best_known(split)
    if (value := _known(split.get(key))) is not None:
        low, high = _interval(split, key)
        interval = "" if low is None or high is None else f" (95\u00a0%: {low:.1f} to {high:.1f})"
        shown.append((f"{value:.1f} %", f"{name} of “{_name(runs[0])}”: the first code is right{interval}"))
    if (value := _known(split.get("accuracy_3"))) is not None:
        shown.append((f"{value:.1f} %", "are right in the first three characters of the code"))
    if (value := _known(split.get("coverage"))) is not None:
        right = _known(split.get("accuracy_covered"))
        beside = "" if right is None else f"; of these {right:.1f}\u00a0% are right"
        shown.append((f"{value:.1f} %", f"got a code{beside}"))
    shown.append((_count(corpus.get("skipped")), "places of the corpus were skipped"))
    return tiles(shown)


def _caveats(corpus: Mapping[str, Any], runs: Sequence[Mapping[str, Any]]) -> str:
    warnings = notices(_warnings(corpus, runs))
    return f'<div class="card caveats">{warnings}</div>\n' if warnings else ""


def _warnings(corpus: Mapping[str, Any], runs: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Say what makes the figures worth less than they look."""
    if skipped := _known(corpus.get("skipped")):
        yield f"{_many(skipped, 'place')} of the corpus could not be used: no score counts any (see “Skipped”)."
    if uncoded := _known(corpus.get("uncoded")):
        yield f"Left out, since no table maps their annotation to a code: {_many(uncoded, 'mention')}."
    documents = _known(corpus.get("documents"))
    if documents == 0:
        yield (
            "The corpus names no documents, so that the intervals take every mention for independent. Where mentions "
            "come from the same texts, the intervals are too narrow."
        )
    elif documents is not None and documents < _FEW_DOCUMENTS:
        yield f"Intervals are resampled from {_many(documents, 'document')} only: they are a rough guide, no more."
    if runs and not {"test_seen", "test_unseen"} & set(_mapping(runs[0].get("splits"))):
        yield "No training mentions were given: how many of these the model has seen before is not known."


def _accuracy(runs: Sequence[Mapping[str, Any]]) -> str:
    if not runs:
        return '<h2>Runs</h2>\n<div class="card"><p>No run was made.</p></div>\n'
    parts = []
    names = list(dict.fromkeys(name for run in runs for name in _mapping(run.get("splits"))))
    for name in names:
        title = _SPLITS.get(name, name)
        if name != "test" and all(_same(_split(run), _split(run, name)) for run in runs):
            words = f"{title}: these are all mentions, the scores are the same."
            parts.append(f'<div class="card"><p>{markup(words)}</p></div>\n')
        else:
            parts.append(_accuracy_card(runs, name, title))
    return f"<h2>Runs</h2>\n{''.join(parts)}"


def _same(whole: Mapping[str, Any], part: Mapping[str, Any]) -> bool:
    return bool(whole) and dict(whole) == dict(part)


def _accuracy_card(runs: Sequence[Mapping[str, Any]], name: str, title: str) -> str:
    splits = [(run, split) for run in runs if (split := _split(run, name))]
    rows = [
        plots.Row(_name(run), found, _accuracy_note(split)) for run, split in splits if (found := _estimates(split))
    ]
    picture = ""
    if rows:
        shapes = legend((plots.shape_key(shape), label) for _, label, shape in _MEASURES)
        alternative = f"{title}: accuracy of each run with its interval; the table below has the figures"
        picture = shapes + wide(plots.intervals(rows, "share of mentions that are right, %", alternative))
    head = ("run", "PLI", "PLII", "3 characters", *(label for _, label in _COLUMNS), "seconds")
    figures = table(head, [_scores_row(run, split, name) for run, split in splits])
    what = (
        f"{_count(splits[0][1].get('count') if splits else None)} mentions. All figures in per cent, but for seconds."
    )
    read = (
        "How to read it: a mark is the share of mentions that a run has right, its bar the 95 % interval; the axis "
        "need not begin at nought. Whether two runs differ is told by their comparison, not by bars that overlap."
    )
    return card(title, what, picture, read, f'<div class="dense">{figures}</div>')


def _estimates(split: Mapping[str, Any]) -> list[plots.Estimate]:
    return [
        plots.Estimate(label, value, *_interval(split, key), shape)
        for key, label, shape in _MEASURES
        if (value := _known(split.get(key))) is not None
    ]


def _accuracy_note(split: Mapping[str, Any]) -> str:
    key, label = _best_known(split)
    return f"{label} {_figure(split.get(key), 1)}"


def _scores_row(run: Mapping[str, Any], split: Mapping[str, Any], name: str) -> list[str]:
    return [
        _name(run),
        *(_with_interval(split.get(key), *_interval(split, key)) for key in ("pli", "plii", "accuracy_3")),
        *(_figure(split.get(key)) for key, _ in _COLUMNS),
        _seconds(run.get("seconds")) if name == "test" else DASH,
    ]


def _seconds(value: object) -> str:
    known = _known(value)
    return _figure(known, 1 if known is not None and known >= 10 else 2)


def _comparisons(told: Mapping[str, Any]) -> str:
    entries = [entry for entry in _entries(told.get("comparisons")) if _known(entry.get("difference")) is not None]
    missed = _missed(_mapping(told.get("published_missed")))
    if not entries:
        return f'<h2>Comparisons</h2>\n<div class="card"><p>{markup(missed)}</p></div>\n' if missed else ""
    against = _words(entries[0].get("against"))
    rows = [
        plots.Row(
            _words(entry.get("run")),
            [plots.Estimate("difference", float(entry["difference"]), *_ends(entry))],
            _signed(entry["difference"]),
        )
        for entry in entries
    ]
    alternative = f"Difference of each run to “{against}”, in percentage points; the table below has the figures"
    label = f"difference to “{plots.shorten(against, 40)}”, percentage points"
    picture = wide(plots.intervals(rows, label, alternative, bounds=(-100, 100), reference=0))
    head = ("run", "difference", "p", "p (McNemar)", "right in it alone", "right in the first alone", "both", "neither")
    figures = table(head, map(_comparison_row, entries))
    read = (
        "How to read it: right of the broken line a run has more first codes right than the first run, left of it "
        "fewer; where its bar reaches the line, the two are not told apart. p: how often chance alone would make a "
        "difference as large, by changing the two runs’ places document by document. It is not corrected for the "
        "number of comparisons: of twenty runs that differ in nothing, one is expected to fall below 0.05."
    )
    extra = f'<div class="dense">{figures}</div>' + (f'<p class="read">{markup(missed)}</p>\n' if missed else "")
    what = f"Each run against “{against}”, on the same mentions, all of them."
    return f"<h2>Comparisons</h2>\n{card('Against the first run', what, picture, read, extra)}"


def _ends(entry: Mapping[str, Any]) -> tuple[float | None, float | None]:
    return _known(entry.get("low")), _known(entry.get("high"))


def _signed(value: object) -> str:
    known = _known(value)
    return DASH if known is None else f"{known:+.2f}"


def _comparison_row(entry: Mapping[str, Any]) -> list[str]:
    low, high = _ends(entry)
    interval = "" if low is None or high is None else f"<small>{low:+.2f} to {high:+.2f}</small>"
    counts = ("only_second", "only_first", "both", "neither")
    return [
        _words(entry.get("run")),
        Markup(markup(_signed(entry.get("difference"))) + interval),
        _chance(entry.get("p_value")),
        _chance(entry.get("mcnemar_p_value")),
        *(_count(entry.get(name)) for name in counts),
    ]


def _chance(value: object) -> str:
    known = _known(value)
    return DASH if known is None else f"{known:.3g}"


def _missed(found: Mapping[str, Any]) -> str:
    share = _known(found.get("share"))
    if share is None:
        return ""
    return (
        f"The reference search missed an output that is better by its own score on {share:.1f} % of "
        f"{_count(found.get('prompts'))} prompts ({_count(found.get('missed'))}); the other searches here found it."
    )


def _curves(runs: Sequence[Mapping[str, Any]]) -> str:
    series = [plots.Series(_name(run), points) for run in runs if (points := _points(run))]
    if not series:
        return ""
    alternative = "Accuracy of the answers that are left over the share of mentions that keep one, for each run"
    picture = wide(plots.curves(series, "mentions that get a code (coverage), %", "right of these, %", alternative))
    areas = [(_name(run), _figure(run.get("risk_coverage_area"), 4)) for run in runs]
    read = (
        "How to read it: where a curve ends at the right, every answer counts. Towards the left the least sure ones "
        "are withheld, and what is left should be right more often; a curve that does not rise says that the model’s "
        "sureness tells nothing. At the far left few answers are left, and the curve jumps. Area of risk: of the "
        "whole curve, mentions without an answer counted as wrong; less is better."
    )
    what = "Sureness is the confidence where the bundle is calibrated, else the probability of the generated text."
    extra = f'<div class="narrow">{table(("run", "area of risk (AURC)"), areas)}</div>'
    return f"<h2>Withholding answers</h2>\n{card('Accuracy over coverage', what, picture, read, extra)}"


def _points(run: Mapping[str, Any]) -> list[tuple[float, float]]:
    known = (
        (_known(point.get("coverage")), _known(point.get("accuracy"))) for point in _entries(run.get("coverage_curve"))
    )
    return [(coverage, accuracy) for coverage, accuracy in known if coverage is not None and accuracy is not None]


def _groups(runs: Sequence[Mapping[str, Any]]) -> str:
    if not runs:
        return ""
    found = _mapping(runs[0].get("breakdown"))
    shown: list[tuple[str, str, object]] = [
        ("By kind", "The kind that the annotators gave.", found.get("kinds")),
        ("By method", "How the answer was found; mentions without an answer count as wrong.", found.get("methods")),
    ]
    for kind, chapters in _mapping(found.get("chapters")).items():
        shown.append((f"By chapter: {kind}", "The chapter, or section, of the right code.", chapters))
    cards = "".join(_group_card(title, what, _mapping(groups)) for title, what, groups in shown)
    if not cards:
        return ""
    lead = f"Of the first run, “{_name(runs[0])}”: the share of first codes that are right, all mentions."
    return f'<h2>Where it is right</h2>\n<p class="lead">{markup(lead)}</p>\n<div class="grid two">\n{cards}</div>\n'


def _group_card(title: str, what: str, groups: Mapping[str, Any]) -> str:
    rows, few = [], 0
    for name, entry in groups.items():
        scores = _mapping(entry)
        value, size = _known(scores.get("accuracy")), _known(scores.get("count"))
        if value is not None:
            few += (faint := size is not None and size < _FEW_MENTIONS)
            rows.append(plots.Bar(_words(name), value, _known(scores.get("accuracy_3")), f"n {_count(size)}", faint))
    if not rows:
        return ""
    picture = plots.bars(rows, "share that is right, %", f"{title}: accuracy of each group and its mentions")
    read = "How to read it: a bar is the first code, the stroke its first three characters; n counts mentions."
    if few:
        read += f" Faint bars rest on fewer than {_FEW_MENTIONS} mentions."
    return card(title, what, f'<div class="wide half">{picture}</div>', read)


def _errors(runs: Sequence[Mapping[str, Any]]) -> str:
    found = [(run, shares) for run in runs if (shares := _shares(run))]
    if not found:
        return ""
    stacks = [plots.Stack(_name(run), f"{100 * sum(shares.values()):.1f} % wrong", shares) for run, shares in found]
    most = max(sum(shares.values()) for _, shares in found)
    full = most if most > 0 else 1.0
    names = list(dict.fromkeys(name for _, shares in found for name in shares))
    alternative = "Share of each kind of mistake in all mentions, for each run; the table below has the counts"
    picture = keys((f"error-{name}", _LONG[name]) for name in names) + wide(
        plots.stacked(
            stacks,
            alternative,
            lambda name: f"error-{name}",
            full=full,
            left=plots.room_for([stack.name for stack in stacks]),
            least=88,
            axis="share of all mentions, %",
        )
    )
    figures = table(("mentions", *(_name(run) for run, _ in found)), _error_counts([run for run, _ in found]))
    counts = f'<div class="{"dense" if len(found) > 2 else "narrow"}">{figures}</div>'
    read = (
        "How to read it: a bar is the share of mentions that are wrong, its parts how far their codes lie from the "
        "right ones, from near (left) to far. Of each class the table gives the number of mentions."
    )
    first = _sureness(found[0][0])
    what = "Every wrong answer has one class: what its code is to the right code that it lies nearest to."
    return f"<h2>Mistakes</h2>\n{card('Kinds of mistakes', what, picture, read, counts)}{first}"


_LONG = {
    "parent": "parent: the answer is less specific",
    "child": "child: the answer is more specific",
    "sibling": "sibling: of the same category",
    "chapter": "same chapter, or section",
    "other": "anything else",
    "kind": "of the wrong kind",
    "none": "no answer",
}


def _shares(run: Mapping[str, Any]) -> dict[str, float]:
    """Return the share of each class of mistakes in all mentions, in [0, 1], without those that are not known."""
    found = {_words(entry.get("name")): _known(entry.get("share")) for entry in _entries(run.get("errors"))}
    return {short: share / 100 for name, short in _ERRORS.items() if (share := found.get(name)) is not None}


def _error_counts(runs: Sequence[Mapping[str, Any]]) -> Iterator[list[str]]:
    counted = [{_words(entry.get("name")): entry.get("count") for entry in _entries(run.get("errors"))} for run in runs]
    for name in ("right", *_ERRORS):
        yield [name, *(_count(counts.get(name)) for counts in counted)]


def _sureness(run: Mapping[str, Any]) -> str:
    """Show how sure the answers of each class were."""
    measures = (("confidence", "confidence"), ("probability", "probability"), ("distance", "distance"))
    entries = [entry for entry in _entries(run.get("errors")) if _known(entry.get("count"))]
    shown = [(key, label) for key, label in measures if any(_mapping(entry.get(key)) for entry in entries)]
    if not shown:
        return ""
    rows = [[_words(entry.get("name")), _count(entry.get("count")), *(_quartiles(entry.get(key)) for key, _ in shown)]
            for entry in entries]  # fmt: skip
    figures = table(("class", "mentions", *(f"{label}, median" for _, label in shown)), rows)
    what = f"Of “{_name(run)}”: the median, and below it the quartiles, of the mentions that have such a value."
    read = "How to read it: mistakes that are as sure as right answers are those that no threshold will withhold."
    return card("How sure right and wrong answers are", what, figures, read)


def _quartiles(value: object) -> Markup:
    spread = _mapping(value)
    low, high = _known(spread.get("low")), _known(spread.get("high"))
    beside = "" if low is None or high is None else f"<small>{low:.3f} to {high:.3f}</small>"
    return Markup(markup(_figure(spread.get("median"), 3)) + beside)


def _calibration(told: Mapping[str, Any]) -> str:
    """Show how far confidences can be taken at their word, where the bundle was calibrated."""
    cards = "".join(
        _reliability_card(decoding, _mapping(entry)) for decoding, entry in _mapping(told.get("calibration")).items()
    )
    return f'<h2>Confidence</h2>\n<div class="grid two">\n{cards}</div>\n' if cards else ""


def _reliability_card(decoding: str, told: Mapping[str, Any]) -> str:
    sets = [(name, shape, groups) for key, name, shape in _QUALITIES if (groups := _bins(_mapping(told.get(key))))]
    if not sets:
        return ""
    picture = plots.agreement(
        sets, "mean confidence of a bin", "share that is right", f"Reliability, {decoding}: confidence against accuracy"
    )
    shapes = legend((plots.shape_key(shape), name) for name, shape, _ in sets)
    rows = [
        [f"{one.low:.3f} to {one.high:.3f}", f"{one.confidence:.3f}", f"{one.accuracy:.3f}", f"{one.count:,}"]
        for one in sets[0][2]
    ]
    errors = table(
        ("", "calibration error", "Brier", "log-loss, nats"),
        [[name, *(_figure(_mapping(told.get(key)).get(measure), 3)
                  for measure in ("expected_calibration_error", "brier", "log_loss"))]
         for key, name, _ in _QUALITIES if _mapping(told.get(key))],
    )  # fmt: skip
    bins = table((sets[0][0], "mean", "right", "mentions"), rows)
    tables = f'<div class="narrow">{errors}{bins}</div>'
    what = f"{_count(told.get('mentions'))} links, each by a calibration that did not see its text."
    read = (
        "How to read it: on the broken line a confidence of 0.9 is right nine times of ten; marks below it are too "
        "sure of themselves. A bar is the range of a bin, the figure at a mark its mentions. Errors: less is better."
    )
    return card(f"Reliability: {decoding}", what, f'{shapes}<div class="wide half">{picture}</div>', read, tables)


def _bins(quality: Mapping[str, Any]) -> list[plots.Group]:
    found = []
    for entry in _entries(quality.get("bins")):
        values = [_known(entry.get(name)) for name in ("low", "high", "confidence", "accuracy", "count")]
        low, high, confidence, accuracy, count = (0.0 if value is None else value for value in values)
        if None not in values:
            found.append(plots.Group(low, high, confidence, accuracy, int(count)))
    return found


def _codiesp(runs: Sequence[Mapping[str, Any]]) -> str:
    found = [(run, told) for run in runs if (told := _mapping(run.get("codiesp")))]
    if not found:
        return ""
    ranked = [
        [_name(run), kind, *_ranked_row(_mapping(entry))]
        for run, told in found
        for kind, entry in told.items()
        if "map" in _mapping(entry)
    ]
    placed = [
        [_name(run), title, *_micro_row(_mapping(told.get(key)))]
        for run, told in found
        for key, title in (("positions", "as the task’s script"), ("matched_positions", "mention by mention"))
        if _mapping(told.get(key))
    ]
    parts = []
    if ranked:
        head = (
            "run",
            "kind",
            "MAP",
            "MAP (script)",
            "documents",
            "precision",
            "recall",
            "F1",
            "right",
            "answered",
            "gold",
        )
        parts.append(table(head, ranked))
    if placed:
        parts.append(table(("run", "positions", "precision", "recall", "F1", "right", "answered", "gold"), placed))
    read = (
        "In [0, 1], as the task’s script prints them. MAP: mean average precision of each document’s codes, the surest "
        "first, over the documents that have right codes; the script divides by those for which something was "
        "answered. Precision, recall and F1 are over the distinct codes of each document; mention by mention, over all "
        "mentions. The mentions’ places are the annotators’, not found by cielo: this is an easier task than CodiEsp’s."
    )
    return f"<h2>CodiEsp’s measures</h2>\n{card('Documents and positions', '', '', read, ''.join(parts))}"


def _ranked_row(entry: Mapping[str, Any]) -> list[str]:
    mean = _mapping(entry.get("map"))
    values = [_figure(mean.get("value"), 3), _figure(mean.get("script"), 3), _count(mean.get("documents"))]
    return [*values, *_micro_row(_mapping(entry.get("micro")))]


def _micro_row(micro: Mapping[str, Any]) -> list[str]:
    shares = [_figure(micro.get(name), 3) for name in ("precision", "recall", "f1")]
    return [*shares, *(_count(micro.get(name)) for name in ("right", "predicted", "gold"))]


def _skipped(corpus: Mapping[str, Any]) -> str:
    places = _entries(corpus.get("skipped_places"))
    count = _known(corpus.get("skipped")) or 0
    if not places and not count:
        return ""
    rows = [[_words(entry.get("place")), _words(entry.get("reason"))] for entry in places]
    listed_of = f"{len(places):,} of " if len(places) < count else ""
    shown = listed_of + _many(max(count, len(places)), "place")
    listed = table(("place", "reason"), rows) if rows else ""
    return (
        f'<h2>Skipped</h2>\n<div class="card skipped"><details{" open" if len(places) <= 10 else ""}>'
        f"<summary>{shown}</summary>\n{listed}</details></div>\n"
    )


_DEFINITIONS = (
    ("PLI", "The share of mentions whose first code is right where only an exact match of the generated text counts."),
    ("PLII", "The same where, without an exact match, the nearest description answers. A run of pipeline I has none."),
    ("3 characters", "The first three characters of the code are those of a right one."),
    ("recall@3, recall@5", "A right code is among the first three, or five, candidates."),
    ("MRR", "A hundred times the mean of 1 / place of the first right candidate, nought where there is none."),
    ("answered", "The share of mentions that got a code: the coverage. A mention without one counts as wrong."),
    ("right of answered", "The share of right first codes among the mentions that got one."),
    ("text", "The generated text equals the right code’s description to the letter, where the corpus names it."),
    ("right", "Codes are compared by letters and digits alone; where a mention has several, any of them will do."),
    ("unseen, seen", "Whether the mention’s text occurs among the training mentions that were given."),
    ("95 % interval", "Of the scores when whole documents, or mentions without one, are drawn again at random."),
)


def _definitions() -> str:
    return f"<h2>What the words mean</h2>\n{facts('Definitions', _DEFINITIONS)}"


def _settings(told: Mapping[str, Any], runs: Sequence[Mapping[str, Any]]) -> str:
    about = [(name.replace("_", " "), _words(value)) for name, value in _mapping(told.get("about")).items()]
    corpus = _mapping(told.get("corpus"))
    about += [(name, _count(corpus.get(name))) for name in ("mentions", "documents", "skipped", "uncoded")]
    settings = [_mapping(run.get("settings")) for run in runs]
    names = list(dict.fromkeys(name for one in settings for name in one))
    alike = [name for name in names if len({_words(one.get(name)) for one in settings}) == 1]
    common = [(name.replace("_", " "), _words(settings[0].get(name))) for name in alike]
    cards = facts("Evaluated", [*about, *_intervals_of(runs)])
    cards += facts("Settings of every run", common) if common else ""
    other = [name for name in names if name not in alike]
    rows = [[_name(run), *(_words(one.get(name)) for name in other)] for run, one in zip(runs, settings, strict=True)]
    differing = table(("run", *(name.replace("_", " ") for name in other)), rows) if other else ""
    beside = f'<div class="card"><h3>Settings in which the runs differ</h3>\n{differing}</div>\n' if other else ""
    return f'<h2>Settings</h2>\n<div class="grid two">\n{cards}</div>\n{beside}'


def _intervals_of(runs: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    intervals = _mapping(_split(runs[0]).get("intervals")) if runs else {}
    first = next((_mapping(entry) for entry in intervals.values()), {})
    level = _known(first.get("level"))
    if level is None:
        return []
    words = f"{100 * level:g} %, {_count(first.get('resamples'))} resamples of {_count(first.get('clusters'))} "
    return [("intervals", words + "documents, or mentions without one")]


def _footer() -> str:
    return (
        "<footer><p>Scores are of this corpus: on other texts, other annotators and other kinds they will differ. This "
        "page holds scores, counts, names and hashes, and none of the texts that were linked.</p></footer>\n"
    )
