"""Evaluation, measuring and tuning: what is done with a linker, not by it."""
