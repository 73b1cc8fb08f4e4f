"""The notebooks: stored without outputs, and run from their start to their end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).parents[3] / "engine" / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
# What the outputs of a notebook hold, whatever the machine.
SHOWN = {"first-links.ipynb": ("BW20", "tomografía", "R05", "none", "CIE10ES:R05", "ejemplo.es")}
_OF_A_CELL = {"cell_type", "id", "metadata", "source"}


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def execute(notebook: Any, folder: Path) -> Any:
    nbclient, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
    pytest.importorskip("ipykernel")
    made = nbformat.reads(json.dumps(notebook), as_version=4)
    nbformat.validate(made)
    return nbclient.NotebookClient(made, timeout=300, resources={"metadata": {"path": str(folder)}}).execute()


def test_there_are_notebooks_and_what_each_shows_is_known() -> None:
    assert [path.name for path in NOTEBOOKS] == sorted(SHOWN)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_a_notebook_holds_nothing_of_a_machine_or_a_run(path: Path) -> None:
    found = read(path)
    assert found["metadata"] == {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    for cell in found["cells"]:
        more = set(cell) - _OF_A_CELL
        assert more == ({"execution_count", "outputs"} if cell["cell_type"] == "code" else set())
        assert cell["metadata"] == {} and cell.get("outputs", []) == [] and cell.get("execution_count") is None


@pytest.mark.integrations
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_a_notebook_runs_from_its_start_to_its_end(path: Path, tmp_path: Path) -> None:
    done = execute(read(path), tmp_path)
    outputs = json.dumps([cell.get("outputs") for cell in done["cells"]], ensure_ascii=False)
    assert [words for words in SHOWN[path.name] if words not in outputs] == []
    assert "text/html" in outputs  # a link shows itself


@pytest.mark.integrations
def test_a_cell_that_fails_would_be_seen(tmp_path: Path) -> None:
    notebook = read(NOTEBOOKS[0])
    notebook["cells"][-1]["source"] = "1 / 0"
    with pytest.raises(Exception, match="ZeroDivisionError"):
        execute(notebook, tmp_path)
