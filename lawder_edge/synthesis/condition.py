"""What a teacher is shown beside the mask: the true picture, without its texture."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from lawder_edge.synthesis.config import SynthConfig

# Means of 8 x 8 places tell colours, light and where what lies. At full size the best network would copy the hint and
# say nothing of the mask; the noise, a tenth of half the range, keeps it from reading the places' values to the digit.
GRID = 8
NOISE = 0.1
# Of the streams of random numbers of a step, beside those of `draws`.
_HINT = 3


def hints_of(config: SynthConfig) -> int:
    """How many planes of a hint the recipe's denoiser is shown after those of the mask."""
    return config.in_channels if config.condition else 0


def hint_planes(pictures: Tensor, noise: Tensor) -> Tensor:
    """The means of `GRID` x `GRID` places, with noise, brought back to the pictures' size: (B, C, H, W).

    pictures: (B, C, H, W) in [-1, 1]; noise: (B, C, 8, 8) standard normal.
    """
    means = F.adaptive_avg_pool2d(pictures, GRID) + NOISE * noise
    return F.interpolate(means, size=pictures.shape[2:], mode="bilinear", align_corners=False)


def draw_hint(pictures: Tensor, config: SynthConfig, *, step: int, places: range) -> Tensor:
    """The hint of each picture of a part of a step's batch, whose noise depends on (seed, step, place) alone.

    pictures: (B, C, H, W) as drawn for these `places`.
    """
    shape = (pictures.shape[1], GRID, GRID)
    rngs = [np.random.default_rng((config.seed, _HINT, step, place)) for place in places]
    noise = torch.from_numpy(np.stack([rng.standard_normal(shape, np.float32) for rng in rngs]))
    return hint_planes(pictures, noise.to(pictures.device))


def with_hint(planes: Tensor, config: SynthConfig, pictures: Tensor, *, first: int = 0) -> Tensor:
    """Planes of a mask, and where the recipe has one, the hint of `pictures` with the same noise each time.

    first: place of the first of them in its list, which the noise of each goes by.
    """
    if not config.condition:
        return planes
    return torch.cat([planes, draw_hint(pictures, config, step=0, places=range(first, first + len(pictures)))], 1)
