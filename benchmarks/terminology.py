"""A synthetic knowledge base of any size: two tables with the shape of an ICD-10 edition, in words of our own.

The real tables of the classification are not ours to give away, and measuring at their size needs only their shape:
codes, tree, lengths, number of distinct words, and the nearness of siblings. Titles come from a grammar: diagnoses of
condition, anatomy, cause, course, side and encounter; procedures of operation, body part, device, qualifier and
approach. Most of its words are compounds such as "nefroesclerosis", with no meaning beyond their look.

Long because word lists and grammar are one thing: the same seed gives the same tables only while both stay as they are.

>>> from pathlib import Path
>>> write_terminology(Path("tables"), rows=1_000)
[(PosixPath('tables/diagnoses.tsv'), 'diagnosis'), (PosixPath('tables/procedures.tsv'), 'procedure')]
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate, islice, product
from math import ceil, prod
from pathlib import Path
from random import Random

from cielo.knowledge.building import read_terminology
from cielo.knowledge.records import DescriptionRow
from cielo.text.normal import normal_form

SEED = 10
MINI = Path(__file__).resolve().parents[1] / "models" / "mini.toml"
DIAGNOSIS, PROCEDURE = "diagnosis", "procedure"
# A full edition has about 98,000 diagnoses and 82,000 procedures, categories and parents counted.
DIAGNOSES_OF_ALL = 98 / 180

LETTERS = "ABCDEFGHIJKLMNOPQRSTVWXYZ"  # of diagnoses; U is kept for provisional codes
INJURY, POISONING, EXTERNAL = "S", "T", "VWXY"  # chapters whose codes have a seventh character
THIRDS = "0123456789A"
CATEGORIES = tuple("".join(characters) for characters in product(LETTERS, "0123456789", THIRDS))
CHARACTERS = "0123456789ABCDEFGHJKLMNPQRSTUVWXYZ"  # of procedures: no I and no O, which look like digits
ENCOUNTERS = (("A", ", contacto inicial"), ("D", ", contacto sucesivo"), ("S", ", secuela"))
SIDES = (("1", ", derecho"), ("2", ", izquierdo"), ("3", ", bilateral"), ("9", ", lado inespecífico"))

PREFIXES = (
    "adeno angio artro audio auto baro bio coro cito colo crio endo ento epi esteno exo extra fibro fono foto "
    "gastro hemi hemo hidro hiper hipo histo holo infra intra iso leuco linfo lipo macro meso micro mielo mio mono "
    "neo neuro oligo orto osteo oto pan para peri pio poli post pre proto pseudo rino semi sub supra tele termo "
    "tiro trans uni"
).split()
ROOTS = (
    "aden alveol angi aort artr bilir burs carb card cer clor cocl col condr corn cost cox crani cut delt dent "
    "derm disc dur ect enter esplen estom faring fasc fibr flav flu fol form gastr gen gland glos glut hep hil "
    "hist ile irid lact laring lent limb linf lob lumb mal mast medul mel met mi morf muc nefr neur nod nucl oft "
    "oste ot ov papil per pil plant plasm pleur pod prost pub pulp quel ram rect ren ret rin sacr salp sin sist "
    "som tars tect tend test tim ton trof troc ulc umb ung ur vag vas ven ver vit vulv xant yug zon"
).split()
CONDITIONS = (
    "itis osis oma algia opatía omalacia orragia ectasia oesclerosis oplasia otrofia ocele odinia olitiasis "
    "onecrosis oplejía oestenosis optosis orrea oespasmo"
).split()
QUALITIES = "al ar il oide ante ente iforme osal ular ibal odorsal ofrontal omural".split()
SUBSTANCES = "ina ol azol prazol micina cilina idona amida ato uro olona tidina pril sartán mab fosfán".split()
ORGANISMS = "ella bacter coccus ium myces virus monas plasma spira tricha zoon fila".split()
VOCABULARY = {"conditions": 4_000, "qualities": 2_900, "substances": 2_200, "organisms": 1_000}

ANATOMY = (
    "abdomen antebrazo apéndice bazo brazo bronquio canal cráneo cerebro ciego codo colon corazón cúbito cuello "
    "cuero dedo diafragma dorso duodeno encéfalo epidídimo esófago esternón estómago fémur glúteo hígado hombro "
    "húmero íleon intestino iris labio maxilar mediastino muslo nervio oído ojo ovario páncreas paladar párpado "
    "pene peritoneo peroné pezón pie píloro pubis pulgar pulmón radio recto riñón sacro seno tabique talón tendón "
    "testículo timo tobillo tórax tronco útero uréter vientre yeyuno"
).split()
INJURIES = (
    "abrasión|amputación|aplastamiento|arrancamiento|avulsión|contusión|corrosión|cuerpo extraño superficial|"
    "desgarro|dislocación|distensión|esguince|fractura|hemorragia traumática|herida abierta|laceración|luxación|"
    "mordedura|perforación|picadura|quemadura|rotura|sección completa|sección parcial|subluxación|torsión|"
    "traumatismo"
).split("|")
INJURY_CAUSES = (
    "sin desplazamiento|con desplazamiento|sin cuerpo extraño|con cuerpo extraño|por avulsión|por estallido|"
    "por fatiga|por compresión|conminuta|en espiral|transversa|oblicua|segmentaria|en tallo verde|intraarticular|"
    "extraarticular|de primer grado|de segundo grado|de tercer grado|por arma blanca|por instrumento romo|"
    "en su base|en su tercio proximal|en su tercio medio|en su tercio distal|en su cara anterior|"
    "en su cara posterior|con exposición ósea"
).split("|")
VICTIMS = (
    "peatón|ciclista|motociclista|ocupante de automóvil|ocupante de autobús|ocupante de tranvía|pasajero de tren|"
    "jinete|nadador|buceador|escalador|esquiador|albañil|labrador|bañista|remero|conductor de camión|"
    "conductor de tractor|tripulante de barco|tripulante de avión|patinador|cazador"
).split("|")
EVENTS = (
    "colisión con automóvil|colisión con tren|colisión con objeto|caída desde altura|caída propia|vuelco|"
    "agua caliente|maquinaria|herramienta|vidrio|frío|calor|humo|descarga eléctrica|golpe de objeto|"
    "mordedura de perro|picadura de insecto|explosión|derrumbe|inmersión|esfuerzo excesivo|ruido|radiación"
).split("|")
PLACES = (
    "en la vía pública|en vivienda|en escuela|en hospital|en zona industrial|en granja|en zona deportiva|"
    "en comercio|en el mar|en un río|en obra|en aparcamiento|fuera de la calzada|en transporte público|"
    "en residencia colectiva"
).split("|")
COURSES = (
    "de grado leve|de grado moderado|de grado grave|en fase aguda|en fase crónica|en remisión|en recaída|"
    "en estadio 1|en estadio 2|en estadio 3|en estadio 4|con ulceración|sin ulceración|con hemorragia|"
    "sin hemorragia|con obstrucción|sin obstrucción|con perforación|con gangrena|con absceso|con fístula|con coma|"
    "sin coma|con derrame|con dolor|sin dolor|con fiebre|intermitente|persistente|recurrente|refractaria|"
    "progresiva|de inicio tardío|de inicio precoz|congénita|durante el embarazo|durante el puerperio|"
    "posterior a un procedimiento|en el recién nacido|con retraso de curación"
).split("|")
OPERATIONS = (
    "alteración|derivación|cambio|control|creación|destrucción|desprendimiento|dilatación|división|drenaje|"
    "escisión|extirpación|extracción|fragmentación|fusión|inserción|inspección|mapeo|oclusión|reacoplamiento|"
    "liberación|retirada|reparación|sustitución|reposición|resección|restricción|revisión|suplemento|transferencia|"
    "trasplante"
).split("|")
IMAGING = (
    "radiografía simple|fluoroscopia|tomografía computarizada (tc)|resonancia magnética (rm)|ultrasonografía"
).split("|")
STRUCTURES = (
    "arteria vena nervio músculo ligamento tendón glándula articulación bolsa conducto hueso membrana plexo raíz "
    "ganglio fascia"
).split()
DEVICES = "drenaje injerto implante prótesis malla electrodo catéter fijador espaciador balón clavo placa".split()
APPROACHES = (
    ("0", ", abierto"), ("3", ", percutáneo"), ("4", ", endoscópico percutáneo"), ("X", ", externo"),
    ("7", ", por orificio natural"), ("8", ", por orificio natural, endoscópico"),
)  # fmt: skip
CONTRASTS = (
    ("Z", ""), ("0", ", contraste de alta osmolaridad"), ("1", ", contraste de baja osmolaridad"),
    ("Y", ", otro contraste"),
)  # fmt: skip
_WORD = re.compile(r"\w+")
_Options = list[tuple[str, str]]  # a character of the code, and what it adds to the title
_Draw = Callable[[Random], _Options]


@dataclass(frozen=True, slots=True)
class Grammar:
    """The invented words, and the orders in which titles take them; the same for the same seed."""

    conditions: tuple[str, ...]
    qualities: tuple[str, ...]
    substances: tuple[str, ...]
    organisms: tuple[str, ...]
    injuries: tuple[str, ...]  # titles of injuries and of external causes
    accidents: tuple[str, ...]
    parts: tuple[str, ...]  # of the body, for procedures

    @classmethod
    @lru_cache(maxsize=4)
    def of(cls, seed: int) -> Grammar:
        """Return the grammar of a seed."""
        random = _random(seed, "words")
        taken = set(_WORD.findall(_fixed_text()))
        drawn = {
            "conditions": _compounds(random, CONDITIONS, VOCABULARY["conditions"], taken),
            "qualities": _compounds(random, QUALITIES, VOCABULARY["qualities"], taken),
            "substances": _compounds(random, SUBSTANCES, VOCABULARY["substances"], taken),
            "organisms": _compounds(random, ORGANISMS, VOCABULARY["organisms"], taken),
        }
        injuries = [f"{injury} de {part}" for injury, part in product(INJURIES, ANATOMY)]
        accidents = [f"{victim} lesionado por {event}" for victim, event in product(VICTIMS, EVENTS)]
        structures = [f"{structure} {quality}" for structure in STRUCTURES for quality in drawn["qualities"]]
        needed = max(len(section.systems) for section in SECTIONS) * len(CHARACTERS)
        parts = [*ANATOMY, *random.sample(structures, needed - len(ANATOMY))]
        for titles in (injuries, accidents, parts):
            random.shuffle(titles)
        return cls(**drawn, injuries=tuple(injuries), accidents=tuple(accidents), parts=tuple(parts))


@dataclass(frozen=True, slots=True)
class Section:
    """A section of the procedures: its character, those of its body systems, and what the others stand for."""

    character: str
    systems: str
    operations: Sequence[str]
    approaches: Sequence[tuple[str, str]]
    devices: int

    @property
    def parents(self) -> int:
        """Codes of four characters that it has room for."""
        return len(self.systems) * len(self.operations) * len(CHARACTERS)

    @property
    def room(self) -> int:
        """Rows that a parent has room for, itself counted."""
        return 1 + len(self.approaches) * self.devices * len(CHARACTERS)


SECTIONS = (
    Section("0", CHARACTERS[:31], OPERATIONS, APPROACHES, len(CHARACTERS)),
    Section("B", CHARACTERS[:20], IMAGING, CONTRASTS, 1),
)


def write_terminology(
    directory: Path, rows: int = 180_000, seed: int = SEED, *, mini: bool = False
) -> list[tuple[Path, str]]:
    """Write ``diagnoses.tsv`` and ``procedures.tsv`` and return them with their kinds, as a recipe names them.

    Args:
        directory: is made where it does not exist.
        rows: of both tables together, their headers apart.
        seed: of the words and of the trees.
        mini: the mini's own tables come first and count among the rows, so that its outputs are found; a synthetic
            row whose code or normal form is theirs is dropped, and the tables are shorter by so many rows.

    Raises:
        ValueError: where `rows` is too few for two tables, or more than the codes have room for.
    """
    counts = {DIAGNOSIS: round(rows * DIAGNOSES_OF_ALL)}
    counts[PROCEDURE] = rows - counts[DIAGNOSIS]
    if min(counts.values()) < 1:
        raise ValueError(f"got {rows} rows, expected at least 2: one diagnosis and one procedure")
    known = _mini_rows() if mini else {DIAGNOSIS: [], PROCEDURE: []}
    directory.mkdir(parents=True, exist_ok=True)
    written = []
    for kind, name, titles in ((DIAGNOSIS, "diagnoses", diagnoses), (PROCEDURE, "procedures", procedures)):
        path = directory / f"{name}.tsv"
        own = max(0, counts[kind] - len(known[kind]))
        with path.open("w", encoding="utf-8", newline="") as file:
            file.write("code\tdescription\n")
            file.writelines(f"{row.code}\t{row.description}\n" for row in known[kind])
            file.writelines(f"{code}\t{title}\n" for code, title in _without(titles(own, seed), known[kind]))
        written.append((path, kind))
    return written


def words(seed: int = SEED) -> list[str]:
    """Return the distinct words of the grammar, sorted, in each of the forms in which titles write them.

    Those that can begin a title are there twice: "nefroitis" and "Nefroitis".
    """
    grammar = Grammar.of(seed)
    invented = (*grammar.conditions, *grammar.qualities, *grammar.substances, *grammar.organisms)
    small = {*_WORD.findall(_fixed_text()), *invented}
    firsts = {
        *grammar.conditions[: len(CATEGORIES)],
        *(title.split()[0] for title in (*INJURIES, *VICTIMS, *OPERATIONS, *IMAGING)),
    }
    return sorted(small | {_capital(word) for word in firsts} | {"Intoxicación"})


def _fixed_text() -> str:
    """Return all that titles are made of, compounds apart."""
    pairs = (*ENCOUNTERS, *SIDES, *APPROACHES, *CONTRASTS)
    lists = (
        ANATOMY,
        INJURIES,
        INJURY_CAUSES,
        VICTIMS,
        EVENTS,
        PLACES,
        COURSES,
        OPERATIONS,
        IMAGING,
        STRUCTURES,
        DEVICES,
    )
    joints = "de por con hacia lesionado intoxicación"
    return " ".join([joints, *(text for _, text in pairs), *(text for texts in lists for text in texts)])


def _compounds(random: Random, endings: Sequence[str], count: int, taken: set[str]) -> tuple[str, ...]:
    """Draw `count` words that are not taken, and take them."""
    drawn: list[str] = []
    while len(drawn) < count:
        word = random.choice(("", random.choice(PREFIXES))) + random.choice(ROOTS) + random.choice(endings)
        if word not in taken:
            taken.add(word)
            drawn.append(word)
    return tuple(drawn)


def _random(seed: int, name: str) -> Random:
    return Random(f"{seed} {name}")  # noqa: S311 (a text seeds it by its hash, the same on every machine)


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]


def _shares(total: int, weights: Sequence[float], rooms: Sequence[int]) -> list[int]:
    """Divide `total` by weight, no share larger than its room; what is left over goes where there is room."""
    whole = sum(weights)
    ends = [round(total * part / whole) for part in accumulate(weights)]
    shares = [min(end - start, room) for start, end, room in zip([0, *ends], ends, rooms, strict=False)]
    left = total - sum(shares)
    for number, room in enumerate(rooms):
        more = min(left, room - shares[number])
        shares[number] += more
        left -= more
    if left:
        raise ValueError(f"got {total:,} rows, but the codes have room for {total - left:,} at most; ask for fewer")
    return shares


def diagnoses(count: int, seed: int = SEED) -> Iterator[tuple[str, str]]:
    """Return codes and titles of `count` diagnoses, in the order of the codes."""
    grammar, random = Grammar.of(seed), _random(seed, DIAGNOSIS)
    # A category of a full edition has about fifty rows; more rows than that widen the trees.
    chosen = sorted(random.sample(range(len(CATEGORIES)), min(len(CATEGORIES), ceil(count / 50))))
    chapters = [_chapter(CATEGORIES[number], grammar) for number in chosen]
    weights = [random.lognormvariate(0, 1) * (3 if chapter.encounters else 1) for chapter in chapters]
    shares = _shares(count, weights, [chapter.room(0) for chapter in chapters])
    for number, chapter, share in zip(chosen, chapters, shares, strict=True):
        code = CATEGORIES[number]
        if share:
            yield from _grow(chapter, code, _title(number, code, grammar, random), share, random)


@dataclass(frozen=True, slots=True)
class _Chapter:
    """How the titles of a category's subtree are built: one list of options for the fourth to the sixth character."""

    levels: tuple[_Draw, ...]
    sizes: tuple[int, ...]
    encounters: bool

    def room(self, depth: int) -> int:
        """Rows that a node has room for, itself counted; a category has depth 0."""
        room = 1 + len(ENCOUNTERS) * self.encounters
        for size in reversed(self.sizes[depth:]):
            room = 1 + size * room
        return room


