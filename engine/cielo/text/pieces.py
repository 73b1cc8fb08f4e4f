"""Texts of any length, gone through piece by piece: a prompt shows little of a sentence of 200 MB."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from cielo.text.normal import remove_hidden

_PIECE = 1 << 16  # characters


def visible_pieces(text: str) -> Iterator[str]:
    """Yield the text without its hidden characters (see `remove_hidden`), in pieces that may be empty."""
    return (remove_hidden(text[start : start + _PIECE]) for start in range(0, len(text), _PIECE))


def folded_pieces(pieces: Iterable[str], change: Callable[[str], str] | None = None) -> Iterator[str]:
    """Yield pieces whose runs of white space are one space each, across their borders too, and none at the beginning.

    Args:
        pieces: of one text.
        change: made of each piece before, character by character: where it is cut makes no difference.
    """
    after_space = True
    for piece in pieces:
        folded = _fold_inside(change(piece) if change else piece)
        if after_space:
            folded = folded.removeprefix(" ")
        if folded:
            after_space = folded[-1] == " "
        yield folded


def _fold_inside(piece: str) -> str:
    words = piece.split()
    if not words:
        return " " if piece else ""
    return f"{' ' * piece[0].isspace()}{' '.join(words)}{' ' * piece[-1].isspace()}"


def joined(pieces: Iterable[str], most: int | None) -> str:
    """Return the text that `pieces` make, or no less than the first `most` characters of it, and one more."""
    kept: list[str] = []
    length = 0
    for piece in pieces:
        kept.append(piece)
        length += len(piece)
        if most is not None and length > most + 1:
            break
    return "".join(kept)


def window_of(pieces: Iterable[str], mention: str, window: int) -> str:
    """Return `window` characters on each side of the first occurrence of `mention` in the text that `pieces` make.

    The mention is looked for without regard to case. Where it does not occur, the first
    ``2 * window + len(mention)`` characters are kept. No more is held at a time than a piece and the window.
    """
    wanted, rest = fold_case(mention), iter(pieces)
    before = window + max(0, len(wanted) - 1)  # a mention that ends in the next piece is in it whole, with its window
    head = shown = folded = ""
    for piece in rest:
        head += piece[: max(0, 2 * window + len(mention) - len(head))]
        shown, folded = shown + piece, folded + fold_case(piece)
        start = folded.find(wanted) if wanted else -1
        if start >= 0:
            end = start + len(wanted) + window
            shown += joined(rest, end - len(shown)) if end > len(shown) else ""
            return shown[max(0, start - window) : end].strip()
        shown, folded = (text[max(0, len(text) - before) :] for text in (shown, folded))
    return head.strip()


def fold_case(text: str) -> str:
    """Fold the case of each character that stays one character, so that positions are those of `text`."""
    folded = text.casefold()
    if len(folded) == len(text):  # no character becomes fewer than one
        return folded
    return text.translate({ord(char): one for char in set(text) if len(one := char.casefold()) == 1})
