"""Streams of mentions, cut into the batches that are linked together."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

from cielo.errors import CieloError, MentionError, OptionError
from cielo.link.progress import Told
from cielo.records import Link, Mention

_T = TypeVar("_T")


def many(mentions: Iterable[_T]) -> Iterable[_T]:
    """Return mentions as they are; one alone is refused, since its characters would be taken for several.

    Raises:
        MentionError: where it is one mention or one string, or nothing that can be gone through.
    """
    if isinstance(mentions, str | Mention) or not isinstance(mentions, Iterable):
        raise MentionError("got one {found}, expected an iterable of Mention", found=type(mentions).__name__)
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


def each_of(
    batch: Sequence[Mention | CieloError],
    check: Callable[[Mention], None],
    link: Callable[[Sequence[Mention]], Sequence[Link]],
    told: Told | None = None,
) -> Iterator[Link | CieloError]:
    """Link what can be linked of a batch, and yield a link or an error for each entry, in order.

    Args:
        batch: mentions, and errors that stand in the place of one.
        check: raises a MentionError for what cannot be linked.
        link: links the rest, and tells of it itself.
        told: of the entries that are errors.
    """
    checked = [_checked(entry, check) for entry in batch]
    wanted = [entry for entry in checked if isinstance(entry, Mention)]
    if told is not None and len(wanted) < len(checked):
        told(len(checked) - len(wanted))
    links = iter(link(wanted))
    yield from (next(links) if isinstance(entry, Mention) else entry for entry in checked)


def _checked(entry: Mention | CieloError, check: Callable[[Mention], None]) -> Mention | CieloError:
    if isinstance(entry, CieloError):
        return entry
    try:
        check(entry)
    except MentionError as error:
        return error
    return entry