def _chapter(code: str, grammar: Grammar) -> _Chapter:
    def causes(random: Random) -> _Options:
        agents = random.sample(grammar.substances, 3) + random.sample(grammar.organisms, 3)
        phrases = [f" por {agent}" for agent in agents] + complications(random, 4)
        return _numbered(phrases, random)

    def complications(random: Random, size: int) -> list[str]:
        return [f" con {condition}" for condition in random.sample(grammar.conditions, size)]

    def regions(random: Random) -> _Options:
        qualities = random.sample(grammar.qualities, 10)
        return _numbered([f" {quality}" for quality in qualities], random)

    def phrases(texts: Sequence[str]) -> _Draw:
        return lambda random: _numbered([f" {text}" for text in random.sample(texts, 10)], random)

    def sides(_: Random) -> _Options:
        return list(SIDES)

    first: _Draw = causes
    second = phrases(COURSES)
    if code[0] == INJURY:
        first, second = phrases(INJURY_CAUSES), regions
    elif code[0] in EXTERNAL:
        first, second = phrases(PLACES), lambda random: _numbered(complications(random, 10), random)
    encounters = code[0] in {INJURY, POISONING, *EXTERNAL}
    return _Chapter((first, second, sides), (10, 10, len(SIDES)), encounters)


def _numbered(phrases: list[str], random: Random) -> _Options:
    random.shuffle(phrases)
    return [(str(number), phrase) for number, phrase in enumerate(phrases)]


