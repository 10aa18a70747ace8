from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from lawder_edge.bundle.processing import to_mask
from lawder_edge.errors import BadInput
from lawder_edge.evaluation.metrics import dice
from lawder_edge.evaluation.threshold import CANDIDATES, choose_threshold

Float = NDArray[np.float32]


def validation(seed: int, n: int) -> tuple[list[Float], list[NDArray[np.bool_]]]:
    """Noisy probabilities of images of several sizes, one of them without any foreground."""
    rng = np.random.default_rng(seed)
    probabilities, truths = [], []
    for i in range(n):
        shape = (20 + i, 31)
        truth = np.zeros(shape, bool)
        if i:
            truth[5 : 9 + i, 8:20] = True
        noisy = 0.55 * truth + rng.random(shape) * 0.6 - 0.2
        probabilities.append(np.clip(noisy, 0, 1).astype(np.float32))
        truths.append(truth)
    return probabilities, truths


def test_the_choice_is_that_of_trying_every_candidate() -> None:
    probabilities, truths = validation(0, 6)
    tried = [np.mean([dice(to_mask(p, c), t) for p, t in zip(probabilities, truths, strict=True)]) for c in CANDIDATES]

    choice = choose_threshold(probabilities, truths)

    assert choice.dice == pytest.approx(max(tried))
    assert choice.threshold == CANDIDATES[int(np.argmax(tried))]
    assert choice.dice > tried[CANDIDATES.index(0.5)]


def test_values_that_lie_on_a_candidate_count_as_the_mask_rule_counts_them() -> None:
    probability = np.array([[0.3, 0.7, 0.7, 0.1]], np.float32)
    truth = np.array([[0, 1, 1, 0]])

    choice = choose_threshold([probability], [truth], candidates=[0.3, 0.7])

    assert (choice.threshold, choice.dice) == (0.7, 1.0)


def test_of_equal_candidates_the_one_closest_to_a_half_is_taken_and_then_the_lower() -> None:
    probability, truth = np.array([[0.01, 0.99]], np.float32), np.array([[0, 1]])

    assert choose_threshold([probability], [truth]).threshold == 0.5
    assert choose_threshold([probability], [truth], candidates=[0.2, 0.6, 0.4, 0.9]).threshold == 0.4


def test_images_without_foreground_pull_the_threshold_up() -> None:
    noise = np.full((4, 4), 0.6, np.float32)
    polyp = np.where(np.eye(4) > 0, 0.8, 0.1).astype(np.float32)

    choice = choose_threshold([noise, polyp], [np.zeros((4, 4)), np.eye(4)], candidates=[0.3, 0.5, 0.7])

    assert (choice.threshold, choice.dice) == (0.7, 1.0)


@pytest.mark.parametrize("candidates", [[], [0.0], [1.0], [0.5, float("nan")]])
def test_candidates_that_are_no_threshold_are_refused(candidates: list[float]) -> None:
    probabilities, truths = validation(1, 2)
    with pytest.raises(BadInput, match="candidates"):
        choose_threshold(probabilities, truths, candidates=candidates)


def test_lists_that_do_not_belong_together_are_refused() -> None:
    probabilities, truths = validation(2, 3)
    with pytest.raises(BadInput, match="3 probability maps and 2 masks"):
        choose_threshold(probabilities, truths[:2])
    with pytest.raises(BadInput, match="0 probability maps"):
        choose_threshold([], [])
    with pytest.raises(BadInput, match="image 0: probability"):
        choose_threshold(probabilities, truths[::-1])


def test_a_broken_probability_map_is_named() -> None:
    probabilities, truths = validation(3, 3)
    probabilities[2][0, 0] = np.nan
    with pytest.raises(BadInput, match="image 2"):
        choose_threshold(probabilities, truths)
