"""What is said, in English, with its parts, so that it can be said in another language where the reader's is known."""

from __future__ import annotations


class Said(str):
    """A sentence in English that keeps its parts.

    It goes wherever a text goes; `cielo.text.language.in_language` translates it.

    Attributes:
        sentence: the English, with a place (``{name}``) for each value.
        values: what stands in the places; one that is `Said` itself is translated too.
    """

    __slots__ = ("sentence", "values")
    sentence: str
    values: dict[str, object]

    def __new__(cls, sentence: str, /, **values: object) -> Said:
        """Fill the places; a sentence without values is taken as it stands."""
        said = super().__new__(cls, sentence.format(**values) if values else sentence)
        said.sentence, said.values = sentence, values
        return said

    def __getnewargs_ex__(self) -> tuple[tuple[str], dict[str, object]]:
        """Let it be pickled."""
        return (self.sentence,), self.values


class SayingError(Exception):
    """An error whose text, which is English, keeps its parts."""

    def __init__(self, sentence: str = "", /, **values: object) -> None:
        """Say what is wrong; `values` fill the places of the sentence, see `Said`."""
        super().__init__(Said(sentence, **values) if values else sentence)

    @property
    def said(self) -> str:
        """The text with its parts, where it has some."""
        return self.args[0] if self.args and isinstance(self.args[0], Said) else str(self)
