"""Data of the small demonstration model: term tables, training examples, development and held-out files.

The tables (``terms/*.tsv``) and the sentences (``sentences.tsv``) are written by hand (CC0-1.0); everything else is
drawn from them with a fixed seed. Run as a program, this writes ``dev.tsv`` and ``heldout.tsv``, which are part of
the repository: their texts, in normal form, are never drawn for training.
"""

from __future__ import annotations

import argparse
import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

from cielo.text.normal import normal_form
from cielo.text.prompt import build_prompt
from unidecode import unidecode

FOLDER = Path(__file__).resolve().parent
WINDOW = 60  # characters of the sentence on each side of the mention

# Tables that win where a mention stands under two codes: their codes are the more specific ones.
FIRST_TABLES = ("detailed.tsv", "procedures.tsv")

# Ways of writing which change nothing about the code. Read in both directions only where the short form is
# unambiguous (third field).
SWAPS: tuple[tuple[str, str, bool], ...] = (
    ("hipertensión arterial", "HTA", True),
    ("diabetes mellitus", "DM", True),
    ("infarto agudo de miocardio", "IAM", True),
    ("accidente cerebrovascular", "ACV", True),
    ("insuficiencia cardíaca", "IC", False),
    ("insuficiencia cardiaca", "IC", False),
    ("insuficiencia renal", "IR", False),
    ("insuficiencia", "insuf.", True),
    ("infección del tracto urinario", "ITU", True),
    ("infección de orina", "ITU", False),
    ("enfermedad pulmonar obstructiva crónica", "EPOC", True),
    ("enfermedad renal crónica", "ERC", True),
    ("trombosis venosa profunda", "TVP", True),
    ("tromboembolismo pulmonar", "TEP", True),
    ("traumatismo craneoencefálico", "TCE", True),
    ("fibrilación auricular", "FA", True),
    ("virus de la inmunodeficiencia humana", "VIH", True),
    ("virus de la hepatitis C", "VHC", True),
    ("virus de la hepatitis B", "VHB", True),
    ("resonancia magnética", "RM", True),
    ("resonancia magnética", "RMN", True),
    ("tomografía computarizada", "TC", True),
    ("tomografía axial computarizada", "TAC", True),
    ("TC", "TAC", True),
    ("ecografía", "eco", True),
    ("ecocardiograma", "ecocardio", True),
    ("radiografía", "Rx", True),
    ("electrocardiograma", "ECG", True),
    ("electroencefalograma", "EEG", True),
    ("enfermedad", "enf.", True),
    ("síndrome", "sd.", True),
    ("síndrome", "sínd.", True),
    ("fractura", "fx", True),
    ("fractura", "fract.", True),
    ("carcinoma", "ca.", False),
    ("cáncer", "ca", True),
    ("neoplasia", "neo", True),
    ("adenocarcinoma", "adenoca", True),
    ("metástasis", "mtx", True),
    ("infección", "infecc.", True),
    ("intoxicación", "intox.", True),
    ("traumatismo", "trauma", True),
    ("hemorragia", "hemorr.", True),
    ("izquierda", "izq.", True),
    ("izquierdo", "izq", False),
    ("derecha", "dcha.", True),
    ("derecho", "dcho.", True),
    ("crónica", "crón.", True),
    ("aguda", "ag.", True),
    ("tratamiento", "tto.", True),
    ("cirugía", "cir.", True),
    ("arteria", "art.", True),
    ("articulación", "artic.", True),
    ("síndrome de apnea obstructiva del sueño", "SAOS", True),
    ("esclerosis lateral amiotrófica", "ELA", True),
    ("intervención quirúrgica", "IQ", True),
    ("secundario a", "2º a", True),
    ("secundaria a", "2ª a", True),
    ("secundaria a", "por", False),
    ("debido a", "por", False),
    ("debida a", "por", False),
    ("con", "c/", True),
    ("sin", "s/", True),
)

