"""Evaluation: readers of annotated corpora, scores, calibration, reports."""
