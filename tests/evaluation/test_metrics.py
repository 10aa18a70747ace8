"""Metrics against MONAI's independent implementation, and at the edges of their definitions."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai import metrics as monai
from numpy.typing import NDArray

from lawder_edge.errors import BadInput
from lawder_edge.evaluation import metrics

Mask = NDArray[np.bool_]


def random_pair(seed: int, *, shape: tuple[int, int] = (41, 57)) -> tuple[Mask, Mask]:
    """Two blobby masks that overlap in part, sometimes cut by the image's edge."""
    rng = np.random.default_rng(seed)
    field = cv2.GaussianBlur(rng.standard_normal(shape), (0, 0), float(rng.uniform(0.6, 6)))
    other = field + 0.5 * field.std() * cv2.GaussianBlur(rng.standard_normal(shape), (0, 0), 1.0)
    cut = np.quantile(field, rng.uniform(0.2, 0.97))
    return field > cut, other > cut


def polyp_like(dx: int, *, grow: int = 0) -> Mask:
    canvas = np.zeros((96, 128), np.uint8)
    cv2.ellipse(canvas, (60 + dx, 40), (25 + grow, 17 + grow), 30, 0, 360, 1, -1)
    return canvas > 0


def mean_iou(pred: Mask, truth: Mask) -> float:
    return metrics.score_image(pred, truth, id="a/1").mean_iou


PAIRS = [random_pair(seed) for seed in range(12)] + [
    (polyp_like(0), polyp_like(dx, grow=g)) for dx, g in [(0, 0), (1, 0), (3, 2), (8, -4), (60, 0)]
]


@pytest.mark.parametrize("pair", PAIRS)
def test_dice_and_iou_are_those_of_monai(pair: tuple[Mask, Mask]) -> None:
    pred, truth = (torch.from_numpy(m)[None, None].float() for m in pair)
    both_classes = [torch.cat([1 - m, m], 1) for m in (pred, truth)]

    assert metrics.dice(*pair) == pytest.approx(monai.DiceMetric()(pred, truth).item(), abs=1e-6)
    assert metrics.iou(*pair) == pytest.approx(monai.compute_iou(pred, truth).item(), abs=1e-6)
    assert mean_iou(*pair) == pytest.approx(monai.compute_iou(*both_classes).mean().item(), abs=1e-6)


@pytest.mark.filterwarnings("ignore:.*always_return_as_numpy.*:FutureWarning")
@pytest.mark.parametrize("tolerance_px", [0.0, 1.0, 1.5, 2.0, 5.0])
@pytest.mark.parametrize("pair", PAIRS)
def test_surface_dice_is_that_of_monai(pair: tuple[Mask, Mask], tolerance_px: float) -> None:
    pred, truth = (torch.from_numpy(m)[None, None].float() for m in pair)

    expected = monai.compute_surface_dice(pred, truth, [tolerance_px], include_background=True).item()

    assert metrics.surface_dice(*pair, tolerance_px=tolerance_px) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("pair", PAIRS)
def test_precision_and_recall_are_those_of_a_confusion_matrix(pair: tuple[Mask, Mask]) -> None:
    matrix = monai.get_confusion_matrix(*(torch.from_numpy(m)[None, None].float() for m in pair))

    for name, score in (("precision", metrics.precision), ("recall", metrics.recall)):
        assert score(*pair) == pytest.approx(monai.compute_confusion_matrix_metric(name, matrix).item(), abs=1e-6)


@pytest.mark.parametrize(
    "score",
    [metrics.dice, metrics.iou, metrics.surface_dice, metrics.precision, metrics.recall],
)
def test_two_empty_masks_score_one_and_one_empty_mask_scores_zero(score: object) -> None:
    assert callable(score)
    empty, some = np.zeros((8, 9), bool), polyp_like(0)[20:60, 40:80][:8, :9]
    some[4, 4] = True

    assert score(empty, empty) == 1.0
    assert score(empty, some) == 0.0
    assert score(some, empty) == 0.0


def test_two_class_mean_iou_of_empty_truth_counts_the_background() -> None:
    empty, quarter = np.zeros((4, 4), bool), np.zeros((4, 4), bool)
    quarter[:2, :2] = True

    assert mean_iou(empty, empty) == 1.0
    assert mean_iou(quarter, empty) == pytest.approx((0 + 12 / 16) / 2)


def test_a_full_mask_has_its_boundary_at_the_end_of_the_image() -> None:
    full = np.ones((6, 5), bool)

    assert metrics.boundary(full).sum() == 2 * 6 + 2 * 5 - 4
    assert metrics.surface_dice(full, full) == 1.0


