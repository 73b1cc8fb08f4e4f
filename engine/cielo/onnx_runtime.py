"""Loading ONNX Runtime, which must not report to anybody."""

from __future__ import annotations

import importlib
import os
from typing import Any, Final

PROVIDERS: Final = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}


def load_onnxruntime(module: str = "onnxruntime") -> Any:
    """Return ONNX Runtime, or one of its modules, imported with its telemetry off.

    Its wheels for Linux look up a vendor's host and leave files in the home and temporary folders, unless the
    environment says otherwise before the first import; afterwards nothing prevents it. Processes started from this one
    inherit the setting. Whatever imports ONNX Runtime imports it by this function, or after a call of
    `disable_telemetry`.
    """
    disable_telemetry()
    return importlib.import_module(module)


def disable_telemetry() -> None:
    """Keep ONNX Runtime's telemetry off in this process and its children, whatever the environment said."""
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
