"""What corrupted frames cost several predictors, image by image on the same pictures."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lawder_edge.errors import BadInput
from lawder_edge.evaluation.corruptions import CORRUPTIONS, SEVERITIES, corrupt
from lawder_edge.evaluation.evaluate import EvalPair
from lawder_edge.evaluation.metrics import dice
from lawder_edge.intervals import Interval, bootstrap_mean

PredictMask = Callable[[NDArray[np.uint8]], NDArray[np.bool_]]
CLEAN = "clean"


@dataclass(frozen=True)
class Corrupted:
    """Dice of every image, in one order for all, of one predictor at one kind and severity (0 where clean)."""

    predictor: str
    kind: str
    severity: int
    dice: tuple[float, ...]


@dataclass(frozen=True)
class Robustness:
    """What `robustness` found.

    groups: the sequence or patient of each image, None where it is not known; intervals draw them as wholes.
    """

    image_ids: tuple[str, ...]
    groups: tuple[str | None, ...]
    cells: tuple[Corrupted, ...]

    def of(self, predictor: str, kind: str, severity: int) -> Corrupted:
        """One cell. Raises BadInput where it was not measured."""
        for cell in self.cells:
            if (cell.predictor, cell.kind, cell.severity) == (predictor, kind, severity):
                return cell
        raise BadInput(f"{predictor} was not measured at {kind} {severity}.")

    def mean_dice(self, predictor: str, kind: str, severity: int, *, seed: int = 0) -> Interval:
        """Over images, with its 95 % bootstrap interval."""
        return bootstrap_mean(self.of(predictor, kind, severity).dice, groups=self.groups, seed=seed)

    def drop(self, predictor: str, kind: str, severity: int) -> NDArray[np.float64]:
        """Clean Dice less corrupted Dice, of every image."""
        clean, corrupted = self.of(predictor, CLEAN, 0), self.of(predictor, kind, severity)
        lost: NDArray[np.float64] = np.array(clean.dice) - np.array(corrupted.dice)
        return lost

    def drop_beyond(self, predictor: str, reference: str, kind: str, severity: int, *, seed: int = 0) -> Interval:
        """How much more Dice `predictor` loses than `reference`: mean over images, 95 % bootstrap interval."""
        more = self.drop(predictor, kind, severity) - self.drop(reference, kind, severity)
        return bootstrap_mean(more, groups=self.groups, seed=seed)


def robustness(
    predictors: Mapping[str, PredictMask],
    pairs: Iterable[EvalPair],
    *,
    total: int,
    seed: int = 0,
    kinds: Sequence[str] = tuple(CORRUPTIONS),
    severities: Sequence[int] = SEVERITIES,
    progress: Callable[[int, int], None] | None = None,
) -> Robustness:
    """Every predictor on every image, clean and corrupted; each sees the same pictures.

    predictors: by name, a frame (H, W, 3) uint8 to its foreground (H, W) bool. pairs: with one class, one in memory at
    a time; total: how many there are, at the most. seed: of the corruptions; a picture depends on it, the image's
    place, kind and severity alone. progress: called with the pictures done and in all. Raises BadInput for no
    predictor or image.
    """
    tasks = [(CLEAN, 0), *((kind, severity) for kind in kinds for severity in severities)]
    found: dict[tuple[str, str, int], list[float]] = {}
    ids: list[str] = []
    groups: list[str | None] = []
    for place, pair in enumerate(pairs):
        ids.append(pair.id)
        groups.append(pair.group)
        for number, (kind, severity) in enumerate(tasks):
            rng = np.random.default_rng([seed, place, number])
            frame = pair.frame if kind == CLEAN else corrupt(pair.frame, kind, severity, rng)
            for name, predict in predictors.items():
                found.setdefault((name, kind, severity), []).append(dice(predict(frame), pair.labels != 0))
            if progress:
                progress(place * len(tasks) + number + 1, total * len(tasks))
    if not found:
        raise BadInput("robustness needs a predictor and an image with a mask, at least; got none")
    return Robustness(
        image_ids=tuple(ids),
        groups=tuple(groups),
        cells=tuple(Corrupted(name, kind, severity, tuple(d)) for (name, kind, severity), d in found.items()),
    )
