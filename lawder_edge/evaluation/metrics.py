"""Per-image segmentation scores: Dice, IoU, 2-class mean IoU, surface Dice, precision, recall.

Masks are (H, W) arrays, bool or numeric; every value other than 0 is foreground. Every score lies in [0, 1].

Empty masks have one rule in every score here: prediction and truth both empty give 1.0 (nothing was there and nothing
was claimed), exactly one empty gives 0.0. No score is ever NaN, so no image drops out of a mean unseen.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from lawder_edge.errors import BadInput

Array: TypeAlias = NDArray[Any]


@dataclass(frozen=True)
class ClassScore:
    """One class of several in one image. present: in the truth. claimed: in the prediction."""

    dice: float
    present: bool
    claimed: bool


@dataclass(frozen=True)
class ImageScores:
    """Scores of one image. `area_fraction` values are foreground pixels over all pixels, in [0, 1].

    `group` is the video sequence or patient that the image comes from; None where it is not known. `classes`: of each
    foreground class from 1 on where there are several.
    """

    id: str
    dataset: str
    group: str | None
    dice: float
    iou: float
    mean_iou: float
    surface_dice: float
    precision: float
    recall: float
    area_fraction: float
    predicted_area_fraction: float
    empty_truth: bool
    classes: tuple[ClassScore, ...] = ()


def dice(pred: Array, truth: Array) -> float:
    """Dice coefficient 2|P ∩ T| / (|P| + |T|) (Dice, Ecology 1945) of two (H, W) masks.

    Raises BadInput where the shapes differ or are not two-dimensional.
    """
    p, t = _pair(pred, truth)
    return _ratio(2 * _count(p & t), _count(p) + _count(t))


def iou(pred: Array, truth: Array) -> float:
    """Intersection over union (Jaccard index) |P ∩ T| / |P ∪ T| of two (H, W) masks.

    Raises BadInput where the shapes differ or are not two-dimensional.
    """
    p, t = _pair(pred, truth)
    return _ratio(_count(p & t), _count(p | t))


def precision(pred: Array, truth: Array) -> float:
    """|P ∩ T| / |P| of two (H, W) masks: the part of the prediction that is right.

    Raises BadInput where the shapes differ or are not two-dimensional.
    """
    p, t = _pair(pred, truth)
    if not p.any():
        return float(not t.any())
    return _ratio(_count(p & t), _count(p))


def recall(pred: Array, truth: Array) -> float:
    """|P ∩ T| / |T| of two (H, W) masks: the part of the truth that was found.

    Raises BadInput where the shapes differ or are not two-dimensional.
    """
    return precision(truth, pred)


def surface_dice(pred: Array, truth: Array, *, tolerance_px: float = 2.0) -> float:
    """Normalised surface Dice of two (H, W) masks at `tolerance_px` pixels (Nikolov et al., arXiv 1809.04430).

    The share of boundary pixels of either mask that lie within the tolerance (Euclidean, pixel centres, inclusive) of
    the other's boundary. A boundary pixel is a foreground pixel with a background pixel among its four neighbours;
    outside the image counts as background. These are the conventions of MONAI's `compute_surface_dice` without
    subvoxels.

    Raises BadInput where the shapes differ, are not two-dimensional, or the tolerance is negative.
    """
    p, t = _pair(pred, truth)
    if not tolerance_px >= 0:
        raise BadInput(f"the surface Dice tolerance is {tolerance_px} px; it must be 0 or more")
    if not p.any() or not t.any():
        return float(p.any() == t.any())
    edge_p, edge_t = (boundary(m) for m in _crop(p, t))
    near = _count(edge_p & _within(edge_t, tolerance_px)) + _count(edge_t & _within(edge_p, tolerance_px))
    return _ratio(near, _count(edge_p) + _count(edge_t))


def boundary(mask: Array) -> NDArray[np.bool_]:
    """Boundary pixels of an (H, W) mask: foreground with background, or the image's end, among the four neighbours."""
    inside = np.ascontiguousarray(mask != 0, dtype=np.uint8)
    cross = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
    eroded = cv2.erode(inside, cross, borderType=cv2.BORDER_CONSTANT, borderValue=0)
    return np.asarray(inside != eroded)


def score_image(
    pred: Array,
    truth: Array,
    *,
    id: str,
    dataset: str = "",
    group: str | None = None,
    classes: int = 1,
    tolerance_px: float = 2.0,
) -> ImageScores:
    """All scores of one image from label maps (H, W) with values 0 (background) .. `classes`.

    With one class every value other than 0 is foreground. With more, each score is taken for each foreground class by
    itself and averaged over all of them; `mean_iou` averages the IoU over the background and all foreground classes,
    which with one class is what the ORDER paper (arXiv 2603.04795) reports as IoU. Areas and `empty_truth` are those of
    all foreground classes together.

    Raises BadInput where the shapes differ, are not two-dimensional, or `classes` is below 1.
    """
    if classes < 1:
        raise BadInput(f"scoring was asked for {classes} classes; there must be at least one foreground class")
    foreground_p, foreground_t = _pair(pred, truth)
    if classes == 1:
        pairs = [(foreground_p, foreground_t)]
    else:
        pairs = [(np.asarray(pred == k), np.asarray(truth == k)) for k in range(1, classes + 1)]
    ious = [iou(p, t) for p, t in pairs]
    dices = [dice(p, t) for p, t in pairs]
    each = (ClassScore(d, bool(t.any()), bool(p.any())) for d, (p, t) in zip(dices, pairs, strict=True))
    return ImageScores(
        id=id,
        dataset=dataset,
        group=group,
        dice=_mean(dices),
        iou=_mean(ious),
        mean_iou=_mean([iou(~foreground_p, ~foreground_t), *ious]),
        surface_dice=_mean([surface_dice(p, t, tolerance_px=tolerance_px) for p, t in pairs]),
        precision=_mean([precision(p, t) for p, t in pairs]),
        recall=_mean([recall(p, t) for p, t in pairs]),
        area_fraction=_count(foreground_t) / foreground_t.size,
        predicted_area_fraction=_count(foreground_p) / foreground_p.size,
        empty_truth=not foreground_t.any(),
        classes=tuple(each) if classes > 1 else (),
    )


def _pair(pred: Array, truth: Array) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    if pred.shape != truth.shape or pred.ndim != 2 or pred.size == 0:
        raise BadInput(
            f"prediction {pred.shape} and truth {truth.shape} cannot be compared; both must be (H, W) of one size: "
            "bring the prediction to the truth's size first"
        )
    return np.asarray(pred != 0), np.asarray(truth != 0)


def _crop(p: NDArray[np.bool_], t: NDArray[np.bool_]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Both masks cut to the box around their union: no boundary lies outside, and most polyps fill a small part."""
    union = p | t
    rows, columns = np.flatnonzero(union.any(axis=1)), np.flatnonzero(union.any(axis=0))
    box = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return p[box], t[box]


def _within(edge: NDArray[np.bool_], distance_px: float) -> NDArray[np.bool_]:
    """Pixels at most `distance_px` from a True one: dilation by the disc, exact on the grid, quicker than an EDT."""
    reach = min(int(distance_px), max(edge.shape))
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    disc = (x * x + y * y <= distance_px * distance_px).astype(np.uint8)
    dilated = cv2.dilate(edge.astype(np.uint8), disc, borderType=cv2.BORDER_CONSTANT, borderValue=0)
    return np.asarray(dilated != 0)


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else 1.0


def _count(mask: NDArray[np.bool_]) -> int:
    return int(np.count_nonzero(mask))


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)