def _title(number: int, code: str, grammar: Grammar, random: Random) -> str:
    """Return the title of a category; the word that makes it its own is chosen by the category's number."""
    if code[0] == INJURY:
        return _capital(grammar.injuries[number % len(grammar.injuries)])
    if code[0] == POISONING:
        return f"Intoxicación por {grammar.substances[number % len(grammar.substances)]}"
    if code[0] in EXTERNAL:
        return _capital(grammar.accidents[number % len(grammar.accidents)])
    quality, part = random.choice(grammar.qualities), random.choice(ANATOMY)
    return _capital(grammar.conditions[number]) + random.choice(("", f" {quality}", f" de {part}"))


def _grow(chapter: _Chapter, code: str, title: str, rows: int, random: Random) -> Iterator[tuple[str, str]]:
    """Return `rows` rows: a node, and as many below it as are left, shared between its children."""
    yield (code if len(code) == 3 else f"{code[:3]}.{code[3:]}"), title
    depth, rest = len(code) - 3, rows - 1
    if not rest:
        return
    if chapter.encounters and rest <= len(ENCOUNTERS):  # always so at depth 3, which has no more room
        for character, phrase in ENCOUNTERS[:rest]:
            yield f"{code[:3]}.{code[3:].ljust(3, 'X')}{character}", title + phrase
        return
    children = chapter.levels[depth](random)
    fewest = ceil(rest / chapter.room(depth + 1))
    number = min(rest, max(fewest, random.randint(2, len(children))))
    share, more = divmod(rest, number)
    for place, (character, phrase) in enumerate(children[:number]):
        yield from _grow(chapter, code + character, title + phrase, share + (place < more), random)


