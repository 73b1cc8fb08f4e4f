"""What is linked while measuring: the workload that comes with cielo, or a file of one's own."""

from __future__ import annotations

import contextlib
import hashlib
import io
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from cielo.errors import MentionError, TableError
from cielo.records import Mention
from cielo.tables import Format, TableFormat
from cielo.tables import mentions as tables
from cielo.text.prompt import build_prompt

DEFAULT_WORKLOAD = Path(__file__).with_name("workload.tsv")
# Characters of the prompts of the published test set (4,777 mentions of CodiEsp), which the default workload follows.
PUBLISHED_CHARACTERS = {"median": 249, "p95": 458, "p99": 548}


@dataclass(frozen=True, slots=True)
class Workload:
    """The mentions to link while measuring.

    Attributes:
        name: ``default``, or ``own``: a file's name can say whose it is, and stays out of reports.
        sha256: of the file's content.
        left_out: rows of the file that hold no mention that can be linked.
    """

    mentions: tuple[Mention, ...] = field(repr=False)
    name: str
    sha256: str
    left_out: int = 0

    def characters(self) -> list[int]:
        """Return how long each prompt is before a bundle shortens it, in characters."""
        return [len(build_prompt(mention.text, mention.sentence)) for mention in self.mentions]


def load_workload(
    path: str | Path | None = None,
    form: Format | None = None,
    *,
    check: Callable[[Mention], None] | None = None,
) -> Workload:
    """Read a workload; rows that hold no mention, or none that `check` lets pass, are counted and left out.

    Args:
        path: a table with the column ``text`` and, if wanted, ``sentence`` and ``kind``; default: cielo's own.
        form: the file's format, where its name does not tell.
        check: raises `MentionError` for a mention that cannot be linked (`Linker.check`).

    Raises:
        TableError: where the file cannot be read, or holds no mention at all.
    """
    file = DEFAULT_WORKLOAD if path is None else Path(path)
    with tables.open_input(str(file)) as stream:
        content = stream.read()
    read = tables.read_mentions(io.BytesIO(content), TableFormat(format=form), name=str(file))
    found = [_mention(row, check) for row in read]
    mentions = tuple(mention for mention in found if mention is not None)
    if not mentions:
        raise TableError(
            f"{file}: none of its {len(found)} row(s) holds a mention that can be linked; give at least one row with "
            "a text, and with a kind of the knowledge base or none (`cielo link --input` names what is wrong in each)"
        )
    name = "default" if path is None else "own"
    return Workload(mentions, name, hashlib.sha256(content).hexdigest(), len(found) - len(mentions))


def _mention(row: tables.InputRow, check: Callable[[Mention], None] | None) -> Mention | None:
    with contextlib.suppress(MentionError):
        mention = row.mention()
        if check is not None:
            check(mention)
        return mention
    return None
