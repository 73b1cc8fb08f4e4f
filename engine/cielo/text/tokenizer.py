"""Text to token ids and back, by the `tokenizer.json` of the model (Hugging Face `tokenizers`).

The reference is `transformers.AutoTokenizer` in its fast form, which reads the same file: raw SentencePiece differs
where mT5's byte fallback comes in.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path

from tokenizers import Tokenizer as FastTokenizer

from cielo.errors import BundleError, remedy_for
from cielo.files import read_bounded
from cielo.text.growth import refuse_growth

_MOST_BYTES = 100_000_000  # of the file; that of the published model has 16 million

# A long text's beginning is enough, where it gives the model more tokens than it takes and so many more. Words are
# tokenised each by itself, and the beginning ends between two of them. Inside a word too long for that the split may
# hang on what comes after, but not so far back.
_MARGIN = 64
# The characters of a beginning, for each token that the model takes, and to begin with; and the same of the longest
# beginning. The published model's tokens have at most sixteen characters, and about four.
_BEGINNING, _LONGEST = (8, 512), (64, 4096)
_AT_ONCE = 256  # texts, whose encodings are held together


@dataclass(frozen=True, slots=True)
class Encoded:
    """The token ids of one text; `truncated` tells whether the text was longer than the model takes."""

    ids: list[int]
    truncated: bool


class Tokenizer:
    """A tokenizer with a longest length, special tokens included; thread-safe."""

    def __init__(self, path: Path, max_tokens: int | None = None) -> None:
        """Read `tokenizer.json` at `path`.

        Raises:
            BundleError: where the file cannot be read as a tokenizer.
        """
        try:
            content = read_bounded(path, _MOST_BYTES)
            refuse_growth(content)
            self._tokenizer = FastTokenizer.from_buffer(content)
            self._tokenizer.no_truncation()
            self._tokenizer.no_padding()
            self._closing = self._closing_ids()
        except BaseException as error:  # the Rust library raises bare Exception, and where it panics BaseException
            if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
                raise  # an interrupt, or the end of the process
            if isinstance(error, MemoryError) or remedy_for(error, ""):
                message = f"{path.name} cannot be read ({error or 'no memory'}); {remedy_for(error, '')}"
                raise BundleError(message) from error
            reason = error.strerror if isinstance(error, OSError) else str(error).partition(" at line ")[0]
            raise BundleError(
                f"{path.name} is not a tokenizer file of the tokenizers library ({reason}); build the bundle again"
            ) from error
        self.max_tokens = max_tokens

    def _closing_ids(self) -> list[int]:
        """The special tokens that the tokenizer puts at the end of every text (``</s>``)."""
        encoding = self._tokenizer.encode("a")
        specials = itertools.takewhile(
            itemgetter(1), reversed(list(zip(encoding.ids, encoding.special_tokens_mask, strict=True)))
        )
        return [token for token, _ in specials][::-1]

    @property
    def vocabulary_size(self) -> int:
        """The number of tokens, added ones included."""
        return int(self._tokenizer.get_vocab_size(with_added_tokens=True))

    @property
    def padding_id(self) -> int:
        """The id that fills up shorter rows of a batch (0 where the tokenizer names none)."""
        names = (self._tokenizer.token_to_id(name) for name in ("<pad>", "[PAD]"))
        return next((token for token in names if token is not None), 0)

    @property
    def unknown_id(self) -> int | None:
        """The id of what stands for signs that the tokenizer does not know; None where it names none."""
        names = (self._tokenizer.token_to_id(name) for name in ("<unk>", "[UNK]"))
        return next((token for token in names if token is not None), None)

    @property
    def closing_tokens(self) -> list[str]:
        """The special tokens that end every text."""
        return self.tokens(self._closing)

    @property
    def end_id(self) -> int:
        """The id of the token that ends every text and every output.

        Raises:
            BundleError: where the tokenizer puts none at the end.
        """
        if not self._closing:
            raise BundleError("the generator's tokenizer ends no text with a token of its own; build the bundle again")
        return self._closing[-1]

    @property
    def most_characters(self) -> int | None:
        """The characters of a text that are looked at, at most; None: all of them, since any number of tokens is taken.

        Of a longer text whose first so many characters make no more tokens than the model takes (a run of unknown
        characters, which are one token together), the rest is left out, and it counts as truncated.
        """
        return None if self.max_tokens is None else self._characters(_LONGEST)

    def encode(self, texts: Sequence[str]) -> list[Encoded]:
        """Return the ids of each text with its special tokens; a text that is too long keeps its closing tokens.

        Time and memory of a text are bounded by the tokens that the model takes (see `most_characters`).
        """
        if self.max_tokens is None:
            return self.encode_whole(texts)
        size = self._characters(_BEGINNING)
        begun = self._ids([_beginning(text, size) for text in texts])
        return [self._truncate(text, ids, size) for text, ids in zip(texts, begun, strict=True)]

    def encode_whole(self, texts: Sequence[str]) -> list[Encoded]:
        """Return the ids of each text with its special tokens, however long it is."""
        return [Encoded(ids, False) for ids in self._ids(texts)]

    def _ids(self, texts: Sequence[str]) -> Iterator[list[int]]:
        for start in range(0, len(texts), _AT_ONCE):
            part = list(texts[start : start + _AT_ONCE])
            yield from (list(encoding.ids) for encoding in self._tokenizer.encode_batch(part))

    def _characters(self, counted: tuple[int, int]) -> int:
        each, first = counted
        return first + each * (self.max_tokens or 0)

    def _truncate(self, text: str, ids: list[int], size: int) -> Encoded:
        """Return the first tokens of a text, of whose first `size` characters `ids` are."""
        most, taken = self._characters(_LONGEST), self.max_tokens or 0
        while size < min(len(text), most) and len(ids) <= taken + _MARGIN:
            size = min(4 * size, most)
            ids = list(self._tokenizer.encode(_beginning(text, size)).ids)
        if len(ids) <= taken:
            return Encoded(ids, len(text) > size)
        return Encoded(ids[: taken - len(self._closing)] + self._closing, True)

    def encode_target(self, text: str) -> list[int]:
        """Return the ids of a text without special tokens, as the generator would put them out."""
        return list(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def tokens(self, ids: Iterable[int]) -> list[str]:
        """Return the token of each id; an id that has none gives the empty string."""
        return [self._tokenizer.id_to_token(token) or "" for token in ids]

    def decode(self, tokens: Sequence[str]) -> str:
        """Return the text of a generator's output tokens, special ones left out."""
        ids = (self._tokenizer.token_to_id(token) for token in tokens)
        return str(self._tokenizer.decode([token for token in ids if token is not None], skip_special_tokens=True))


def _beginning(text: str, size: int) -> str:
    """Return the first `size` characters of a longer text, or fewer, so that it ends before a space."""
    if len(text) <= size:
        return text
    space = text.rfind(" ", size // 2, size)
    return text[: space if space >= 0 else size]
