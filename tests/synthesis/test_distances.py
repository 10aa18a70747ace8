"""Distances between sets of features."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg

from lawder_edge.errors import BadInput
from lawder_edge.synthesis.distances import frechet_distance, kernel_distance, nearest


def _normal(n: int, *, mean: float = 0, sd: float = 1, d: int = 12, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(mean, sd, (n, d))


def test_two_draws_of_one_distribution_are_apart_by_nothing_on_average() -> None:
    means = [kernel_distance(_normal(300, seed=2 * s), _normal(300, seed=2 * s + 1)).mean for s in range(12)]
    assert abs(np.mean(means)) < 3 * np.std(means) / np.sqrt(12) + 1e-3
    assert min(means) < 0


def test_the_kernel_distance_grows_with_a_shift_and_with_a_spread() -> None:
    a = _normal(300)
    near = kernel_distance(a, _normal(300, seed=1)).mean
    for far in (_normal(300, mean=0.5, seed=1), _normal(300, sd=1.5, seed=1)):
        assert kernel_distance(a, far).mean > near + 0.05


def test_the_kernel_distance_is_that_of_its_formula_where_one_subset_is_everything() -> None:
    a, b = _normal(7), _normal(7, mean=1, seed=1)
    kernel = lambda x, y: (np.dot(x, y) / 12 + 1) ** 3  # noqa: E731
    pairs = [(i, j) for i in range(7) for j in range(7) if i != j]
    by_hand = np.mean([kernel(a[i], a[j]) + kernel(b[i], b[j]) for i, j in pairs])
    by_hand -= 2 * np.mean([kernel(x, y) for x in a for y in b])
    found = kernel_distance(a, b)
    assert found.mean == pytest.approx(by_hand)
    assert (found.sd, found.subset) == (pytest.approx(0, abs=1e-9), 7)


def test_the_kernel_distance_is_the_same_for_the_same_seed() -> None:
    a, b = _normal(150), _normal(150, seed=1)
    assert kernel_distance(a, b) == kernel_distance(a, b)
    assert kernel_distance(a, b).subset == 100


@pytest.mark.parametrize("n", [5, 60])
def test_the_frechet_distance_is_that_of_the_matrix_root(n: int) -> None:
    a, b = _normal(n), _normal(n + 3, mean=0.3, sd=1.4, seed=1)
    covariances = [np.cov(s, rowvar=False) for s in (a, b)]
    # The product of two covariances of few pictures is singular: a little of the identity makes it regular.
    root = scipy.linalg.sqrtm((covariances[0] + 1e-9 * np.eye(12)) @ (covariances[1] + 1e-9 * np.eye(12)))
    by_hand = np.square(a.mean(0) - b.mean(0)).sum() + np.trace(covariances[0] + covariances[1] - 2 * np.real(root))
    assert frechet_distance(a, b) == pytest.approx(by_hand, rel=1e-3)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-9)


def test_the_nearest_is_found_whatever_its_length() -> None:
    known = np.eye(4)
    place, distance = nearest(np.array([[0, 0, 7.0, 0.1], [-1, 0, 0, 0]]), known)
    assert place[0] == 2
    assert distance[0] == pytest.approx(0, abs=1e-3)
    assert distance[1] == pytest.approx(1)


def test_too_few_pictures_are_an_error() -> None:
    with pytest.raises(BadInput, match="needs 2 pictures of each kind; got 1 and 9"):
        kernel_distance(_normal(1), _normal(9))
    with pytest.raises(BadInput, match="got 9 and 1"):
        frechet_distance(_normal(9), _normal(1))
