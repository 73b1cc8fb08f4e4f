"""Calibration: fitting the confidence of links on annotated mentions, and what it is worth."""
