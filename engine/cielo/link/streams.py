"""Streams of mentions, cut into the batches that are linked together."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import TypeVar

from cielo.errors import MentionError, OptionError
from cielo.records import Mention

_T = TypeVar("_T")


def many(mentions: Iterable[_T]) -> Iterable[_T]:
    """Return mentions as they are; one alone is refused, since its characters would be taken for several.

    Raises:
        MentionError: where it is one mention or one string, or nothing that can be gone through.
    """
    if isinstance(mentions, str | Mention) or not isinstance(mentions, Iterable):
        raise MentionError(f"got one {type(mentions).__name__}, expected an iterable of Mention")
    return mentions


def chunks(source: Iterable[_T], size: int) -> Iterator[list[_T]]:
    """Yield a stream in lists of `size`, the last one shorter, and read no further than is needed for each.

    Raises:
        MentionError: as `many`.
        OptionError: where `size` is not at least 1.
    """
    if size < 1:
        raise OptionError(f"got chunk {size}, expected at least 1")
    rest = iter(many(source))
    while batch := list(itertools.islice(rest, size)):
        yield batch
