"""Fixtures of the generator's tests."""

from __future__ import annotations

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
