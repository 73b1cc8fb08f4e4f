"""What the processor that runs the tests can do: int8 answers depend on it."""

from __future__ import annotations

import pytest
from cielo.workbench.bench.system import instruction_sets

MULTIPLIES_BYTES = bool({"avx512_vnni", "avx_vnni", "amx_int8", "asimddp", "i8mm"} & set(instruction_sets()))
"""Whether products of bytes are added up without loss; AVX2 alone adds pairs of them in 16 bits, which saturate."""

NEEDS_BYTE_PRODUCTS = pytest.mark.skipif(
    not MULTIPLIES_BYTES, reason="without VNNI int8 saturates, and the gate rightly refuses a model of random weights"
)
