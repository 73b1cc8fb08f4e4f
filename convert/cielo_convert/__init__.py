"""Conversion: a recipe and its checkpoints to a bundle that the engine opens, checked against float32 PyTorch."""
