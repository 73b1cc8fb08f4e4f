"""Every compute type and precision has its bounds; what is not known has none."""

from __future__ import annotations

from typing import get_args

import pytest
from cielo.bundle.manifest import Precision
from cielo.errors import ParityError
from cielo.generation.backends import BACKENDS
from cielo.parity.tolerances import encoder_tolerances, generator_tolerances


@pytest.mark.parametrize("backend", sorted(BACKENDS))
def test_every_compute_type_of_every_backend_has_bounds(backend: str) -> None:
    exact = generator_tolerances("float32")
    for compute_type in BACKENDS[backend].compute_types:
        bounds = generator_tolerances(compute_type)
        assert bounds.texts <= exact.texts and bounds.scores >= exact.scores


def test_families() -> None:
    assert generator_tolerances("int8_float16") == generator_tolerances("int8_bfloat16") == generator_tolerances("int8")
    assert generator_tolerances("float16") == generator_tolerances("bfloat16") != generator_tolerances("float32")


@pytest.mark.parametrize("compute_type", ["int4", "", "float64"])
def test_an_unknown_compute_type_has_none(compute_type: str) -> None:
    with pytest.raises(ParityError, match="no tolerances are known"):
        generator_tolerances(compute_type)


def test_every_precision_has_bounds() -> None:
    for precision in get_args(Precision):
        assert 0 < encoder_tolerances(precision).vectors <= 1
