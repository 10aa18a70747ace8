"""Whether probabilities are what they say: reliability, expected calibration error, Dice at every threshold.

Guo et al., On Calibration of Modern Neural Networks - https://arxiv.org/abs/1706.04599, over pixels in place of images.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lawder_edge.errors import BadInput
from lawder_edge.evaluation.threshold import CANDIDATES, dice_at_each

BINS = 15


@dataclass(frozen=True)
class Bin:
    """Pixels whose foreground probability is in [low, high), the last bin with 1.

    share: of all pixels. probability: their mean; foreground: the share of them that is foreground. Both None in a bin
    without pixels.
    """

    low: float
    high: float
    share: float
    probability: float | None
    foreground: float | None


@dataclass(frozen=True)
class Calibration:
    """images: as many. ece: expected calibration error in [0, 1], mean over bins, weighted by share, of |probability -
    foreground|. thresholds: (threshold, mean over images of Dice), ascending.
    """

    images: int
    ece: float
    bins: tuple[Bin, ...]
    thresholds: tuple[tuple[float, float], ...]


def calibrate(pairs: Iterable[tuple[NDArray[np.float32], NDArray[Any]]]) -> Calibration:
    """pairs: foreground probability (H, W) float32 in [0, 1] and truth (H, W), foreground other than 0, of each image.

    Every image weighs the same, whatever its size. Raises BadInput for no images, shapes that differ, or probabilities
    that are none.
    """
    edges = np.linspace(0, 1, BINS + 1)
    shares, probability, foreground = np.zeros(BINS), np.zeros(BINS), np.zeros(BINS)
    grid = np.asarray(CANDIDATES, np.float32)
    dice = np.zeros(grid.size)
    images = 0
    for p, truth in pairs:
        if p.shape != truth.shape:
            raise BadInput(f"image {images}: probability {p.shape} and mask {truth.shape} must have one shape")
        if not (np.isfinite(p).all() and p.min() >= 0 and p.max() <= 1):
            raise BadInput(f"image {images}: the map holds values that are no probabilities in [0, 1]")
        place = np.minimum((p.ravel() * BINS).astype(np.int64), BINS - 1)
        inside = truth.ravel() != 0
        for total, weights in ((shares, None), (probability, p.ravel().astype(np.float64)), (foreground, inside)):
            total += np.bincount(place, weights, minlength=BINS) / p.size
        dice += dice_at_each(p, truth != 0, grid)
        images += 1
    if not images:
        raise BadInput("calibration needs images with masks; got none")
    bins = tuple(
        Bin(
            low=float(edges[i]),
            high=float(edges[i + 1]),
            share=float(shares[i] / images),
            probability=float(probability[i] / shares[i]) if shares[i] else None,
            foreground=float(foreground[i] / shares[i]) if shares[i] else None,
        )
        for i in range(BINS)
    )
    return Calibration(
        images=images,
        ece=float(np.abs(probability - foreground).sum() / images),
        bins=bins,
        thresholds=tuple((float(t), float(d)) for t, d in zip(CANDIDATES, dice / images, strict=True)),
    )
