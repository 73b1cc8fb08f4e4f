"""Which split a corpus is, as the names of its file and folders say: ``train``, ``dev``, ``test``, or nothing."""

from __future__ import annotations

import re
from pathlib import Path

_SPLITS = {
    "train": "train", "training": "train", "dev": "dev", "development": "dev", "devel": "dev", "valid": "dev",
    "validation": "dev", "test": "test", "testing": "test",
}  # fmt: skip
_WORD = re.compile(r"[a-z]+")


def split_of(path: Path, named: str | None = None) -> str | None:
    """Return the split that names tell.

    Args:
        path: of the corpus. Its own name counts if one split alone is named in it, and then that of the folder it is
            in, which must be a split's name and nothing else.
        named: what the corpus itself calls its split; it comes first.
    """
    path = path.absolute()
    folder = path.parent.name.casefold()
    return _only_split(named or "") or _only_split(path.stem if path.is_file() else path.name) or _SPLITS.get(folder)


def _only_split(name: str) -> str | None:
    found = {_SPLITS[word] for word in _WORD.findall(name.casefold()) if word in _SPLITS}
    return found.pop() if len(found) == 1 else None
