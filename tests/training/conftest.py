"""A tiny data set that a network can learn."""

from __future__ import annotations

import numpy as np
import pytest

from lawder_edge.training.batches import TrainData


def tiny_data(n: int, *, seed: int = 0, side: int = 64, square: int = 30, lowest: int = 64) -> TrainData:
    """square: side of the foreground. lowest: row that it begins at, or above."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 120, (n, side, side, 3), dtype=np.uint8)
    labels = np.zeros((n, side, side), np.uint8)
    for i in range(n):
        y, x = rng.integers(4, side - square - 6, 2)
        y = min(y, lowest)
        labels[i, y : y + square, x : x + square] = 1
    images[labels > 0] += 100
    return TrainData(images, labels, tuple(f"tiny/{seed}_{i}" for i in range(n)), np.arange(n) % 2, ("a", "b"))


@pytest.fixture
def train_data() -> TrainData:
    return tiny_data(12)


@pytest.fixture
def val_data() -> TrainData:
    return tiny_data(4, seed=1)


@pytest.fixture
def sparse_data() -> TrainData:
    """Pictures of which each has a part without foreground."""
    return tiny_data(12, seed=2, square=12, lowest=12)
