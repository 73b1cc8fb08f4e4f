"""What parity is measured on: prompts from a table of mentions, strings for the tokenizers."""

from __future__ import annotations

import contextlib
import unicodedata
from collections.abc import Iterable
from pathlib import Path
from random import Random

from cielo.errors import MentionError, TableError
from cielo.parity.texts import spread
from cielo.tables import mentions as tables
from cielo.text.prompt import build_prompt

PACKAGED = Path(__file__).parent / "mentions.tsv"
LEAST_STRINGS = 2000
_SEED = 20240229

_HOSTILE = (
    "", " ", "   ", "\t", "\n", "\r\n", "a\tb", "a\nb", "a\r\nb", "  a  ", "\u00a0", "a\u00a0b", "a\u202fb",
    "a\u2003b", "\u3000", "hiper\u00adtensión", "a\u200bb", "a\u200db", "\u200e", "\ufeff", "\ufeffa", "\x00",
    "a\x00b", "\x01\x02\x1f", "\x7f", "\x85", "\u2028", "α", "β-talasemia", "interferón γ", "µg", "μg",
    "≥ 38 °C", "≤2", "½", "²", "SatO₂", "10⁹/l", "±", "→", "♂", "♀", "†", "€", "№", "™", "\u0301",
    "\u0301\u0301\u0301", "a\u0301", "n\u0303", "neumoni\u0301a", "ÑANDÚ", "ñandú", "pingüino", "Müller",
    "fiancé", "ß", "ﬁebre", "ⅷ", "İstanbul", "ı", "😀", "👩\u200d⚕\ufe0f", "👨\u200d👩\u200d👧\u200d👦",
    "\U0001f1ea\U0001f1f8", "👍\U0001f3fd", "肺炎", "糖尿病と高血圧", "폐렴", "التهاب رئوي", "דלקת ריאות",
    "пневмония", "πνευμονία", "निमोनिया", "𝒜𝓑", "𠮷", "\U0010ffff", "\ufffd", "</s>", "<pad>", "<unk>", "<s>",
    "<mask>", "<extra_id_0>", "<extra_id_99>", "a</s>b", "a </s> b", "</s></s>", "<0x0A>", "<0xCE><0xB1>", "▁",
    "▁▁", "▁a", "a▁b", "_", "«Dolor»", "“dolor”", "¿fiebre?", "¡ojo!", "…", "--", "—", "'", '"', "\\", "\\n",
    "%s", "{}", "{term}", "[Code: BW20]", "&amp;", "<b>a</b>", "https://ejemplo.es/a?b=c&d=%20#e",
    "nombre.apellido@ejemplo.es", "C:\\a\\b", "1234567890" * 30, "3.141592653589793", "0210", "3E05305",
    "S42.90X", "1.000.000,50", "１２３", "a" * 300, "á" * 300, "palabra " * 60, "(((((((((())))))))))",
    "AaAaAaAaAa", "xqzjkw", "Rx tx", "2ºD", "1.ª", "A/B/C", "a,b;c:d.e",
)  # fmt: skip
_VERY_LONG = ("neumonía aguda " * 667)[:10_000]
_INSERTED = (
    "α", "µ", "≥", "\u00a0", "\u00ad", "\t", "\n", "\u200d", "👩\u200d⚕\ufe0f", "肺", "</s>", "<pad>",
    "<extra_id_0>", "▁", "\u0301", "ß", "  ", "\x00", "\U0001f1ea\U0001f1f8", "ﬁ",
)  # fmt: skip


def read_mentions(path: Path) -> list[tuple[str, str | None]]:
    """Read pairs of mention and sentence from a table with the columns ``text`` and, if wanted, ``sentence``.

    Rows without a text are passed over.

    Raises:
        TableError: where the file cannot be read, lacks the column ``text``, has a row that cannot be read, or none
            with a text.
    """
    pairs: list[tuple[str, str | None]] = []
    for row in tables.read_mentions(path):
        if row.error is not None:
            raise TableError(f"the mentions {path} cannot be used; line {row.number}: {row.error}")
        with contextlib.suppress(MentionError):
            mention = row.mention()
            pairs.append((mention.text, mention.sentence))
    if not pairs:
        raise TableError(f"the mentions {path} hold no row with a text; give at least one")
    return pairs


def parity_prompts(mentions: Path | None, count: int, *, prepare: bool, window: int | None) -> list[str]:
    """Return at most `count` distinct prompts, spread evenly over a table of mentions.

    Args:
        mentions: the table; None: the packaged one.
        count: the most prompts.
        prepare: as in `build_prompt`.
        window: as in `build_prompt`.

    Raises:
        TableError: where the table cannot be read.
    """
    pairs = read_mentions(mentions or PACKAGED)
    prompts = list(
        dict.fromkeys(build_prompt(text, sentence, prepare=prepare, window=window) for text, sentence in pairs)
    )
    return spread(prompts, count)


def hostile_strings(descriptions: Iterable[str], prompts: Iterable[str] = (), count: int = LEAST_STRINGS) -> list[str]:
    """Return at least `count` distinct strings on which tokenizers may disagree; the same at every call.

    They are strings known to be awkward, descriptions, prompts, and as many of these with foreign signs in them as
    are wanting.
    """
    ordinary = [*spread(list(dict.fromkeys(descriptions)), count // 3), *spread(list(prompts), count // 5)]
    strings = dict.fromkeys([*_HOSTILE, _VERY_LONG, *ordinary])
    strings.update(dict.fromkeys(unicodedata.normalize("NFD", text) for text in ordinary[: count // 10]))
    random = Random(_SEED)  # noqa: S311  (nothing secret)
    basis = [text for text in strings if text and len(text) < 400]
    while len(strings) < count:
        strings[_with_foreign_sign(random.choice(basis), random)] = None
    return list(strings)


def _with_foreign_sign(text: str, random: Random) -> str:
    place = random.randrange(len(text) + 1)
    joined = text[:place] + random.choice(_INSERTED) + text[place:]
    return joined if random.random() < 0.7 else joined + random.choice(_HOSTILE)[:40]
