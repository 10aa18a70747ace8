"""Synthetic training data: mask-conditioned diffusion whose loss is weighted per pixel."""
