"""Percentile bootstrap intervals of a mean or a quantile (Efron & Tibshirani, An Introduction to the Bootstrap, 1993).

Frames of one video sequence, or slices of one patient, are no independent draws. Where groups are known, whole groups
are resampled (cluster bootstrap: Field & Welsh, J. R. Statist. Soc. B 69, 2007); drawing single frames instead would
give intervals that are too narrow.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lawder_edge.errors import BadInput

# Draws held at once: 2**20 int64 indices are 8 MB, whatever the number of images.
_CHUNK = 2**20


@dataclass(frozen=True)
class Interval:
    """A mean and the bounds of its confidence interval, all in the unit of the values."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class QuantileInterval:
    """A quantile and the bounds of its confidence interval, all in the unit of the values."""

    value: float
    low: float
    high: float


def bootstrap_mean(
    values: ArrayLike,
    *,
    groups: Sequence[str | None] | None = None,
    seed: int = 0,
    resamples: int = 2000,
    level: float = 0.95,
) -> Interval:
    """Mean of `values` (N,) and its two-sided percentile bootstrap interval at `level`.

    `groups` (N entries) names the cluster of each value: whole clusters are drawn with replacement, and a resample's
    mean is that of all values in the drawn clusters. None is a cluster of its own. The mean is the plain mean of the
    values in either case. A single cluster gives an interval of no width: it cannot tell how far the mean would move.

    Raises BadInput for no values, values that are not finite, groups of another length, `resamples` below 1 or
    `level` outside (0, 1).
    """
    x = np.asarray(values, dtype=np.float64)
    _check(x, groups=groups, resamples=resamples, level=level)
    sums, counts = _clusters(x, groups)
    # Drawn relative to the mean, so that constant values give an interval of no width free of rounding.
    mean = float(x.mean())
    centred = sums - counts * mean
    rng = np.random.default_rng(seed)
    rows = max(1, _CHUNK // len(sums))
    shifts = []
    for start in range(0, resamples, rows):
        drawn = rng.integers(0, len(sums), size=(min(rows, resamples - start), len(sums)))
        shifts.append(centred[drawn].sum(axis=1) / counts[drawn].sum(axis=1))
    tail = (1 - level) / 2
    low, high = np.quantile(np.concatenate(shifts), [tail, 1 - tail])
    return Interval(mean, mean + float(low), mean + float(high))


def bootstrap_quantile(
    values: ArrayLike,
    quantile: float,
    *,
    groups: Sequence[str | None] | None = None,
    seed: int = 0,
    resamples: int = 2000,
    level: float = 0.95,
) -> QuantileInterval:
    """The least of `values` (N,) that a share of `quantile` of them does not exceed, and its interval at `level`.

    Resampled as in `bootstrap_mean`. No bound lies outside the values, so that of a quantile near 1 of few values is
    cut short above. Raises BadInput for a quantile outside (0, 1), and as `bootstrap_mean` does.
    """
    x = np.asarray(values, dtype=np.float64)
    _check(x, groups=groups, resamples=resamples, level=level)
    if not 0 < quantile < 1:
        raise BadInput(f"quantile is {quantile}; it must lie between 0 and 1 (0.95 is usual)")
    order = np.argsort(x, kind="stable")
    ascending, of = x[order], _cluster_of(x.size, groups)[order]
    clusters = int(of.max()) + 1
    rng = np.random.default_rng(seed)
    rows = max(1, _CHUNK // x.size)
    found = []
    for start in range(0, resamples, rows):
        count = min(rows, resamples - start)
        drawn = rng.integers(0, clusters, size=(count, clusters)) + clusters * np.arange(count)[:, None]
        # How often each cluster was drawn, and so each of its values.
        times = np.bincount(drawn.ravel(), minlength=count * clusters).reshape(count, clusters)[:, of].cumsum(axis=1)
        found.append(ascending[(times >= quantile * times[:, -1:]).argmax(axis=1)])
    tail = (1 - level) / 2
    low, high = np.quantile(np.concatenate(found), [tail, 1 - tail])
    return QuantileInterval(float(np.quantile(x, quantile, method="inverted_cdf")), float(low), float(high))


def bootstrap_difference(
    a: ArrayLike,
    b: ArrayLike,
    *,
    groups: Sequence[str | None] | None = None,
    seed: int = 0,
    resamples: int = 2000,
    level: float = 0.95,
) -> Interval:
    """Mean of the paired differences a - b, both (N,) on the same images, and its interval as in `bootstrap_mean`.

    Pairing takes out how hard each image is, so the interval is far narrower than that of two separate means.

    Raises BadInput where the lengths differ, and as `bootstrap_mean` does.
    """
    x, y = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if x.shape != y.shape:
        raise BadInput(f"a paired difference needs the same images on both sides; got shapes {x.shape} and {y.shape}")
    return bootstrap_mean(x - y, groups=groups, seed=seed, resamples=resamples, level=level)


@dataclass(frozen=True)
class PairedRuns:
    """Mean of the paired differences of runs, its interval, and how large a difference such runs would have shown.

    sd: of one difference. detectable: the least true difference that `runs` such pairs find four times in five.
    All in the unit of the values.
    """

    runs: int
    mean: float
    low: float
    high: float
    sd: float
    detectable: float


def paired_runs(a: ArrayLike, b: ArrayLike, *, level: float = 0.95, power: float = 0.8) -> PairedRuns:
    """a - b, both (N,), of runs that share all but what is compared; N 2 or more. By Student's t, as a handful of runs
    are too few to be resampled.

    detectable = (t_(1 - (1 - level) / 2) + t_power) sd / sqrt(N), t with N - 1 degrees of freedom. Needs scipy.

    Raises BadInput where the lengths differ, for fewer than 2 runs or values that are not finite.
    """
    from scipy import stats

    x, y = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if x.shape != y.shape or x.ndim != 1 or len(x) < 2:
        raise BadInput(f"paired runs need as many values, 2 or more, on both sides; got shapes {x.shape} and {y.shape}")
    differences = x - y
    _check(differences, groups=None, resamples=1, level=level)
    mean, sd = float(differences.mean()), float(differences.std(ddof=1))
    error = sd / math.sqrt(len(x))
    both, found = (float(stats.t.ppf(q, len(x) - 1)) for q in (1 - (1 - level) / 2, power))
    return PairedRuns(len(x), mean, mean - both * error, mean + both * error, sd, (both + found) * error)


def _clusters(
    x: NDArray[np.float64], groups: Sequence[str | None] | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Sum and number of the values in each cluster, each (C,), clusters in order of first appearance."""
    if groups is None:
        return x, np.ones_like(x)
    of = _cluster_of(x.size, groups)
    sums: NDArray[np.float64] = np.bincount(of, weights=x).astype(np.float64)
    return sums, np.bincount(of).astype(np.float64)


def _cluster_of(count: int, groups: Sequence[str | None] | None) -> NDArray[np.intp]:
    """The cluster of each of `count` values, (N,), numbered in order of first appearance."""
    if groups is None:
        return np.arange(count)
    index: dict[str | int, int] = {}
    # A position as the key of a None keeps it apart from every named group.
    return np.array([index.setdefault(i if g is None else g, len(index)) for i, g in enumerate(groups)], dtype=np.intp)


def _check(x: NDArray[np.float64], *, groups: Sequence[str | None] | None, resamples: int, level: float) -> None:
    if x.ndim != 1 or x.size == 0:
        raise BadInput(f"an interval needs at least one value in a flat list; got shape {x.shape}")
    if not np.isfinite(x).all():
        raise BadInput(
            f"{int((~np.isfinite(x)).sum())} of {x.size} values are not finite; a mean of them means nothing"
        )
    if groups is not None and len(groups) != x.size:
        raise BadInput(f"{len(groups)} groups for {x.size} values; each value needs one (None where it is not known)")
    if resamples < 1:
        raise BadInput(f"resamples is {resamples}; it must be 1 or more (2000 is usual)")
    if not 0 < level < 1:
        raise BadInput(f"level is {level}; it must lie between 0 and 1 (0.95 is usual)")
