"""Evaluation of one predictor on images with masks, at the images' own size, one image in memory at a time."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from lawder_edge.bundle.processing import to_mask
from lawder_edge.errors import BadInput
from lawder_edge.evaluation.false_positives import FalsePositives, false_positives
from lawder_edge.evaluation.metrics import ImageScores, score_image
from lawder_edge.evaluation.overlap import Overlap, TrainedOn, find_overlap
from lawder_edge.intervals import Interval, bootstrap_mean

Predict: TypeAlias = Callable[[NDArray[np.uint8]], NDArray[np.float32]]

# Below 2 % of the frame a polyp is one that a hurried reader misses; scores there are reported apart.
SMALL_AREA = 0.02


@dataclass(frozen=True)
class EvalPair:
    """An image to evaluate: `frame` (H, W, 3) or (H, W, 1) uint8, `labels` (H, W) with 0 as background.

    `group` is the sequence or patient, named alike in every dataset; None where it is not known.
    """

    id: str
    dataset: str
    group: str | None
    frame: NDArray[np.uint8]
    labels: NDArray[np.uint8]


@dataclass(frozen=True)
class SizeClass:
    """Scores of the images whose true foreground is of one size class, by its share of the frame."""

    n: int
    dice: Interval
    surface_dice: Interval


@dataclass(frozen=True)
class ClassSummary:
    """One class of several. n: images that hold it. dice: over those, None for none. n_false: of the `n_without` images
    that hold none of it, those where it is claimed.
    """

    n: int
    dice: Interval | None
    n_without: int
    n_false: int


@dataclass(frozen=True)
class Summary:
    """Means over images with their 95 % bootstrap intervals.

    n: images. n_empty: of them, with nothing in the truth. n_clusters: what the bootstrap drew: sequences or patients
    where known, else images. false_positives: what is claimed on the empty ones, None where there are none. small,
    large: images with a true foreground below, and from, `SMALL_AREA` of the frame. classes: of each foreground class
    from 1 on where there are several; the means above count a class that an image lacks as 1 where it is not claimed.
    """

    n: int
    n_empty: int
    n_clusters: int
    dice: Interval
    iou: Interval
    mean_iou: Interval
    surface_dice: Interval
    precision: Interval
    recall: Interval
    false_positives: FalsePositives | None
    small: SizeClass | None
    large: SizeClass | None
    classes: tuple[ClassSummary, ...] = ()


@dataclass(frozen=True)
class DatasetSummary:
    """The summary of one dataset's images."""

    dataset: str
    summary: Summary


@dataclass(frozen=True)
class EvalReport:
    """What `evaluate` found. `scores` keep the order of the images; `datasets` that of first appearance."""

    threshold: float
    scores: tuple[ImageScores, ...]
    overall: Summary
    datasets: tuple[DatasetSummary, ...]
    overlap: Overlap


def evaluate(
    predict: Predict,
    pairs: Iterable[EvalPair],
    *,
    threshold: float,
    trained_on: TrainedOn | None = None,
    progress: Callable[[int, int], None] | None = None,
    total: int | None = None,
    tolerance_px: float = 2.0,
    seed: int = 0,
) -> EvalReport:
    """Score `predict` on `pairs`, each at its own size.

    `predict` takes a frame and gives probabilities at the frame's size: (H, W) float32 of foreground, which is cut at
    `threshold`; or (C, H, W) float32 of C classes with the background first, of which the largest is taken.
    `trained_on` is what the weights say they were fitted to; images in it are marked, not left out. `progress` is
    called with the images done and `total` (the length of `pairs` where it has one) after each image. `tolerance_px` is
    that of surface Dice; `seed` that of the intervals.

    Raises BadInput for no images, two images of one id, labels beyond the predicted classes, or probabilities of
    another size than the labels or not finite.
    """
    known = operator.length_hint(pairs) if total is None else total
    scores: list[ImageScores] = []
    seen: set[str] = set()
    for pair in pairs:
        if pair.id in seen:
            raise BadInput(f"{pair.id} stands twice among the images to evaluate; list each image once")
        seen.add(pair.id)
        prediction, classes = _label_map(predict(pair.frame), pair, threshold)
        scores.append(
            score_image(
                prediction,
                pair.labels,
                id=pair.id,
                dataset=pair.dataset,
                group=pair.group,
                classes=classes,
                tolerance_px=tolerance_px,
            )
        )
        if progress:
            progress(len(scores), max(known, len(scores)))
    if not scores:
        raise BadInput(
            "there is no image to evaluate; give a folder with images and masks, or a split that is not empty"
        )
    return report_of(scores, threshold=threshold, trained_on=trained_on, seed=seed)


