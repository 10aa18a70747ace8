"""How good synthetic pictures are, against the real ones that they were learned from and others that were held out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lawder_edge.data.cache import Progress
from lawder_edge.errors import BadInput
from lawder_edge.evaluation.metrics import dice
from lawder_edge.intervals import Interval, bootstrap_mean
from lawder_edge.loading import Predictor
from lawder_edge.synthesis.distances import KernelDistance, frechet_distance, kernel_distance, nearest
from lawder_edge.synthesis.features import FeatureNetwork, Pixels
from lawder_edge.training.batches import TrainData

# In which a generator may have seen a training picture: it learns from pictures turned over either axis.
_FLIPS: tuple[tuple[int, ...], ...] = ((), (1,), (2,), (1, 2))
# Pictures are compared pixel by pixel at this side: a copy that is moved by a pixel is a copy.
_THUMB = 32
# Nearest pictures that the nearest one is held against.
_AMONG = 50
# Of tissue around the lesion's box in its crop, as a share of the longer side.
_MARGIN = 0.25
# Held-out pictures nearer to the training set than this share of them are; a synthetic one that is nearer still is
# flagged. Below about 100 held-out pictures it is the nearest of them.
_NEAR_SHARE = 0.01


@dataclass(frozen=True)
class Distances:
    """On one view (frame or lesion crop). floor: real training against real held-out pictures, what no generator can be
    asked to beat. to_train, to_held: of the synthetic ones. frechet_*: beside them, at equal numbers: `frechet_n`
    pictures of each, against the training pictures `frechet_train_n`, since published tables have as many as those.
    """

    view: str
    floor: KernelDistance
    to_train: KernelDistance
    to_held: KernelDistance
    frechet_floor: float
    frechet_to_held: float
    frechet_n: int
    frechet_to_train: float
    frechet_train_n: int


@dataclass(frozen=True)
class Judged:
    """A synthetic picture, and the Dice between the mask asked for and what the judge finds in it."""

    id: str
    dice: float


@dataclass(frozen=True)
class Fidelity:
    """Dice between the masks asked for and what a frozen segmenter finds, and of it on real held-out pictures.

    judge: its name, with the first 12 digits of its weights' sha256. pictures: every synthetic one, in their order.
    """

    judge: str
    synthetic: Interval
    held_out: Interval
    pictures: tuple[Judged, ...]

    def quantiles(self, shares: Sequence[float]) -> tuple[float, ...]:
        """Of the synthetic pictures' Dice, at shares in [0, 1]."""
        return tuple(float(value) for value in np.quantile([picture.dice for picture in self.pictures], shares))


@dataclass(frozen=True)
class Neighbour:
    """A synthetic picture and the training pictures that are nearest to it, turned over or not.

    train_id, distance: in features, 1 - cosine; pixel_rms: of that one, in grey levels. pixel_train_id: by pixels at
    32x32; pixel_ratio: its distance there over the mean of the 50 nearest, far below 1 for a copy alone. Plain pixel
    distances would flag soft pictures, which are near to all (Carlini et al., arXiv 2301.13188, section 4.2).
    """

    id: str
    train_id: str
    distance: float
    pixel_rms: float
    pixel_train_id: str
    pixel_ratio: float


@dataclass(frozen=True)
class Memorised:
    """flagged: below `threshold` in features or below `pixel_threshold` in pixels, the surest copies first.

    The thresholds are those below which 1 % of the held-out pictures are, or the least of them. median,
    held_out_median: of distances in features. neighbours: of every synthetic picture, in their order.
    """

    threshold: float
    pixel_threshold: float
    median: float
    held_out_median: float
    flagged: tuple[Neighbour, ...]
    neighbours: tuple[Neighbour, ...]


@dataclass(frozen=True)
class QualityReport:
    """features: which network all distances were made with. published: whether it is that of published FID and KID,
    which alone makes the Frechet distances FID.
    """

    features: str
    published: bool
    synthetic: int
    train: int
    held_out: int
    distances: tuple[Distances, ...]
    memorised: Memorised
    fidelity: Fidelity | None


