"""Conversion: a recipe and its checkpoints to a bundle that the engine opens, checked against float32 PyTorch."""

import os

# The hub's library reads it when it is loaded; what it would tell is nobody's business.
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
