"""Texts to vectors, and vectors to the nearest descriptions."""