def score_pictures(
    synthetic: TrainData,
    train: TrainData,
    held: TrainData,
    *,
    features: FeatureNetwork,
    judge: Predictor | None = None,
    lesion_class: int = 1,
    held_groups: Sequence[str | None] | None = None,
    seed: int = 0,
    progress: Progress,
) -> QualityReport:
    """All three at one size, with their masks. lesion_class: labels from this one on are lesion. held_groups: sequence
    or patient of each held-out picture, which the interval of the judge's Dice draws as wholes; None where unknown.

    Raises: BadInput for pictures of several sizes or fewer than 2 of a kind with a lesion, before any is measured.
    """
    kinds = (synthetic, train, held)
    if len({k.images.shape[1:] for k in kinds}) != 1:
        raise BadInput(f"pictures of {', '.join(str(k.images.shape[1:]) for k in kinds)}; wanted one size.")
    lesions = [int((k.labels >= lesion_class).any((1, 2)).sum()) for k in kinds]
    if min(lesions) < 2:
        told = ", ".join(
            f"{some} of {len(k)} {name}"
            for some, k, name in zip(lesions, kinds, ("synthetic", "training", "held-out"), strict=True)
        )
        raise BadInput(f"distances of lesions want 2 pictures of each kind that show one; got {told}.")
    asked = len(synthetic) + len(held)
    total = 2 * sum(map(len, kinds)) + (len(_FLIPS) - 1) * asked + (asked if judge else 0)
    done = 0

    def step(n: int) -> None:
        nonlocal done
        done += n
        progress(done, total)

    frames = [_features(k.images, features, step) for k in kinds]
    crops = [_features(_crops(k, lesion_class, step), features, lambda n: None) for k in kinds]
    turned = [[_features(np.flip(k.images, axes), features, step) for axes in _FLIPS[1:]] for k in (synthetic, held)]
    return QualityReport(
        features=features.name,
        published=features.published,
        synthetic=len(synthetic),
        train=len(train),
        held_out=len(held),
        distances=tuple(_distances(view, *f, seed=seed) for view, f in (("frame", frames), ("lesion crop", crops))),
        memorised=_memorised(
            synthetic, train, held, known=frames[1], drawn=[frames[0], *turned[0]], others=[frames[2], *turned[1]]
        ),
        fidelity=None if judge is None else _fidelity(judge, synthetic, held, held_groups, lesion_class, step),
    )


