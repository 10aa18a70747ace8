"""A small network with weights, and what it learnt from."""

from __future__ import annotations

import pytest
import torch
from quantization_samples import bright_squares

from lawder_edge.training.config import TrainConfig
from lawder_edge.training.loop import train
from lawder_edge.training.prepare import PreparedRun
from lawder_edge.weights import LoadedModel, load_model


@pytest.fixture(scope="session")
def run() -> PreparedRun:
    return PreparedRun(bright_squares(12, seed=0), bright_squares(4, seed=1), ())


@pytest.fixture(scope="session")
def loaded(run: PreparedRun, tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    """A plain U-Net that has learnt to find the squares."""
    torch.set_num_threads(1)
    config = TrainConfig(
        model="unet", schedule="32x30", batch=4, warmup_steps=2, learning_rate=1e-2, ema_decay=0.5, augment=False,
        val_every=10,
    )  # fmt: skip
    return load_model(str(train(config, run.train, val=run.val, out=tmp_path_factory.mktemp("unet"), cpu=True).weights))
