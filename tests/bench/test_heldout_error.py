"""Generators side by side on pictures that none of them saw."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from lawder_edge.data.phantom import make_frame
from lawder_edge.synthesis.config import SynthConfig
from lawder_edge.synthesis.denoiser import Denoised

TIMES = (100, 900)


@pytest.fixture
def script(benchmark_script: Callable[[str], ModuleType]) -> ModuleType:
    return benchmark_script("heldout_error")


def _grey(config: SynthConfig, seen: list[torch.Tensor]) -> Any:
    """A generator that says mid-grey, and keeps what it is shown."""

    def denoiser(x_t: torch.Tensor, t: torch.Tensor, planes: torch.Tensor) -> Denoised:
        seen.append(torch.cat([x_t, planes], 1))
        return Denoised(torch.zeros_like(x_t), x_t)

    return SimpleNamespace(record=SimpleNamespace(config=config), denoiser=denoiser)


def test_the_error_is_that_of_each_picture_whatever_batch_it_is_in(script: ModuleType) -> None:
    frames = [make_frame(np.random.default_rng(i), size=(32, 32)) for i in range(3)]
    images, labels = np.stack([f.image for f in frames]), np.stack([f.mask for f in frames])
    parts: list[torch.Tensor] = []
    found = script.errors(_grey(SynthConfig(), parts), images, labels, TIMES)
    wanted = np.square((images.astype(np.float64) - 128) / 128).mean((1, 2, 3))
    np.testing.assert_allclose(found, np.stack([wanted, wanted], 1), rtol=1e-5)
    script.BATCH = 2
    split: list[torch.Tensor] = []
    script.errors(_grey(SynthConfig(), split), images, labels, TIMES)
    # The same noise for a picture in another batch, and its mask beside it.
    torch.testing.assert_close(torch.cat([split[0], split[2]]), parts[0])
    hinted: list[torch.Tensor] = []
    whole: list[torch.Tensor] = []
    script.errors(_grey(SynthConfig(condition="lowpass"), hinted), images, labels, TIMES)
    script.BATCH = 3
    script.errors(_grey(SynthConfig(condition="lowpass"), whole), images, labels, TIMES)
    assert whole[0].shape[1] == 3 + 1 + 3
    torch.testing.assert_close(torch.cat([hinted[0], hinted[2]]), whole[0])


def test_the_table_weighs_the_times_and_tells_the_difference_to_the_first(script: ModuleType) -> None:
    rng = np.random.default_rng(0)
    base = rng.uniform(0.1, 0.2, (30, 4))
    lines = script.table(["alone", "taught"], [base, base - 0.01], (125, 375, 625, 875))
    assert len({line.count("|") for line in lines}) == 1
    weights = script.time_weight(script.kept_share()[[125, 375, 625, 875]]).numpy()
    first, second = (line.split(" | ") for line in lines[2:])
    assert first[1] == f"{(base * weights).mean():.4f}"
    assert first[2] == ""
    by = -0.01 * weights.mean()
    assert second[2] == f"{by:+.4f} [{by:+.4f}, {by:+.4f}]"
    assert first[3] == f"{base[:, 0].mean():.4f}"
