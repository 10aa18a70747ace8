"""What one training step draws: pictures, noise, times, and whose mask is withheld.

All of it depends on (seed, step, place in the batch) alone: the same in a resumed run, in every arm, and however many
processes and parts share the batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lawder_edge.synthesis.config import SynthConfig
from lawder_edge.synthesis.diffusion import draw_times
from lawder_edge.training.batches import TrainData, normalise, order_of_pass

_TIME, _PICTURE = 1, 2


@dataclass(frozen=True)
class Draw:
    """Part of a batch.

    x0: (B, C, H, W) float32 in [-1, 1], or what the denoiser's `encode` makes of it. labels: (B, H, W) int64. noise: of
    the denoiser's x0. t: (B,) int64. shown: (B,) bool, whether the denoiser is shown the mask.
    """

    x0: Tensor
    labels: Tensor
    noise: Tensor
    t: Tensor
    shown: Tensor

    def to(self, device: Any) -> Draw:
        return Draw(*(getattr(self, name).to(device) for name in ("x0", "labels", "noise", "t", "shown")))


def draw(
    data: TrainData,
    config: SynthConfig,
    *,
    step: int,
    places: range,
    noise_shape: tuple[int, int, int] | None = None,
) -> Draw:
    """The pictures at `places` of the batch of `step`. Every picture is taken once before any is taken again.

    noise_shape: (C, h, w) of a picture's noise where it is not the picture's own, `Denoiser.shape`.
    """
    times = draw_times(float(_rng(config, _TIME, step).random()), config.batch)
    images, labels, noises, shown = [], [], [], []
    for place in places:
        rng = _rng(config, _PICTURE, step, place)
        flip_x, flip_y = (config.flips and rng.random() < 0.5 for _ in range(2))
        shown.append(rng.random() >= config.mask_dropout)
        pass_index, position = divmod(step * config.batch + place, len(data))
        index = order_of_pass(len(data), seed=config.seed, pass_index=pass_index)[position]
        turn = (slice(None, None, -1 if flip_y else 1), slice(None, None, -1 if flip_x else 1))
        image = data.images[index][turn]
        images.append(image)
        labels.append(data.labels[index][turn])
        noises.append(rng.standard_normal(noise_shape or (image.shape[2], *image.shape[:2]), np.float32))
    return Draw(
        x0=normalise(np.stack(images)),
        labels=torch.from_numpy(np.stack(labels)).long(),
        noise=torch.from_numpy(np.stack(noises)),
        t=times[places.start : places.stop],
        shown=torch.tensor(shown),
    )


def _rng(config: SynthConfig, *place: int) -> np.random.Generator:
    return np.random.default_rng((config.seed, *place))
