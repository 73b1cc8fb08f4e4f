"""Normal forms: when two descriptions count as the same."""

from __future__ import annotations

import re
import string
import unicodedata

from unidecode import unidecode

_SPACES = re.compile(r"\s+")
# Signs that ASCII punctuation lacks and that Spanish text has; Unidecode would turn some of them into letters.
_PUNCTUATION = str.maketrans("", "", string.punctuation + "¡¿«»“”‘’„‚‹›–—―…·•´¨ªº°©®™†‡§¶")
# The paper's own table: other letters keep their signs, and other punctuation stays.
_PUBLISHED = str.maketrans("áéíóúàèìòùüñç", "aeiouaeiouunc", string.punctuation)


def fold_spaces(text: str) -> str:
    """Return `text` with runs of white space folded to one space and none at its ends."""
    return _SPACES.sub(" ", text).strip()


def normal_form(text: str) -> str:
    """Return the form in which two descriptions count as the same.

    Punctuation is deleted (not replaced by a space), letters lose their accents, everything is lower case, runs of
    spaces are folded: the paper's rule, with Unidecode in the place of its table of thirteen letters, so that ``ö``
    and ``ê`` are folded too. ``normal_form(normal_form(x)) == normal_form(x)`` for every `x`.
    """
    text = unicodedata.normalize("NFC", text).translate(_PUNCTUATION)
    # Unidecode can bring punctuation and capitals of its own (``½`` becomes ``1/2``).
    return fold_spaces(unidecode(text).translate(_PUNCTUATION).lower())


def published_form(text: str) -> str:
    """Return the normal form of the paper: lower case, ASCII punctuation deleted, thirteen letters without their signs.

    The thirteen are á é í ó ú à è ì ò ù ü ñ ç; what else bears a sign stays as it is. Spaces are folded.
    """
    return fold_spaces(unicodedata.normalize("NFC", text).lower().translate(_PUBLISHED))
