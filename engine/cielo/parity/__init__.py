"""The comparison with float32 PyTorch."""
