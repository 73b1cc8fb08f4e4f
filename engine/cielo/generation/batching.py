"""Batches: rows of like length together, within so many tokens."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

# Source tokens, padding included, that one batch may hold: about 12 prompts of the published workload. Twice as many
# were no faster at the true shape, and took a gigabyte more.
DEFAULT_BATCH_TOKENS = 1024


def make_batches(
    lengths: Sequence[int], batch_tokens: int, parts: int = 1, most_rows: Callable[[int], int] | None = None
) -> list[list[int]]:
    """Return the numbers of rows in batches of like length, longest first, and of like size.

    Args:
        lengths: tokens of each row.
        batch_tokens: the most tokens of a batch, padding included; a row longer than that is a batch of its own.
        parts: how many batches are worked at together: there are so many of them, or twice or three times so many, as
            far as there are rows.
        most_rows: from a batch's longest row to the most rows that it may have, at least 1.
    """
    order = sorted(range(len(lengths)), key=lambda row: -lengths[row])

    def fill(share: float) -> list[list[int]]:
        batches: list[list[int]] = []
        taken = room = 0
        for row in order:
            if not room or taken >= share * len(batches):
                longest = max(1, lengths[row])
                allowed = batch_tokens // longest
                room = max(1, min(allowed, most_rows(longest)) if most_rows else allowed)
                batches.append([])
            batches[-1].append(row)
            taken, room = taken + lengths[row], room - 1
        return batches

    least = len(fill(math.inf))
    wanted = max(1, parts) * -(-least // max(1, parts))
    return fill(sum(lengths) / wanted) if wanted > 1 else fill(math.inf)
