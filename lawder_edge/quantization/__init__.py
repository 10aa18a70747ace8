"""Quantisation: one set of scales for every int8 target, trained on the deploy form."""
