from __future__ import annotations

import numpy as np
import pytest
from video_parts import GreenRunner

from lawder_edge.bundle.processing import labels, prob_to_size
from lawder_edge.errors import BadInput
from lawder_edge.video.classes import ABOVE_HALF, lead, with_lead


def classes(count: int, seed: int = 0) -> np.ndarray:
    """(count, 40, 50) float32 in steps of 1/65535, many of which are equal."""
    drawn = np.random.default_rng(seed).integers(0, 5, (count, 40, 50)) / (4 * count)
    return np.stack([prob_to_size(p.astype(np.float32), (40, 50)) for p in drawn])


@pytest.mark.parametrize("count", [2, 3, 7])
def test_the_lead_is_above_a_half_exactly_where_background_is_not_the_most_probable(count: int) -> None:
    found = classes(count)
    # A step of 1/65535 apart is the closest that two can be.
    found[0, :10] = found[1:, :10].max(axis=0) + np.float32(1 / 65535)
    found[0, 10:20] = found[1:, 10:20].max(axis=0)
    wanted = labels(found, 0.5) > 0
    assert 0 < wanted.mean() < 1
    np.testing.assert_array_equal(lead(found) >= np.float32(ABOVE_HALF), wanted)


def test_of_two_classes_the_lead_is_the_probability_of_the_other_one() -> None:
    probability = np.linspace(0, 1, 101, dtype=np.float32).reshape(1, 1, -1)
    np.testing.assert_allclose(lead(np.concatenate([1 - probability, probability])), probability[0], atol=1e-6)


def test_classes_get_the_lead_that_is_wanted_and_are_untouched_where_they_have_it() -> None:
    found = classes(4)
    wanted = lead(found)
    wanted[:20] = np.random.default_rng(1).random((20, 50), np.float32)
    moved = with_lead(found, wanted)
    np.testing.assert_array_equal(moved[:, 20:], found[:, 20:])
    there = found[:, :20].sum(axis=0) > 0
    np.testing.assert_allclose(lead(moved)[:20][there], wanted[:20][there], atol=1e-5)
    assert moved.min() >= 0
    assert moved.max() <= 1


def test_where_no_class_leads_one_can_still_be_carried_there() -> None:
    nothing = np.zeros((3, 1, 1), np.float32)
    nothing[0] = 1
    assert lead(with_lead(nothing, np.full((1, 1), 0.75, np.float32))) == pytest.approx(0.75)


def test_an_output_that_is_not_finite_is_refused_as_in_predict() -> None:
    runner = GreenRunner()
    with pytest.raises(BadInput, match="not finite"):
        runner.finish_classes(np.full((1, 3, 4, 4), np.nan, np.float32), (4, 4))
