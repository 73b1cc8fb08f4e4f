"""Text to token ids and back, by the `tokenizer.json` of the model (Hugging Face `tokenizers`).

The reference is `transformers.AutoTokenizer` in its fast form, which reads the same file: raw SentencePiece differs
where mT5's byte fallback comes in.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path

from tokenizers import Tokenizer as FastTokenizer

from cielo.errors import BundleError
from cielo.files import read_bounded
from cielo.text.growth import refuse_growth

_MOST_BYTES = 100_000_000  # of the file; that of the published model has 16 million


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
            if isinstance(error, KeyboardInterrupt | SystemExit):
                raise
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
    def closing_tokens(self) -> list[str]:
        """The special tokens that end every text."""
        return self.tokens(self._closing)

    def encode(self, texts: Sequence[str]) -> list[Encoded]:
        """Return the ids of each text with its special tokens; a text that is too long keeps its closing tokens."""
        return [self._truncate(encoding.ids) for encoding in self._tokenizer.encode_batch(list(texts))]

    def encode_whole(self, texts: Sequence[str]) -> list[Encoded]:
        """Return the ids of each text with its special tokens, however long it is."""
        return [Encoded(encoding.ids, False) for encoding in self._tokenizer.encode_batch(list(texts))]

    def _truncate(self, ids: list[int]) -> Encoded:
        if self.max_tokens is None or len(ids) <= self.max_tokens:
            return Encoded(ids, False)
        return Encoded(ids[: self.max_tokens - len(self._closing)] + self._closing, True)

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