def procedures(count: int, seed: int = SEED) -> Iterator[tuple[str, str]]:
    """Return codes and titles of `count` procedures: each parent of four characters, and its own of seven after it."""
    grammar, random = Grammar.of(seed), _random(seed, PROCEDURE)
    rooms = [section.room for section in SECTIONS for _ in range(section.parents)]
    # A parent has about ten codes of seven characters.
    chosen = sorted(random.sample(range(len(rooms)), min(len(rooms), ceil(count / 11))))
    weights = [random.lognormvariate(0, 1) for _ in chosen]
    shares = _shares(count, weights, [rooms[number] for number in chosen])
    for number, share in zip(chosen, shares, strict=True):
        if share:
            yield from _procedure(number, share, grammar, random)


def _procedure(number: int, rows: int, grammar: Grammar, random: Random) -> Iterator[tuple[str, str]]:
    section = SECTIONS[0]
    if number >= section.parents:
        number, section = number - section.parents, SECTIONS[1]
    number, part = divmod(number, len(CHARACTERS))
    system, operation = divmod(number, len(section.operations))
    name = grammar.parts[system * len(CHARACTERS) + part]
    parent = f"{section.operations[operation]} de {name}"
    code = section.character + section.systems[system] + CHARACTERS[operation] + CHARACTERS[part]
    yield code, parent
    qualifiers = [(CHARACTERS[at], f" hacia {part}") for at, part in enumerate(random.sample(ANATOMY, 33))]
    materials = random.sample(grammar.substances, section.devices - 1)
    devices = [(CHARACTERS[at], f" con {random.choice(DEVICES)} de {name}") for at, name in enumerate(materials)]
    axes: list[_Options] = [list(section.approaches), [("Z", ""), *devices], [("Z", ""), *qualifiers]]
    sizes = _sizes(rows - 1, [len(axis) for axis in axes], random)
    combinations = product(*(axis[:size] for axis, size in zip(axes, sizes, strict=True)))
    for approach, device, qualifier in islice(combinations, rows - 1):
        title = _capital(parent) + qualifier[1] + device[1] + approach[1]
        yield code + approach[0] + device[0] + qualifier[0], title


