"""Fixtures of the generator's tests."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from synth_samples import phantom_data

from lawder_edge.training.batches import TrainData


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def pictures() -> TrainData:
    return phantom_data(6)


@pytest.fixture(scope="session")
def pictures_64() -> TrainData:
    """Of the side that a Stable Diffusion of a few channels takes."""
    return phantom_data(6, side=64)


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of `--denoiser controlnet`."""
    from sd_samples import write_base

    return write_base(tmp_path_factory.mktemp("base"))
