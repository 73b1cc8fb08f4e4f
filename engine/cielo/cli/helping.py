"""What `--help` shows beside the words of each command: its options in groups, and an example that can be run."""

from __future__ import annotations

import click

# The groups in their order, and the options of all commands that belong to each, in theirs.
GROUPS: dict[str, str] = {
    "Input and output": "--sentence --input --input-format --kb --table --synonyms --workload --limit --only-errors "
    "--output --format --json --html --tsv --with-text --rejected --unwritable --errors --overwrite --dry-run",
    "Tables": "--encoding --sheet --delimiter --bom --decimal --text-column --sentence-column --kind-column "
    "--id-column --code-column --description-column --guard-formulas",
    "Which codes": "--kind --chapter --leaf --codes --lexicon --edition --system --code-system",
    "How it is searched": "--decoding --pipeline --matching --rerank --proven --max-passes",
    "What is answered": "--top-k --min-confidence --max-distance --accept --review --language",
    "Annotations and scores": "--predictions --split --cui-map --code-map --train --outside --beside --as-published "
    "--resamples --minimum-count --minimum-purity --any-kind",
    "Measuring": "--parity --scenario --seconds --rate --prompts --rounds",
    "A long run": "--rows --resume --takeover --engine --address --actors --events",
    "Model and machine": "--bundle --backend --use --device --compute-type --threads --memory --cache --verify "
    "--allow-unverified",
    "The service": "--config --print-config --host --port --allowed-host --keys --allow-without-key --log-level",
    "Limits of the service": "--max-mentions --max-characters --max-document-characters --max-body --max-connections "
    "--queue-tokens --queue-seconds --batch-tokens --request-seconds --header-seconds --body-seconds --drain-seconds "
    "--hang-seconds",
    "What is fetched": "--sources --generator --encoder --raw-base --accept-licence --skip-checks",
    "Forms of other tools": "--type --terminology --subject --number-notes --concepts --vocabulary",
    "Messages and help": "--quiet --verbose --version --help",
}
OTHER = "Other options"
# By the words of each command. Tests run them in a folder that holds the files that they name.
EXAMPLES: dict[str, tuple[str, ...]] = {
    "": ('cielo link "TC abdominal" --sentence "La TC abdominal es normal."', "cielo doctor"),
    "bench": ("cielo bench --scenario single-stream --seconds 5 --html speed.html",),
    "bulk": ("cielo bulk mentions.csv --output archive --format csv",),
    "calibrate": ("cielo calibrate bundle annotated.tsv --output calibrated",),
    "completion": ("cielo completion bash > cielo.bash",),
    "convert": (
        "cielo convert medical-mt5-large --output bundle --dry-run",
        "cielo convert recipe.toml --output bundle",
    ),
    "documents": ("cielo documents notes.jsonl --output document-links.csv",),
    "doctor": ("cielo doctor", "cielo doctor --bundle bundle --json"),
    "evaluate": ("cielo evaluate annotated.tsv --html report.html",),
    "info": ("cielo info", "cielo info bundle --json"),
    "kb": ("cielo kb search hipotermia",),
    "kb build": ("cielo kb build kb.sqlite --table diagnosis=codes.tsv",),
    "kb diff": ("cielo kb diff bundle procedure=procedures.tsv",),
    "kb fetch": ("cielo kb fetch",),
    "kb info": ("cielo kb info",),
    "kb replace": ("cielo kb replace bundle --table procedure=procedures.tsv --output next",),
    "kb search": ("cielo kb search hipotermia --limit 5",),
    "kb show": ("cielo kb show T68",),
    "lexicon": ("cielo lexicon check lexicon.tsv",),
    "lexicon build": ("cielo lexicon build annotated.tsv --output lexicon.tsv",),
    "lexicon check": ("cielo lexicon check lexicon.tsv",),
    "link": (
        'cielo link "TC abdominal" --sentence "La TC abdominal es normal."',
        "cielo link --input mentions.csv --output links.csv",
        "cielo link --input mentions.csv --output links.xlsx --language es",
        "CIELO_LANGUAGE=es cielo link tos",
    ),
    "serve": ("cielo serve --port 8080",),
    "tune": ("cielo tune",),
    "verify": ("cielo verify --parity",),
}


def write_options(command: click.Command, context: click.Context, formatter: click.HelpFormatter) -> None:
    """Write a command's options in their groups."""
    groups: dict[str, list[tuple[click.Option, tuple[str, str]]]] = {}
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if record is not None and isinstance(parameter, click.Option):
            groups.setdefault(group_of(parameter), []).append((parameter, record))
    for name in (*GROUPS, OTHER):
        if name in groups:
            with formatter.section(name):
                places = GROUPS.get(name, "").split()
                formatter.write_dl(
                    [record for _, record in sorted(groups[name], key=lambda entry: _place(entry[0], places))]
                )


def _place(option: click.Option, places: list[str]) -> int:
    return min((places.index(name) for name in option.opts if name in places), default=len(places))


def group_of(option: click.Option) -> str:
    """Return the name of an option's group."""
    return next((name for name, options in GROUPS.items() if set(option.opts) & set(options.split())), OTHER)


def write_examples(context: click.Context, formatter: click.HelpFormatter) -> None:
    """Write the examples of the command of a context."""
    words: list[str] = []
    while context.parent is not None:
        words.insert(0, context.info_name or "")
        context = context.parent
    examples = EXAMPLES.get(" ".join(words), ())
    if examples:
        with formatter.section("Example" if len(examples) == 1 else "Examples"):
            for example in examples:  # as it stands: a line that is broken cannot be pasted
                formatter.write(f"{'':{formatter.current_indent}}{example}\n")
