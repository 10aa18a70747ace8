"""Pictures that a small network can learn."""

from __future__ import annotations

import numpy as np

from lawder_edge.training.batches import TrainData

SIDE = 32


def bright_squares(n: int, *, seed: int) -> TrainData:
    """`n` dim pictures with a bright square each, named tiny/SEED_I."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 120, (n, SIDE, SIDE, 3), dtype=np.uint8)
    labels = np.zeros((n, SIDE, SIDE), np.uint8)
    for i in range(n):
        y, x = rng.integers(2, SIDE - 16, 2)
        labels[i, y : y + 14, x : x + 14] = 1
    images[labels > 0] += 100
    return TrainData(images, labels, tuple(f"tiny/{seed}_{i}" for i in range(n)), np.arange(n) % 2)
