"""Keys of callers."""

from __future__ import annotations

from pathlib import Path

import pytest
from cielo.errors import OptionError
from cielo.server.keys import Keys

KEY, OTHER = "0123456789abcdef", "fedcba9876543210"


def test_each_key_has_its_name(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text(f"# those of the ward\nward {KEY}\n\n lab\t{OTHER}\n")
    keys = Keys(file)
    assert [keys.name_of(KEY), keys.name_of(OTHER), keys.name_of(KEY[:-1]), keys.name_of("")] == [
        "ward",
        "lab",
        None,
        None,
    ]


@pytest.mark.parametrize(
    "content", ["", "# none\n", "ward\n", "ward short\n", f"ward {KEY}\nward {OTHER}\n", f"a b {KEY}\n", f"wárd {KEY}"]
)
def test_a_bad_file_is_refused_and_no_key_shown(tmp_path: Path, content: str) -> None:
    file = tmp_path / "keys"
    file.write_text(content, encoding="utf-8")
    with pytest.raises(OptionError) as caught:
        Keys(file)
    assert KEY not in str(caught.value)


def test_a_bad_reload_keeps_the_keys(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text(f"ward {KEY}\n")
    keys = Keys(file)
    file.write_text("ward\n")
    with pytest.raises(OptionError):
        keys.reload()
    assert keys.name_of(KEY) == "ward"
    file.write_text(f"ward {OTHER}\n")
    keys.reload()
    assert (keys.name_of(KEY), keys.name_of(OTHER)) == (None, "ward")
    file.unlink()
    with pytest.raises(OptionError, match="cannot be read"):
        keys.reload()
