"""Normal forms: when two descriptions count as the same."""

from __future__ import annotations

import re
import string
import unicodedata

from unidecode import unidecode

_SPACES = re.compile(r"\s+")
# Signs that ASCII punctuation lacks and that Spanish text has; Unidecode would turn some of them into letters.
_PUNCTUATION = str.maketrans("", "", string.punctuation + "¡¿«»“”‘’„‚‹›–—―…·•´¨ªº°©®™†‡§¶")
# The paper's own table of letters, and its own list of signs beside ASCII's: whatever else there is stays.
_PUBLISHED = str.maketrans("áóíéúüùàèïòñç", "aoieuuuaeionc", string.punctuation + "€´：¨•∩£–—■¿¡♪“”…‘’„°«»×ʖ")
_PUBLISHED_PAIR = "》》"  # one alone stays
# Characters that show nothing and that copying from web pages, PDFs and word processors leaves inside words: the soft
# hyphen, zero-width spaces and joiners, marks of the direction of writing, invisible operators, the byte order mark.
_HIDDEN = re.compile("[\u00ad\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff]+")


def remove_hidden(text: str) -> str:
    """Return `text` without the characters that show nothing, such as the soft hyphen in ``hiper-tensión``."""
    return _HIDDEN.sub("", text)


def fold_spaces(text: str) -> str:
    """Return `text` with runs of white space folded to one space and none at its ends."""
    return _SPACES.sub(" ", text).strip()


def normal_form(text: str) -> str:
    """Return the form in which two descriptions count as the same.

    Punctuation and hidden characters are deleted (not replaced by a space), letters lose their accents, everything is
    lower case, runs of spaces are folded: the paper's rule, with Unidecode instead of its table of thirteen letters,
    so that ``ö`` and ``ê`` are folded too. ``normal_form(normal_form(x)) == normal_form(x)`` for every `x`.
    """
    text = unicodedata.normalize("NFC", remove_hidden(text)).translate(_PUNCTUATION)
    # Unidecode can bring punctuation and capitals of its own (``½`` becomes ``1/2``).
    return fold_spaces(unidecode(text).translate(_PUNCTUATION).lower())


def published_form(text: str) -> str:
    """Return the normal form of the paper: lower case, its signs deleted, thirteen letters without their accents.

    The letters are á ó í é ú ü ù à è ï ò ñ ç (not ì, â, ö). The signs are those of ASCII's punctuation and of a list
    that has ¿ ¡ « » “ ” ° × – — … among others, but not º, ª or ·. Whatever else there is stays. Spaces are folded.
    """
    kept = unicodedata.normalize("NFC", text).lower().translate(_PUBLISHED)
    return fold_spaces(kept.replace(_PUBLISHED_PAIR, ""))


def fold_name(name: str) -> str:
    """Return a name (of a column, of a kind) without case, accents, spaces and punctuation: ``codigocie10``."""
    return "".join(char for char in unicodedata.normalize("NFKD", name.casefold()) if char.isalnum())
