"""Codes and their descriptions."""
