"""Fuzzed rows: no good row is lost, changed or answered in another's place; ``python -m tests.faults.rows --help``.

Tables of mentions are written in a random format, dialect and encoding, and faults are planted in some of their rows: a
stray quote, a row too short or too long or without a text, bytes that are no text, a line that is no JSON, an unknown
kind. Each table is linked by the command. Every good row must come back once, in its order, with the link that its
mention gets alone; every planted one must come back with an error, or not at all where its line ends were destroyed.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import random
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cielo import Linker, Mention
from cielo.cli import main
from click.testing import CliRunner

TEXTS = (
    "tos seca", "TC abdominal", "fractura de fémur", "HTA", "neumonía", "cefalea", "dolor; intenso", "niño, febril",
    'signo de "la tecla"', "anemia\tcrónica", "diabetes mellitus tipo 2", "asma", "0210", "NA", "=1+1", "ñ",
)  # fmt: skip
ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "cp1252")


@dataclass(frozen=True, slots=True)
class Planted:
    """A table: its bytes, its good rows by id, and how many bad ones were planted."""

    content: bytes
    name: str
    good: dict[str, str]
    bad: int


def sentence(text: str) -> str:
    return f"Paciente con {text}."


def flat(dice: random.Random, count: int) -> Planted:
    """Return a CSV or TSV with faults in it."""
    kind = dice.choice(["csv", "csv", "tsv"])
    delimiter = "\t" if kind == "tsv" else dice.choice(",;\t")
    encoding = dice.choice(ENCODINGS)
    lines, good, bad = [delimiter.join(("id", "text", "sentence"))], {}, 0
    for number in range(count):
        name, text = f"r{number}", dice.choice(TEXTS)
        text = text.replace("\t", " ")
        if kind == "tsv":
            text = text.replace('"', "")
        if dice.random() > 0.08:
            good[name] = text
            lines.append(written([name, text, sentence(text)], delimiter, kind))
            continue
        bad += 1
        fault = dice.choice(["short", "long", "quote", "empty"] if kind == "csv" else ["short", "long", "empty"])
        lines.append({
            "short": name, "long": delimiter.join([name, "tos", "Tos.", "x", "y", "z"]),
            "empty": delimiter.join([name, " ", "Tos."]),
            "quote": delimiter.join([name, "fiebre", '"Paciente con fiebre']),
        }[fault])  # fmt: skip
    ends = dice.choice(["\n", "\r\n"])
    return Planted((ends.join(lines) + ends).encode(encoding), f"rows.{kind}", good, bad)


def written(cells: Sequence[str], delimiter: str, kind: str) -> str:
    if kind == "tsv":
        return delimiter.join(cells)
    stream = io.StringIO()
    csv.writer(stream, delimiter=delimiter, lineterminator="").writerow(cells)
    return stream.getvalue()


def lines_of_json(dice: random.Random, count: int) -> Planted:
    """Return JSON Lines with faults in them."""
    lines, good, bad = [], {}, 0
    for number in range(count):
        name, text = f"r{number}", dice.choice(TEXTS)
        if dice.random() > 0.08:
            good[name] = text
            lines.append(json.dumps({"id": name, "text": text, "sentence": sentence(text)}).encode())
            continue
        bad += 1
        lines.append(dice.choice([
            b"{", b"[1]", b'{"id": "x", "id": "y", "text": "tos"}', b'{"text": 5}', b'{"text": ""}', b"\xff\xfe\xfd",
            b'{"text": "tos", "kind": "oncology"}', b'{"text": NaN}', b'"tos"',
        ]))  # fmt: skip
    return Planted(b"\n".join(lines) + b"\n", "rows.jsonl", good, bad)


def problems(planted: Planted, alone: dict[str, str | None], folder: Path) -> list[str]:
    """Link a table by the command, and return what is wrong with the output."""
    source, target = folder / planted.name, folder / "out.jsonl"
    source.write_bytes(planted.content)
    target.unlink(missing_ok=True)
    result = CliRunner().invoke(main, ["link", "--input", str(source), "--output", str(target), "--top-k", "1"])
    if result.exit_code not in (0, 3):
        return [f"exit code {result.exit_code}: {result.output[-300:]!r} {result.exception!r}"]
    rows = [json.loads(line) for line in target.read_text(encoding="utf-8").splitlines()]
    answered = [row for row in rows if "error" not in row]
    names = [row["id"] for row in answered]
    found = []
    if names != list(planted.good):
        found.append(f"good rows are lost or out of order: {sorted(set(planted.good) ^ set(names))[:5]}")
    found += [
        f"{row['id']}: another answer"
        for row in answered
        if row["id"] in planted.good and row["code"] != alone[planted.good[row["id"]]]
    ]
    if (result.exit_code == 3) != (len(rows) > len(answered)):
        found.append(f"exit code {result.exit_code} with {len(rows) - len(answered)} errors")
    if len(rows) - len(answered) < planted.bad:
        found.append(f"{planted.bad} faults were planted, {len(rows) - len(answered)} errors came back")
    return found


def campaign(rows: int, seed: int, a_table: int = 200) -> int:
    """Fuzz so many rows; print each problem, and return how many tables have one."""
    dice = random.Random(seed)
    texts = set(TEXTS) | {text.replace("\t", " ") for text in TEXTS}
    texts |= {text.replace('"', "") for text in texts}
    with Linker.open(device="cpu", cache=False) as linker:
        alone = {text: linker.link([Mention(text, sentence(text))])[0].code for text in sorted(texts)}
    wrong = bad = 0
    with tempfile.TemporaryDirectory() as name:
        for number in range(-(-rows // a_table)):
            planted = dice.choice([flat, flat, lines_of_json])(dice, a_table)
            bad += planted.bad
            if found := problems(planted, alone, Path(name)):
                wrong += 1
                print(f"table {number} ({planted.name}): {'; '.join(found)}")
    print(f"seed {seed}: {rows:,} rows in {-(-rows // a_table)} tables, {bad:,} with a fault; {wrong} tables are wrong")
    return wrong


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    sys.exit(min(1, campaign(options.rows, options.seed)))
