"""A small network with weights, and pictures that it can learn."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from lawder_edge.training.batches import TrainData
from lawder_edge.training.config import TrainConfig
from lawder_edge.training.loop import train
from lawder_edge.training.prepare import PreparedRun
from lawder_edge.weights import LoadedModel, load_model

SIDE = 32


def bright_squares(n: int, *, seed: int) -> TrainData:
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 120, (n, SIDE, SIDE, 3), dtype=np.uint8)
    labels = np.zeros((n, SIDE, SIDE), np.uint8)
    for i in range(n):
        y, x = rng.integers(2, SIDE - 16, 2)
        labels[i, y : y + 14, x : x + 14] = 1
    images[labels > 0] += 100
    return TrainData(images, labels, tuple(f"tiny/{seed}_{i}" for i in range(n)), np.arange(n) % 2)


@pytest.fixture(scope="session")
def run() -> PreparedRun:
    return PreparedRun(bright_squares(12, seed=0), bright_squares(4, seed=1), ())


@pytest.fixture(scope="session")
def other_run() -> PreparedRun:
    """Pictures of two other patients."""
    train, val = (replace(bright_squares(n, seed=s), groups=(f"patient{s}",)) for n, s in ((12, 2), (4, 3)))
    return PreparedRun(train, val, ())


@pytest.fixture(scope="session")
def loaded(run: PreparedRun, tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    """A plain U-Net that has learnt to find the squares."""
    torch.set_num_threads(1)
    config = TrainConfig(
        model="unet", schedule="32x30", batch=4, warmup_steps=2, learning_rate=1e-2, ema_decay=0.5, augment=False,
        val_every=10,
    )  # fmt: skip
    return load_model(str(train(config, run.train, val=run.val, out=tmp_path_factory.mktemp("unet"), cpu=True).weights))
