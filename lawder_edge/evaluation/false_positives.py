"""What a predictor claims on images that show nothing to find."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lawder_edge.errors import BadInput
from lawder_edge.evaluation.metrics import ImageScores
from lawder_edge.intervals import Interval, QuantileInterval, bootstrap_mean, bootstrap_quantile

# Shares of the frame: a single pixel, and 1 %, from which on most polyps of public sets are drawn.
AREAS = (0.0, 0.01)
QUANTILE = 0.95


@dataclass(frozen=True)
class ShareAbove:
    """images: share of the images on which more than `area`, a share of the frame, is claimed; in [0, 1]."""

    area: float
    images: Interval


@dataclass(frozen=True)
class FalsePositives:
    """False area on images without foreground, as a share of the frame in [0, 1], with 95 % bootstrap intervals.

    n: images. area: its mean. p95: what 95 % of the images do not exceed. worst, worst_id: the largest, and its image;
    no interval, as no resample holds a larger one. above: how often it is larger than each of the sizes asked for.
    """

    n: int
    area: Interval
    p95: QuantileInterval
    worst: float
    worst_id: str
    above: tuple[ShareAbove, ...]


def false_positives(scores: Sequence[ImageScores], *, areas: Sequence[float] = AREAS, seed: int = 0) -> FalsePositives:
    """False area of `scores`, all of images with an empty truth; sequences or patients are drawn whole where known.

    Every predicted pixel counts, whether in one region or in several. areas: shares of the frame in [0, 1).

    Raises BadInput for no scores, one of an image with foreground, or an area outside [0, 1).
    """
    filled = [s.id for s in scores if not s.empty_truth]
    if filled or not scores:
        raise BadInput(
            f"false area needs images whose truth is empty; got {len(scores)} images"
            + (f", {len(filled)} of them with foreground, such as {filled[0]}" if filled else "")
        )
    if not all(0 <= area < 1 for area in areas):
        raise BadInput(f"areas to count false area above are {list(areas)}; wanted shares of the frame, 0 to below 1")
    values = [s.predicted_area_fraction for s in scores]
    groups = [s.group for s in scores]
    worst = max(scores, key=lambda s: s.predicted_area_fraction)
    return FalsePositives(
        n=len(scores),
        area=bootstrap_mean(values, groups=groups, seed=seed),
        p95=bootstrap_quantile(values, QUANTILE, groups=groups, seed=seed),
        worst=worst.predicted_area_fraction,
        worst_id=worst.id,
        above=tuple(
            ShareAbove(area, bootstrap_mean([v > area for v in values], groups=groups, seed=seed)) for area in areas
        ),
    )