def report_of(
    scores: Sequence[ImageScores], *, threshold: float, trained_on: TrainedOn | None = None, seed: int = 0
) -> EvalReport:
    """The report of images that are scored already, such as a part of those of another report.

    Raises BadInput for no scores.
    """
    return EvalReport(
        threshold=threshold,
        scores=tuple(scores),
        overall=summarise(scores, seed=seed),
        datasets=tuple(
            DatasetSummary(name, summarise([s for s in scores if s.dataset == name], seed=seed))
            for name in dict.fromkeys(s.dataset for s in scores)
        ),
        overlap=find_overlap([(s.id, s.group) for s in scores], trained_on),
    )


def summarise(scores: Sequence[ImageScores], *, seed: int = 0) -> Summary:
    """Means of `scores` with 95 % intervals, whole sequences or patients drawn together where they are known.

    Raises BadInput for no scores.
    """
    empty = [s for s in scores if s.empty_truth]
    filled = [s for s in scores if not s.empty_truth]
    small = [s for s in filled if s.area_fraction < SMALL_AREA]
    large = [s for s in filled if s.area_fraction >= SMALL_AREA]
    return Summary(
        n=len(scores),
        n_empty=len(empty),
        n_clusters=len({s.group for s in scores if s.group is not None}) + sum(s.group is None for s in scores),
        dice=_interval(scores, "dice", seed),
        iou=_interval(scores, "iou", seed),
        mean_iou=_interval(scores, "mean_iou", seed),
        surface_dice=_interval(scores, "surface_dice", seed),
        precision=_interval(scores, "precision", seed),
        recall=_interval(scores, "recall", seed),
        false_positives=false_positives(empty, seed=seed) if empty else None,
        small=_size_class(small, seed),
        large=_size_class(large, seed),
        classes=tuple(_class_summary(scores, k, seed) for k in range(len(scores[0].classes))),
    )


def _class_summary(scores: Sequence[ImageScores], k: int, seed: int) -> ClassSummary:
    held = [s for s in scores if s.classes[k].present]
    without = [s for s in scores if not s.classes[k].present]
    dice = [s.classes[k].dice for s in held]
    found = bootstrap_mean(dice, groups=[s.group for s in held], seed=seed) if held else None
    return ClassSummary(len(held), found, len(without), sum(s.classes[k].claimed for s in without))


def _size_class(scores: Sequence[ImageScores], seed: int) -> SizeClass | None:
    if not scores:
        return None
    return SizeClass(len(scores), _interval(scores, "dice", seed), _interval(scores, "surface_dice", seed))


def _interval(scores: Sequence[ImageScores], metric: str, seed: int) -> Interval:
    return bootstrap_mean([getattr(s, metric) for s in scores], groups=[s.group for s in scores], seed=seed)


def _label_map(probability: NDArray[Any], pair: EvalPair, threshold: float) -> tuple[NDArray[Any], int]:
    """The predicted labels (H, W) and the number of foreground classes."""
    if probability.ndim not in (2, 3) or probability.shape[-2:] != pair.labels.shape:
        raise BadInput(
            f"{pair.id}: the prediction is {probability.shape} and the labels are {pair.labels.shape}; a prediction "
            "must be (H, W), or (classes, H, W), at the size of the image"
        )
    if not np.isfinite(probability).all():
        raise BadInput(
            f"{pair.id}: the prediction holds values that are not finite; the weights or the export are broken"
        )
    if probability.ndim == 2:
        return to_mask(probability, threshold), 1
    classes = probability.shape[0] - 1
    highest = int(pair.labels.max(initial=0))
    if highest > classes:
        raise BadInput(
            f"{pair.id}: the labels hold class {highest} and the model predicts classes 0 to {classes}; evaluate it on "
            "labels of its own classes"
        )
    return probability.argmax(axis=0), classes
