"""Scores of masks against truth: per-image metrics, intervals, thresholds, reports, and pictures of them."""
