"""Datasets on disk: finding, pairing, decoding, caching, splitting and checking images with their masks."""