def lesion_crop(image: Pixels, labels: NDArray[Any]) -> Pixels | None:
    """A square around the lesion with a quarter of its side of margin, at most the picture; None without a lesion.

    image: (H, W, C) uint8; labels: (H, W), lesion other than 0. Returns: (S, S, C) uint8.
    """
    y, x = np.nonzero(labels)
    if not len(y):
        return None
    height, width = labels.shape
    side = round((max(np.ptp(y), np.ptp(x)) + 1) * (1 + 2 * _MARGIN))
    side = min(max(side, 8), height, width)
    top = int(np.clip((y.min() + y.max() + 1 - side) // 2, 0, height - side))
    left = int(np.clip((x.min() + x.max() + 1 - side) // 2, 0, width - side))
    return image[top : top + side, left : left + side]


def _features(
    images: Sequence[Pixels] | Pixels, network: FeatureNetwork, step: Callable[[int], None]
) -> NDArray[np.float32]:
    parts = []
    for start in range(0, len(images), 16):
        some = [np.repeat(i, 3, 2) if i.shape[2] == 1 else i for i in images[start : start + 16]]
        parts.append(network.extract(some))
        step(len(some))
    return np.concatenate(parts) if parts else np.empty((0, 1), np.float32)


def _crops(data: TrainData, lesion_class: int, step: Callable[[int], None]) -> list[Pixels]:
    lesions = data.labels >= lesion_class
    found = [lesion_crop(image, lesion) for image, lesion in zip(data.images, lesions, strict=True)]
    step(len(found))
    return [crop for crop in found if crop is not None]


def _distances(view: str, synthetic: NDArray[Any], train: NDArray[Any], held: NDArray[Any], *, seed: int) -> Distances:
    n = min(len(synthetic), len(train), len(held))
    rng = np.random.default_rng(seed)
    equal = [s[rng.permutation(len(s))[:n]] for s in (synthetic, train, held)]
    m = min(len(synthetic), len(train))
    paired = [s[rng.permutation(len(s))[:m]] for s in (synthetic, train)]
    return Distances(
        view=view,
        floor=kernel_distance(train, held, seed=seed),
        to_train=kernel_distance(synthetic, train, seed=seed),
        to_held=kernel_distance(synthetic, held, seed=seed),
        frechet_floor=frechet_distance(equal[1], equal[2]),
        frechet_to_held=frechet_distance(equal[0], equal[2]),
        frechet_n=n,
        frechet_to_train=frechet_distance(paired[0], paired[1]),
        frechet_train_n=m,
    )


def _memorised(
    synthetic: TrainData,
    train: TrainData,
    held: TrainData,
    *,
    known: NDArray[Any],
    drawn: Sequence[NDArray[Any]],
    others: Sequence[NDArray[Any]],
) -> Memorised:
    """known: features of `train`; drawn, others: of `synthetic` and `held`, as they are and in the other `_FLIPS`."""
    turn, place, distance = _nearest_turned(drawn, known)
    natural = _nearest_turned(others, known)[2]
    threshold = _lowest(natural)
    pixel_place, ratio = _pixel_ratio(synthetic.images, train.images)
    pixel_threshold = _lowest(_pixel_ratio(held.images, train.images)[1])
    neighbours = tuple(
        Neighbour(
            id,
            train.ids[place[i]],
            float(distance[i]),
            _rms(np.flip(synthetic.images[i : i + 1], _FLIPS[turn[i]])[0], train.images[place[i]]),
            train.ids[pixel_place[i]],
            float(ratio[i]),
        )
        for i, id in enumerate(synthetic.ids)
    )
    share = np.minimum(distance / max(threshold, 1e-12), ratio / max(pixel_threshold, 1e-12))
    flagged = tuple(neighbours[i] for i in np.argsort(share) if share[i] < 1)
    return Memorised(
        threshold, pixel_threshold, float(np.median(distance)), float(np.median(natural)), flagged, neighbours
    )


def _lowest(natural: NDArray[np.float64]) -> float:
    return float(np.quantile(natural, _NEAR_SHARE, method="lower"))


def _nearest_turned(
    turned: Sequence[NDArray[Any]], known: NDArray[Any]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """For each query the flip in which it is nearest to a known picture, that picture's place, and the distance."""
    found = [nearest(features, known) for features in turned]
    distances = np.stack([distance for _, distance in found])
    turn, each = distances.argmin(0), np.arange(distances.shape[1])
    return turn, np.stack([place for place, _ in found])[turn, each], distances[turn, each]


def _pixel_ratio(queries: Pixels, known: Pixels) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """For each query, in its best flip, the place of the nearest known picture, and `Neighbour.pixel_ratio`."""
    k = _thumbs(known)
    among = min(_AMONG, len(k))
    best: list[tuple[float, int]] = []
    for query in queries:
        found = []
        for axes in _FLIPS:
            apart = np.sqrt(np.square(k - _thumbs(np.flip(query[None], axes))).mean(1))
            place = int(apart.argmin())
            others = float(np.partition(apart, among - 1)[:among].mean())
            found.append((float(apart[place]) / max(others, 1e-12), place))
        best.append(min(found))
    return np.array([place for _, place in best], np.int64), np.array([ratio for ratio, _ in best])


def _thumbs(images: Pixels) -> NDArray[np.float32]:
    """(N, H, W, C) uint8 -> (N, 32 * 32 * C)."""
    import cv2

    small = [cv2.resize(np.ascontiguousarray(i), (_THUMB, _THUMB), interpolation=cv2.INTER_AREA) for i in images]
    return np.stack(small).reshape(len(images), -1).astype(np.float32)


def _rms(a: Pixels, b: Pixels) -> float:
    """Root of the mean squared difference, in grey levels."""
    return float(np.sqrt(np.square(a.astype(np.float64) - b).mean()))


def _lesion(judge: Predictor, image: Pixels, lesion_class: int) -> NDArray[np.bool_]:
    """Where the judge finds the lesion. A judge of one class finds foreground, whatever the masks tell of its kinds."""
    if judge.runner.classes > 1:
        return judge.runner.predict_labels(image) >= lesion_class
    return judge.runner.predict(image) >= judge.threshold


def _fidelity(
    judge: Predictor,
    synthetic: TrainData,
    held: TrainData,
    held_groups: Sequence[str | None] | None,
    lesion_class: int,
    step: Callable[[int], None],
) -> Fidelity:
    found = []
    for data in (synthetic, held):
        scores = []
        for image, labels in zip(data.images, data.labels, strict=True):
            scores.append(dice(_lesion(judge, image, lesion_class), labels >= lesion_class))
            step(1)
        found.append(scores)
    pictures = tuple(Judged(id, value) for id, value in zip(synthetic.ids, found[0], strict=True))
    name = f"{judge.name} ({judge.sha256[:12]})"
    return Fidelity(name, bootstrap_mean(found[0]), bootstrap_mean(found[1], groups=held_groups), pictures)