# Words around a mention that say nothing about its code; `{}` is the mention.
MODIFIERS: dict[str, tuple[str, ...]] = {
    "diagnosis": (
        "{} de larga evolución",
        "{} conocida",
        "{} conocido",
        "{} a estudio",
        "{} en estudio",
        "{} en seguimiento",
        "{} en tratamiento",
        "{} de reciente diagnóstico",
        "{} de años de evolución",
        "{} de varios días de evolución",
        "{} ya diagnosticada",
        "{} en el momento actual",
        "{} sin tratamiento",
        "{} en control",
        "{} confirmada",
        "{} desde la infancia",
        "probable {}",
        "posible {}",
        "sospecha de {}",
        "cuadro de {}",
        "episodio de {}",
        "nuevo episodio de {}",
        "clínica de {}",
        "diagnóstico de {}",
        "signos de {}",
        "cuadro compatible con {}",
        "paciente con {}",
        "presencia de {}",
    ),
    "procedure": (
        "{} programada",
        "{} programado",
        "{} urgente",
        "{} de control",
        "{} sin incidencias",
        "{} sin complicaciones",
        "{} reglada",
        "{} bajo anestesia general",
        "{} con anestesia local",
        "{} con sedación",
        "{} en quirófano",
        "{} preferente",
        "{} previa",
        "realización de {}",
        "práctica de {}",
        "nueva {}",
        "técnica de {}",
        "se realiza {}",
        "estudio mediante {}",
        "pendiente de {}",
    ),
}
SIDES = ("{} derecha", "{} derecho", "{} izquierda", "{} izquierdo", "{} dcha.", "{} izq.")
# Side is added only where the text names one of the paired parts at its end and no side already.
PAIRED = (
    "rodilla hombro codo muñeca tobillo cadera mano pie fémur tibia peroné húmero radio cúbito clavícula escápula mama "
    "riñón ojo oído antebrazo muslo pierna brazo pulgar talón retina córnea ovario testículo uréter parótida"
).split()

PARTICLES = frozenset("de del la el los las en por con a al y".split())
NEIGHBOURS = {
    "a": "sqz", "b": "vnh", "c": "xvd", "d": "sfe", "e": "wrd", "f": "dgr", "g": "fht", "h": "gjy", "i": "uok",
    "j": "hku", "k": "jli", "l": "kop", "m": "nk", "n": "mbh", "o": "ipl", "p": "ol", "q": "wa", "r": "etf",
    "s": "adw", "t": "ryg", "u": "yij", "v": "cbg", "w": "qes", "x": "zcs", "y": "tug", "z": "xas",
}  # fmt: skip
ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789 "


