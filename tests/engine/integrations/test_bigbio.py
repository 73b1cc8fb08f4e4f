from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from cielo import Linker, MentionError
from cielo.integrations.bigbio import add_normalized


def document() -> dict[str, Any]:
    return {
        "id": "1",
        "document_id": "d",
        "passages": [
            {"id": "2", "type": "title", "text": ["La TC abdominal es normal."], "offsets": [[0, 26]]},
            {"id": "3", "type": "abstract", "text": ["Refiere tos seca."], "offsets": [[27, 44]]},
        ],
        "entities": [
            {"id": "4", "type": "PROC", "text": ["TC abdominal"], "offsets": [[3, 15]],
             "normalized": [{"db_name": "UMLS", "db_id": "C1"}, {"db_name": "CIE10ES", "db_id": "X"}]},
            {"id": "5", "type": "DIAG", "text": ["fiebre"], "offsets": [[35, 38]], "normalized": []},
            {"id": "6", "type": "DIAG", "text": ["tos"], "offsets": [[35, 38]], "normalized": []},
        ],
        "relations": [],
    }  # fmt: skip


def test_codes_are_added_and_the_rest_is_kept(linker: Linker) -> None:
    given = document()
    found = add_normalized(given, linker, kinds={"PROC": "procedure"})
    expected = copy.deepcopy(given)
    expected["entities"][0]["normalized"][1]["db_id"] = "BW20"
    expected["entities"][2]["normalized"] = [{"db_name": "CIE10ES", "db_id": "R05"}]
    assert json.loads(json.dumps(found.document)) == expected
    assert given == document()
    (problem,) = found.problems
    assert problem.startswith("5: ") and "fiebre" not in problem


@pytest.mark.parametrize("broken", [{}, {"passages": [], "entities": [{"id": 4}]}, {"passages": 3, "entities": []}])
def test_what_is_no_document_is_refused(linker: Linker, broken: dict[str, Any]) -> None:
    with pytest.raises(MentionError, match="schema kb"):
        add_normalized(broken, linker)


def test_offsets_out_of_all_proportion_take_no_memory(linker: Linker) -> None:
    given = document()
    given["passages"][1]["offsets"] = [[10**12, 10**12 + 17]]
    with pytest.raises(MentionError, match="far beyond"):
        add_normalized(given, linker)