def _sizes(count: int, most: Sequence[int], random: Random) -> list[int]:
    """Return how many approaches, devices and qualifiers to combine, so that there are `count` combinations."""
    sizes = [random.randint(1, min(size, wanted)) for size, wanted in zip(most, (4, 2, 1), strict=True)]
    axis = 0
    while prod(sizes) < count:
        sizes[axis] = min(sizes[axis] + 1, most[axis])
        axis = (axis + 1) % len(sizes)
    return sizes


def _mini_rows() -> dict[str, list[DescriptionRow]]:
    from cielo_convert.recipe import Recipe

    rows: dict[str, list[DescriptionRow]] = {DIAGNOSIS: [], PROCEDURE: []}
    for row in read_terminology([table.code_table() for table in Recipe.load(MINI).knowledge_base.tables]).rows:
        rows[row.kind].append(row)
    return rows


def _without(titles: Iterable[tuple[str, str]], known: Sequence[DescriptionRow]) -> Iterator[tuple[str, str]]:
    """Pass on the rows whose code and normal form are not known."""
    if not known:
        yield from titles
        return
    codes, forms = {row.code for row in known}, {normal_form(row.description) for row in known}
    for code, title in titles:
        if code not in codes and normal_form(title) not in forms:
            yield code, title


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the two tables into a directory."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--rows", type=int, default=180_000)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--mini", action="store_true", help="the mini's own tables first")
    options = parser.parse_args(arguments)
    write_terminology(options.directory, options.rows, options.seed, mini=options.mini)


if __name__ == "__main__":
    main()
