"""A picture of what a generator draws in the middle of its training."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch

from lawder_edge.files import encode_png
from lawder_edge.synthesis.condition import with_hint
from lawder_edge.synthesis.config import SynthConfig
from lawder_edge.synthesis.denoiser import Denoiser, mask_planes
from lawder_edge.synthesis.solver import DEFAULT, first_noise, solve, to_pixels
from lawder_edge.training.batches import TrainData, normalise

COLUMNS = 8


def draw_preview(denoiser: Denoiser, config: SynthConfig, data: TrainData, *, at_once: int = COLUMNS) -> bytes:
    """PNG bytes: masks of the training list above, what is drawn for them below, with the same noise each time.

    at_once: so many pictures go through the denoiser together, with guidance half as many. denoiser: a module in eval
    mode. One that is shown a hint gets that of the list's pictures, and no guidance: it was
    never shown none.
    """
    there = [i for i, labels in enumerate(data.labels) if (labels >= config.lesion_class).any()]
    chosen = there[:: max(1, len(there) // COLUMNS)][:COLUMNS]
    labels = np.stack([data.labels[i] for i in chosen])
    device = next(denoiser.parameters()).device  # type: ignore[attr-defined]
    planes = mask_planes(torch.from_numpy(labels).long(), num_classes=config.num_classes).to(device)
    planes = with_hint(planes, config, normalise(np.stack([data.images[i] for i in chosen])).to(device))
    noise = first_noise(range(len(chosen)), denoiser.shape).to(device)
    solver = dataclasses.replace(DEFAULT, guidance=1.0) if config.condition else DEFAULT
    part = max(1, at_once // 2)
    drawn = [solve(denoiser, planes[i : i + part], noise[i : i + part], solver) for i in range(0, len(noise), part)]
    pictures = np.concatenate([to_pixels(some) for some in drawn])
    grey = (labels.astype(np.float32) * (255 / max(1, config.num_classes - 1))).astype(np.uint8)
    masks = np.repeat(grey[..., None], pictures.shape[3], 3)
    return encode_png(np.concatenate([np.concatenate(list(masks), 1), np.concatenate(list(pictures), 1)]))