@dataclass(frozen=True, slots=True)
class Term:
    """A code with its title and the ways in which it is written."""

    code: str
    kind: str  # "diagnosis" or "procedure"
    description: str
    mentions: tuple[str, ...]  # without the title
    held_out: tuple[str, ...]  # never drawn for training


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence with one slot ``{}`` or none."""

    kind: str  # "diagnosis", "procedure" or "any"
    split: str  # "train", or "test" for the development and the held-out file
    template: str


@dataclass(frozen=True, slots=True)
class Example:
    """A row of ``dev.tsv`` or ``heldout.tsv``; the sentence is empty where the mention stands alone."""

    text: str
    sentence: str
    kind: str
    code: str
    how: str  # "variant", "typo", "modifier" or "composed"


def _rows(path: Path) -> Iterator[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        yield from csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)


def _split(field: str | None) -> tuple[str, ...]:
    return tuple(part.strip() for part in (field or "").split("|") if part.strip())


def read_tables(folder: Path = FOLDER / "terms") -> list[Term]:
    """Read all tables, the ones that win conflicts first, the others by name."""
    paths = sorted(folder.glob("*.tsv"), key=lambda path: (path.name not in FIRST_TABLES, path.name))
    return [
        Term(
            row["code"].strip(),
            "procedure" if path.stem == "procedures" else "diagnosis",
            row["description"].strip(),
            _split(row["mentions"]),
            _split(row["held_out"]),
        )
        for path in paths
        for row in _rows(path)
    ]


def read_sentences(path: Path = FOLDER / "sentences.tsv") -> list[Sentence]:
    """Read the sentences."""
    return [Sentence(row["kind"], row["split"], row["template"]) for row in _rows(path)]


def read_examples(path: Path) -> list[Example]:
    """Read ``dev.tsv`` or ``heldout.tsv``."""
    return [Example(row["text"], row["sentence"], row["kind"], row["code"], row["how"]) for row in _rows(path)]


class Terms:
    """The tables without contradictions: each normal form belongs to one code.

    A title belongs to its code; a mention that stands under two codes belongs to the first in the order of
    `read_tables`. A held-out text is dropped where it is equal to a title, to a mention or to an earlier held-out
    text, and where the text of its row that is most like it belongs to another code: its answer would be wrong.
    """

    def __init__(self, tables: list[Term]) -> None:
        """Resolve `tables`; what was dropped is reported in `conflicts`."""
        self.conflicts: list[str] = []
        self.owner: dict[str, str] = {}  # normal form of a title or mention -> code
        self._texts: dict[str, list[str]] = {term.code: [] for term in tables}
        for term in tables:
            self._claim(term, (term.description,), "title")
        for term in tables:
            self._claim(term, term.mentions, "mention")
        self.held_owner: dict[str, str] = {}  # normal form of a held-out variant -> code
        held = {term.code: self._hold(term) for term in tables}
        self.terms = [
            Term(term.code, term.kind, term.description, tuple(self._texts[term.code]), held[term.code])
            for term in {term.code: term for term in reversed(tables)}.values()
        ][::-1]
        # A code is trained if a text is left to it.
        self.trained = [term for term in self.terms if term.mentions or self.owns(term.description, term.code)]
        self.by_code = {term.code: term for term in self.terms}

    def owns(self, text: str, code: str) -> bool:
        """Whether no other code than `code` has `text`, in normal form."""
        return self.owner.get(normal_form(text), code) == code

    def _claim(self, term: Term, texts: tuple[str, ...], what: str) -> None:
        for text in texts:
            key = normal_form(text)
            other = self.owner.setdefault(key, term.code)
            if other != term.code:
                self.conflicts.append(f"{what} {text!r} of {term.code} belongs to {other}")
            elif text != term.description:
                self._texts[term.code].append(text)

    def _hold(self, term: Term) -> tuple[str, ...]:
        kept = []
        row = [normal_form(text) for text in (term.description, *term.mentions)]
        for text in term.held_out:
            key = normal_form(text)
            closest = max(row, key=lambda other: likeness(key, other))
            if self.owner[closest] != term.code:
                self.conflicts.append(f"held-out {text!r} of {term.code} is most like a text of {self.owner[closest]}")
            elif key in self.owner or key in self.held_owner:
                other = self.owner.get(key) or self.held_owner[key]
                self.conflicts.append(f"held-out {text!r} of {term.code} stands already under {other}")
            else:
                self.held_owner[key] = term.code
                kept.append(text)
        return tuple(kept)

    def near_other(self, text: str, code: str) -> bool:
        """Whether a text of another code is equal to `text` or one edit away from it, in normal form."""
        key = normal_form(text)
        return any(self.owner.get(form, code) != code for form in (key, *_edits(key)))


def likeness(first: str, second: str) -> float:
    """Return the share of common letter triples of two normal forms, 0 to 1."""
    one, two = ({f" {text} "[at : at + 3] for at in range(len(text))} for text in (first, second))
    return len(one & two) / len(one | two)


def _edits(key: str) -> Iterator[str]:
    for at in range(len(key) + 1):
        head, tail = key[:at], key[at:]
        if tail:
            yield head + tail[1:]
        if len(tail) > 1:
            yield head + tail[1] + tail[0] + tail[2:]
        for letter in ALPHABET:
            yield head + letter + tail
            yield head + letter + tail[1:]


def add_typo(text: str, rng: Random) -> str:
    """Make one typing error in a word of five letters or more: two letters exchanged, one lost, doubled or missed.

    The first letter of the word stays. Where no word is long enough, `text` is returned as it is.
    """
    words = list(re.finditer(r"[^\W\d_]{5,}", text))
    if not words:
        return text
    word = rng.choice(words)
    at = rng.randrange(word.start() + 1, word.end() - 1)
    letter = text[at]
    action = rng.choice(("exchange", "lose", "lose", "double", "neighbour", "neighbour"))
    if action == "exchange":
        middle = text[at + 1] + letter
        return text[:at] + middle + text[at + 2 :]
    if action == "neighbour":
        near = rng.choice(NEIGHBOURS.get(unidecode(letter).lower(), "e"))
        return text[:at] + (near.upper() if letter.isupper() else near) + text[at + 1 :]
    return text[:at] + ("" if action == "lose" else letter * 2) + text[at + 1 :]


def swap_abbreviation(text: str, rng: Random) -> str:
    """Write one word or group of words of `text` in its short or long form, where `SWAPS` has one."""
    pairs = [(long, short) for long, short, _ in SWAPS]
    pairs += [(short, long) for long, short, both in SWAPS if both]
    rng.shuffle(pairs)
    for old, new in pairs:
        # A full stop or stroke at the end of a short form is no letter: look for no letter around it instead.
        found = re.search(rf"(?<!\w){re.escape(old)}(?!\w)", text, re.IGNORECASE)
        if found:
            return text[: found.start()] + new + text[found.end() :]
    return text


def add_modifier(text: str, kind: str, rng: Random) -> str:
    """Put words around `text` that leave its code as it is, a side included where it ends in a paired part."""
    patterns = MODIFIERS[kind]
    if text.rsplit(" ", 1)[-1].lower() in PAIRED and rng.random() < 0.5:
        patterns = SIDES
    elif re.search(r"\bsin\b", text) or len(text) > 55:  # "sin complicaciones" could be another code
        patterns = tuple(pattern for pattern in patterns if "sin" not in pattern.split())
    return rng.choice(patterns).format(text)


def recombine(term: Term, rng: Random) -> str:
    """Join the first word of one text of `term` to what follows the first word of another."""
    texts = [text for text in (term.description, *term.mentions) if " " in text]
    if len(texts) < 2:
        return term.description
    first, second = rng.sample(texts, 2)
    return f"{first.split(' ', 1)[0]} {second.split(' ', 1)[1]}"


def drop_particles(text: str, rng: Random) -> str:
    """Leave out the small words of `text`, each with probability 0.7, as in notes."""
    return " ".join(word for word in text.split() if word not in PARTICLES or rng.random() > 0.7)


def move_word(text: str, rng: Random) -> str:
    """Move one word of `text` to another place; text of two words or fewer is returned as it is."""
    words = text.split()
    if len(words) > 2:
        words.insert(rng.randrange(len(words)), words.pop(rng.randrange(len(words))))
    return " ".join(words)


def vary_case(text: str, rng: Random) -> str:
    """Return `text` as it is, in lower case, as a sentence or in capitals."""
    draw = rng.random()
    if draw < 0.55:
        return text
    if draw < 0.7:
        return text.lower()
    return text[:1].upper() + text[1:] if draw < 0.85 else text.upper()


class Sampler:
    """Draws training examples; the forms of the held-out texts are never drawn."""

    def __init__(self, terms: Terms, sentences: list[Sentence], held: set[str], seed: int) -> None:
        """Prepare for drawing.

        Args:
            terms: the resolved tables.
            sentences: all sentences; those of split "train" are used.
            held: normal forms that must not be drawn.
            seed: the draws are a function of it.
        """
        self.terms = terms
        self.held = held
        self.rng = Random(seed)
        self.templates = templates_by_kind(sentences, "train")
        # Half way between equal weight for each code and equal weight for each text.
        self.weights = [(1 + len(term.mentions)) ** 0.5 for term in terms.trained]

    def _draft(self, term: Term) -> str:
        rng = self.rng
        draw = rng.random()
        if draw < 0.12 or not term.mentions:
            text = term.description
        else:
            text = rng.choice(term.mentions) if draw < 0.7 else recombine(term, rng)
        if rng.random() < 0.2:
            text = swap_abbreviation(text, rng)
        if rng.random() < 0.12:
            text = drop_particles(text, rng)
        if rng.random() < 0.05:
            text = move_word(text, rng)
        if rng.random() < 0.15:
            text = add_modifier(text, term.kind, rng)
        if rng.random() < 0.25:
            text = self._typos(text, term.code)
        return text

    def _typos(self, text: str, code: str) -> str:
        mistyped = add_typo(text, self.rng)
        if self.rng.random() < 0.25:
            mistyped = add_typo(mistyped, self.rng)
        return text if self.terms.near_other(mistyped, code) else mistyped

    def surface(self, term: Term) -> str:
        """Draw a way of writing `term`."""
        while True:
            text = self._draft(term)
            key = normal_form(text)
            if key not in self.held and self.terms.owns(text, term.code):
                text = unidecode(text) if self.rng.random() < 0.15 else text
                return vary_case(text, self.rng)

    def example(self, alone: float) -> tuple[str, str]:
        """Draw a prompt and its answer, the title of the code; `alone` is the share of prompts without a sentence."""
        rng = self.rng
        term = rng.choices(self.terms.trained, self.weights)[0]
        text = self.surface(term)
        sentence = None
        if rng.random() >= alone:
            sentence = rng.choice(self.templates[term.kind]).replace("{}", text)
        return build_prompt(text, sentence, window=WINDOW), term.description

    def corrupted_title(self, term: Term) -> str:
        """Draw what the generator might write instead of the title of `term`: a few words and letters wrong."""
        rng = self.rng
        words = term.description.split()
        if len(words) > 2 and rng.random() < 0.5:
            words.pop(rng.randrange(len(words)))
        if len(words) > 2 and rng.random() < 0.4:
            other = rng.choice(rng.choice(self.terms.terms).description.split())
            words[rng.randrange(len(words))] = other
        text = " ".join(words)
        if rng.random() < 0.3:
            text = add_typo(text, rng)
        if rng.random() < 0.2:
            text = unidecode(text)
        return vary_case(text, rng)


def templates_by_kind(sentences: list[Sentence], split: str) -> dict[str, list[str]]:
    """Return the templates of `split` for each kind of term; those without a slot serve both."""
    return {
        kind: [item.template for item in sentences if item.split == split and item.kind in (kind, "any")]
        for kind in ("diagnosis", "procedure")
    }


class Splitter:
    """Draws the development and the held-out examples."""

    def __init__(self, terms: Terms, sentences: list[Sentence], seed: int) -> None:
        """Prepare for drawing from `terms`, with the sentences of split "test"."""
        self.terms = terms
        self.rng = Random(seed)
        self.templates = templates_by_kind(sentences, "test")
        self.taken: set[str] = set()  # normal forms of all examples drawn

    def _example(self, text: str, term: Term, how: str) -> Example:
        self.taken.add(normal_form(text))
        sentence = self.rng.choice(self.templates[term.kind]).replace("{}", text)
        return Example(text, "" if self.rng.random() < 0.15 else sentence, term.kind, term.code, how)

    def variants(self) -> list[Example]:
        """All texts of the held-out column, in random order."""
        found = [self._example(text, term, "variant") for term in self.terms.terms for text in term.held_out]
        self.rng.shuffle(found)
        return found

    def _made(self, how: str) -> tuple[str, Term]:
        rng = self.rng
        term = rng.choice(self.terms.terms)
        text = rng.choice((term.description, *term.mentions))
        if how == "typo":
            made = add_typo(text, rng)
            return (add_typo(made, rng) if rng.random() < 0.2 else made), term
        if how == "composed":
            return swap_abbreviation(text, rng), term
        return add_modifier(text, term.kind, rng), term

    def made(self, how: str, count: int) -> list[Example]:
        """Draw `count` examples of the kind `how`: a known text with a typing error, a modifier or a short form."""
        found: list[Example] = []
        while len(found) < count:
            text, term = self._made(how)
            key = normal_form(text)
            known = key in self.taken or key in self.terms.owner or key in self.terms.held_owner
            if not known and len(text) <= 90 and not self.terms.near_other(text, term.code):
                found.append(self._example(text, term, how))
        return found

    def draw(self) -> tuple[list[Example], list[Example]]:
        """Return the development and the held-out examples; a third of all goes to the first."""
        dev: list[Example] = []
        heldout: list[Example] = []
        groups = [self.variants(), self.made("typo", 270), self.made("modifier", 120), self.made("composed", 90)]
        for group in groups:
            third = len(group) // 3
            dev += group[:third]
            heldout += group[third:]
        return dev, heldout


def held_forms(folder: Path = FOLDER) -> set[str]:
    """Return the normal forms of the texts of both files."""
    return {normal_form(row.text) for name in ("dev.tsv", "heldout.tsv") for row in read_examples(folder / name)}


def write_examples(path: Path, examples: list[Example]) -> None:
    """Write `examples` as a table with a header."""
    lines = ["text\tsentence\tkind\tcode\thow"]
    lines += [f"{row.text}\t{row.sentence}\t{row.kind}\t{row.code}\t{row.how}" for row in examples]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def main() -> None:
    """Write both files and report what the tables contradict each other in."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=20, help="seed of the draws (default: 20)")
    seed = parser.parse_args().seed
    terms = Terms(read_tables())
    dev, heldout = Splitter(terms, read_sentences(), seed).draw()
    write_examples(FOLDER / "dev.tsv", dev)
    write_examples(FOLDER / "heldout.tsv", heldout)
    for conflict in terms.conflicts:
        print(conflict)
    mentions = sum(len(term.mentions) for term in terms.terms)
    print(f"{len(terms.terms)} codes, {mentions} mentions, {len(dev)} dev, {len(heldout)} held out")


if __name__ == "__main__":
    main()
