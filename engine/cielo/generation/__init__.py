"""Prompts to hypotheses: one protocol, and a file for each backend."""
