from __future__ import annotations

import pytest
from cielo import Linker, Mention, OptionError
from cielo.link.columns import RESULTS, linked_columns


def test_each_row_has_its_link_or_its_error() -> None:
    columns = {"text": ["tos", float("nan"), "TC abdominal", 3], "kind": [None, None, "procedure", None], "n": [1] * 4}
    with Linker.open(cache=False) as linker:
        found = linked_columns(linker, columns)
        expected = linker.link([Mention("tos"), Mention("TC abdominal", kind="procedure")])
    assert tuple(found) == RESULTS
    assert [found["code"][0], found["code"][2]] == [link.code for link in expected]
    assert found["linked_kind"] == ["diagnosis", None, "procedure", None]
    assert [error is None for error in found["error"]] == [True, False, True, False]


def test_without_a_column_of_mentions_it_is_refused() -> None:
    with Linker.open(cache=False) as linker, pytest.raises(OptionError, match="`text`"):
        linked_columns(linker, {"sentence": ["Refiere tos."]})
