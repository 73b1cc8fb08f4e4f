from __future__ import annotations

from pathlib import Path

import pytest
from cielo.knowledge.reading import KnowledgeBase
from cielo.knowledge.records import DescriptionRow
from knowledge_fakes import make


@pytest.fixture
def base(tmp_path: Path) -> KnowledgeBase:
    return make(
        tmp_path / "base.sqlite",
        [
            DescriptionRow("T68", "Hipotermia", "diagnosis"),
            DescriptionRow("R50.9", "Fiebre, no especificada", "diagnosis"),
            DescriptionRow("R50.9", "fiebre", "diagnosis", preferred=False),
            DescriptionRow("R50", "Fiebre", "diagnosis"),
            DescriptionRow("6A4Z", "hipotermia", "procedure"),
            DescriptionRow("BW20", "tomografía computarizada", "procedure"),
            DescriptionRow("BW20ZZZ", "Tomografía computarizada", "procedure"),
            DescriptionRow("NA", "ninguno", "procedure"),
        ],
    )
