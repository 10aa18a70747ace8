"""Distances between two sets of features, and from a picture to the nearest of others. All in float64."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lawder_edge.errors import BadInput

Features = NDArray[Any]
SUBSET = 100
SUBSETS = 100


@dataclass(frozen=True)
class KernelDistance:
    """mean, sd: over random subsets of `subset` pictures of each set. mean may be below 0, since it is unbiased.

    sd tells how far subsets of these pictures differ, not how far another draw of pictures would: where a set has
    hardly more than `subset` pictures it is too small.
    """

    mean: float
    sd: float
    subset: int


def kernel_distance(a: Features, b: Features, *, seed: int = 0) -> KernelDistance:
    """KID (Binkowski et al., arXiv 1801.01401): the squared MMD under k(x, y) = (x . y / d + 1)^3, without bias.

    Over 100 subsets of 100 pictures of each set, or as many as the smaller has. a, b: (N, d), N at least 2.

    Raises: BadInput for fewer than 2 pictures.
    """
    size = min(SUBSET, len(a), len(b))
    if size < 2:
        raise BadInput(f"a kernel distance needs 2 pictures of each kind; got {len(a)} and {len(b)}.")
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    rng = np.random.default_rng(seed)
    values = []
    for _ in range(SUBSETS):
        x, y = (s[rng.choice(len(s), size, replace=False)] for s in (a, b))
        within = [(k.sum() - np.trace(k)) / (size * (size - 1)) for k in (_kernel(x, x), _kernel(y, y))]
        values.append(sum(within) - 2 * _kernel(x, y).mean())
    return KernelDistance(float(np.mean(values)), float(np.std(values)), size)


def frechet_distance(a: Features, b: Features) -> float:
    """|mu_a - mu_b|^2 + tr(C_a + C_b - 2 (C_a C_b)^(1/2)), as in FID (arXiv 1706.08500). a, b: (N, d), N at least 2.

    tr (C_a C_b)^(1/2) is the sum of the singular values of A B^T, with A and B the centred features over sqrt(N - 1):
    no root of a d x d matrix is taken. It grows as the sets get smaller, so it compares at equal numbers alone.
    """
    if min(len(a), len(b)) < 2:
        raise BadInput(f"a Frechet distance needs 2 pictures of each kind; got {len(a)} and {len(b)}.")
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    spread = [(s - s.mean(0)) / np.sqrt(len(s) - 1) for s in (a, b)]
    shared = np.linalg.svd(spread[0] @ spread[1].T, compute_uv=False).sum()
    apart = np.square(a.mean(0) - b.mean(0)).sum()
    return float(max(0.0, apart + sum(np.square(s).sum() for s in spread) - 2 * shared))


def nearest(queries: Features, known: Features) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """For each query the place of the nearest known row and 1 - cosine to it, in [0, 2]. Both (N, d), none zero."""
    q, k = (np.asarray(s, np.float64) for s in (queries, known))
    q, k = (s / np.maximum(np.linalg.norm(s, axis=1, keepdims=True), 1e-12) for s in (q, k))
    likeness = q @ k.T
    place = likeness.argmax(1)
    return place, 1 - likeness[np.arange(len(q)), place]


def _kernel(x: Features, y: Features) -> NDArray[np.float64]:
    return np.asarray((x @ y.T / x.shape[1] + 1) ** 3)
