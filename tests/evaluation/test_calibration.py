"""Calibration of maps whose reliability is known."""

from __future__ import annotations

import numpy as np
import pytest

from lawder_edge.errors import BadInput
from lawder_edge.evaluation.calibration import BINS, calibrate
from lawder_edge.evaluation.threshold import choose_threshold


def test_probabilities_that_are_the_chance_of_foreground_have_no_error() -> None:
    rng = np.random.default_rng(0)
    p = rng.random((400, 500)).astype(np.float32)
    found = calibrate([(p, rng.random(p.shape) < p)])
    assert found.ece < 0.01
    assert sum(b.share for b in found.bins) == pytest.approx(1)
    assert all(b.probability == pytest.approx(b.foreground, abs=0.03) for b in found.bins)


def test_certainty_that_is_right_half_the_time_is_off_by_half() -> None:
    truth = np.zeros((10, 10), np.uint8)
    truth[:5] = 1
    found = calibrate([(np.ones((10, 10), np.float32), truth)])
    assert found.ece == pytest.approx(0.5)
    assert [b.share for b in found.bins] == [0.0] * (BINS - 1) + [1.0]
    assert found.bins[0].probability is None


def test_every_image_weighs_the_same_whatever_its_size() -> None:
    right = (np.ones((4, 4), np.float32), np.ones((4, 4), np.uint8))
    wrong = (np.ones((400, 400), np.float32), np.zeros((400, 400), np.uint8))
    assert calibrate([right, wrong]).ece == pytest.approx(0.5)


def test_the_threshold_curve_has_its_top_where_a_threshold_is_chosen() -> None:
    rng = np.random.default_rng(1)
    truths = [rng.random((30, 40)) < 0.3 for _ in range(3)]
    maps = [np.clip(0.5 * t + rng.normal(0.1, 0.15, t.shape), 0, 1).astype(np.float32) for t in truths]
    curve = calibrate(zip(maps, truths, strict=True)).thresholds
    chosen = choose_threshold(maps, truths)
    assert max(d for _, d in curve) == pytest.approx(chosen.dice)
    assert dict(curve)[chosen.threshold] == pytest.approx(chosen.dice)


def test_what_is_no_probability_is_refused() -> None:
    truth = np.zeros((2, 2), np.uint8)
    for p in (np.full((2, 2), 1.5, np.float32), np.full((2, 2), np.nan, np.float32)):
        with pytest.raises(BadInput, match="no probabilities"):
            calibrate([(p, truth)])
    with pytest.raises(BadInput, match="one shape"):
        calibrate([(np.zeros((2, 3), np.float32), truth)])
    with pytest.raises(BadInput, match="got none"):
        calibrate([])
