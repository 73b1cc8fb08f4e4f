"""Licences of what is fetched: what they ask for in plain words, and which of them this user has accepted."""

from __future__ import annotations

import contextlib
import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cielo import schema
from cielo.errors import CieloError
from cielo.files import atomic_write
from cielo.machine import state_directory

_NAMED = "name its authors"
_PLAIN: Mapping[str, str] = {
    "cc-by-nc": f"You may not use it, or what is made of it, commercially; {_NAMED}.",
    "cc-by": f"You may use it for anything; {_NAMED}.",
    "cc0": "You may use it for anything.",
    "apache": "You may use it for anything, if you keep its notices.",
    "mit": "You may use it for anything, if you keep its notices.",
    "public-domain": "You may use it for anything.",
}


@dataclass(frozen=True, slots=True)
class Licence:
    """The licence of something that is fetched.

    Attributes:
        of: what it is of, by the name of its source.
        name: as the source states it, such as ``CC BY-NC 4.0``; None where it states none.
        page: where it can be read.
    """

    of: str
    name: str | None
    page: str

    @property
    def plain(self) -> str:
        """What it asks for, in one sentence."""
        if self.name is None:
            return "Its authors state no licence here: read their page, and ask them before you use it."
        key = self.name.lower().replace(" ", "-")
        known = (words for beginning, words in _PLAIN.items() if key.startswith(beginning))
        return next(known, "Read it before you go on.")

    @property
    def _key(self) -> str:
        return f"{self.of} {self.name or '-'}"


def not_accepted(licences: Sequence[Licence]) -> list[Licence]:
    """Return those that this user has not accepted yet."""
    accepted = _accepted()
    return [licence for licence in licences if licence._key not in accepted]


def accept(licences: Sequence[Licence]) -> None:
    """Keep that this user has accepted licences; where that cannot be written, they will be asked for again."""
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    entries = dict(_accepted()) | {licence._key: today for licence in licences}
    with contextlib.suppress(OSError, CieloError):
        file = _file()
        file.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(file) as temporary:
            temporary.write_bytes(schema.encode(entries))


def _file() -> Path:
    return state_directory() / "licences.json"


def _accepted() -> Mapping[str, str]:
    with contextlib.suppress(OSError, CieloError):
        content = _file().read_bytes()
        return schema.decode(dict[str, str], content, "the licences", error=CieloError, remedy="accept them again")
    return {}