def test_a_shift_within_the_tolerance_costs_nothing_and_one_beyond_it_does() -> None:
    square, near, far = (np.zeros((40, 40), bool) for _ in range(3))
    square[10:20, 10:20] = near[10:20, 12:22] = far[10:20, 13:23] = True

    assert metrics.surface_dice(square, near, tolerance_px=2.0) == 1.0
    assert metrics.surface_dice(square, far, tolerance_px=2.0) < 1.0


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_scores_are_symmetric_and_within_bounds_and_dice_follows_from_iou(seed: int) -> None:
    pred, truth = random_pair(seed, shape=(23, 19))
    j = metrics.iou(pred, truth)

    assert metrics.dice(pred, truth) == pytest.approx(2 * j / (1 + j))
    for score in (metrics.dice, metrics.iou, metrics.surface_dice, mean_iou):
        assert score(pred, truth) == pytest.approx(score(truth, pred))
        assert 0.0 <= score(pred, truth) <= 1.0
        assert score(truth, truth) == 1.0


def test_masks_of_255_and_of_true_score_alike() -> None:
    pred, truth = polyp_like(2), polyp_like(0)

    assert metrics.dice(pred * np.uint8(255), truth.astype(np.float32)) == metrics.dice(pred, truth)


@pytest.mark.parametrize(("pred", "truth"), [((4, 5), (5, 4)), ((4, 5, 1), (4, 5, 1)), ((0, 4), (0, 4))])
def test_masks_of_other_shapes_are_refused_with_both_shapes(pred: tuple[int, ...], truth: tuple[int, ...]) -> None:
    with pytest.raises(BadInput, match=r"prediction \(.*\) and truth \(.*\)"):
        metrics.dice(np.zeros(pred), np.zeros(truth))


def test_a_negative_tolerance_is_refused() -> None:
    with pytest.raises(BadInput, match="tolerance"):
        metrics.surface_dice(polyp_like(0), polyp_like(1), tolerance_px=-1.0)


def test_scores_of_an_image_hold_its_areas_and_where_it_comes_from() -> None:
    pred, truth = polyp_like(2), polyp_like(0)

    scores = metrics.score_image(pred, truth, id="a/1", dataset="a", group="s1")

    assert (scores.id, scores.dataset, scores.group, scores.empty_truth) == ("a/1", "a", "s1", False)
    assert scores.dice == metrics.dice(pred, truth)
    assert scores.mean_iou == pytest.approx((metrics.iou(pred, truth) + metrics.iou(~pred, ~truth)) / 2)
    assert scores.area_fraction == pytest.approx(truth.mean())
    assert scores.predicted_area_fraction == pytest.approx(pred.mean())


def test_several_classes_are_scored_each_and_averaged() -> None:
    truth, pred = np.zeros((10, 10), np.uint8), np.zeros((10, 10), np.uint8)
    truth[:4], pred[:4] = 1, 1
    truth[8:], pred[9:] = 2, 2

    scores = metrics.score_image(pred, truth, id="a", classes=2)

    assert scores.dice == pytest.approx((1 + 2 * 10 / (20 + 10)) / 2)
    assert scores.iou == pytest.approx((1 + 0.5) / 2)
    assert scores.mean_iou == pytest.approx((40 / 50 + 1 + 0.5) / 3)
    assert scores.area_fraction == pytest.approx(0.6)


def test_a_class_that_neither_mask_holds_scores_one() -> None:
    kidney = np.zeros((6, 6), np.uint8)
    kidney[:3] = 1

    assert metrics.score_image(kidney, kidney, id="a", classes=2).dice == 1.0


def test_scoring_no_class_is_refused() -> None:
    with pytest.raises(BadInput, match="0 classes"):
        metrics.score_image(polyp_like(0), polyp_like(0), id="a", classes=0)


@pytest.mark.realdata
@pytest.mark.filterwarnings("ignore:.*always_return_as_numpy.*:FutureWarning")
def test_scores_of_real_masks_are_those_of_monai(real_data: Path) -> None:
    files = sorted((real_data / "kvasir-seg" / "masks").iterdir())[::100]
    masks = [np.asarray(cv2.imread(str(f), cv2.IMREAD_GRAYSCALE)) > 127 for f in files]

    for pred, truth in pairwise(masks):
        tensors = [torch.from_numpy(m)[None, None].float() for m in (pred, truth)]
        surface = monai.compute_surface_dice(*tensors, [2.0], include_background=True).item()
        assert metrics.dice(pred, truth) == pytest.approx(monai.compute_dice(*tensors).item(), abs=1e-6)
        assert metrics.surface_dice(pred, truth) == pytest.approx(surface, abs=1e-6)
