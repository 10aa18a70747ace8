"""Choosing the probability from which a pixel is foreground, on validation images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lawder_edge.errors import BadInput

CANDIDATES = tuple(round(0.05 + 0.01 * i, 2) for i in range(91))

# Mean Dice of two thresholds that differ by less than rounding is a tie.
_TIE = 1e-9


@dataclass(frozen=True)
class ThresholdChoice:
    """A threshold in (0, 1) and the mean Dice over the images that chose it."""

    threshold: float
    dice: float


def choose_threshold(
    probabilities: Sequence[NDArray[np.float32]],
    truths: Sequence[NDArray[Any]],
    *,
    candidates: Sequence[float] = CANDIDATES,
) -> ThresholdChoice:
    """The candidate with the highest mean over images of Dice; of equals the one closest to 0.5, then the lower.

    `probabilities` are (H, W) float32 in [0, 1] and `truths` masks of the same sizes, foreground other than 0; sizes
    may differ from image to image. Dice and its rule for empty masks are those of `metrics.dice`. One histogram of an
    image serves all candidates, so the number of candidates costs next to nothing.

    Raises BadInput for no images, lists of two lengths, shapes that differ, values that are not finite, or candidates
    that are none or outside (0, 1).
    """
    if not probabilities or len(probabilities) != len(truths):
        raise BadInput(
            f"a threshold needs validation images with one mask each; got {len(probabilities)} probability maps and "
            f"{len(truths)} masks"
        )
    grid = np.unique(np.asarray(candidates, dtype=np.float32))
    if not grid.size or not ((grid > 0) & (grid < 1)).all():
        raise BadInput(f"threshold candidates must lie between 0 and 1, at least one of them; got {list(candidates)}")
    total = np.zeros(grid.size)
    for i, (probability, truth) in enumerate(zip(probabilities, truths, strict=True)):
        if probability.shape != truth.shape:
            raise BadInput(f"image {i}: probability {probability.shape} and mask {truth.shape} must have one shape")
        if not np.isfinite(probability).all():
            raise BadInput(f"image {i}: the probability map holds values that are not finite; the weights are broken")
        total += dice_at_each(probability, truth != 0, grid)
    mean = total / len(probabilities)
    tied = np.flatnonzero(mean >= mean.max() - _TIE)
    # Rounded, as 0.4 and 0.6 lie equally far from 0.5 on paper only.
    best = tied[np.argmin(np.round(np.abs(grid[tied].astype(np.float64) - 0.5), 6))]
    return ThresholdChoice(round(float(grid[best]), 6), float(mean[best]))


def dice_at_each(
    probability: NDArray[np.float32], truth: NDArray[np.bool_], grid: NDArray[np.float32]
) -> NDArray[np.float64]:
    """Dice of one image at each threshold of the ascending `grid` (T,)."""
    # Bin k holds the pixels that k thresholds make foreground.
    bins = np.searchsorted(grid, probability.astype(np.float32, copy=False).ravel(), side="right")
    inside = bins[truth.ravel()]
    predicted = _at_least(bins, grid.size)
    found = _at_least(inside, grid.size)
    both = predicted + inside.size
    return np.divide(2 * found, both, out=np.ones(grid.size), where=both > 0)


def _at_least(bins: NDArray[np.intp], count: int) -> NDArray[np.int64]:
    """How many of `bins` are 1 or more, 2 or more, ... `count` or more."""
    counts = np.bincount(bins, minlength=count + 1)
    return np.asarray(counts[::-1].cumsum()[::-1][1:], dtype=np.int64)
