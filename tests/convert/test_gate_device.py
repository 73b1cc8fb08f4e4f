"""On which devices the gate checks a backend."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from cielo.bundle.layout import Bundle, default_bundle
from cielo.parity import gate


@pytest.mark.parametrize(
    ("there", "asked", "checked"),
    [
        (("cpu", "cuda"), None, ["cpu", "cuda"]),
        (("cpu", "cuda"), "cuda", ["cuda"]),
        (("cpu", "cuda"), "cpu", ["cpu"]),
        (("cpu",), "cuda", ["cpu"]),  # a backend that has no GPU is not left unchecked
    ],
)
def test_one_device_or_all(
    monkeypatch: pytest.MonkeyPatch, there: tuple[str, ...], asked: str | None, checked: list[str]
) -> None:
    bundle = Bundle.open(default_bundle())
    compute_type = bundle.model("ctranslate2").compute_type
    backend = SimpleNamespace(devices=lambda: there, runnable_compute_types=lambda device: {compute_type})
    monkeypatch.setattr(gate, "registered", lambda name: backend)
    found = gate.executions_here(bundle, "ctranslate2", asked)
    assert [execution.device for execution in found] == checked
