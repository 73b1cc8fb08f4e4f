from __future__ import annotations

import json

import pytest
from cielo.errors import CieloError
from cielo.extras import require


def test_a_module_that_is_there_is_returned() -> None:
    assert require("json", "report", "a page") is json


def test_what_is_missing_is_named_with_its_user_and_its_extra() -> None:
    with pytest.raises(CieloError, match=r"^a page needs nowhere, which is not .* pip install 'cielo\[report\]'$"):
        require("nowhere.plots", "report", "a page")
