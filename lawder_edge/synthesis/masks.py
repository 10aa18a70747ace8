"""Where the masks come from that pictures are drawn for."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from lawder_edge.data.datasets import first_few
from lawder_edge.errors import BadDataset, BadInput
from lawder_edge.synthesis.procedural import draw_mask
from lawder_edge.synthesis.shapes import PICTURE, implausible, limits_of, measure_shapes

Labels = NDArray[np.uint8]
# Of redrawn masks, before another mask is taken or it is said that the table cannot be met.
_TRIES = 200
# Masks in turn that are tried for one picture: a mask that cannot be moved would otherwise stop a folder for ever, as
# a resumed call asks it again.
_OTHERS = 8


@dataclass(frozen=True)
class AskedMask:
    """labels: (S, S) uint8 class indices. source: what it was made from, for people."""

    labels: Labels
    source: str


@dataclass(frozen=True)
class KnownMasks:
    """Masks at the generator's size. labels: (N, S, S) uint8 class indices; ids: N names."""

    labels: Labels
    ids: tuple[str, ...]

    def check(self) -> None:
        """Raises: BadDataset for none, or for none with a lesion."""
        if not len(self.ids):
            raise BadDataset("no masks to draw pictures for.")
        if not self.labels.any():
            raise BadDataset(f"all {len(self.ids)} masks are empty at {self.labels.shape[1]} px: no lesion to draw.")


class MaskSource(Protocol):
    """Masks by number."""

    kind: str

    def draw(self, index: int, *, rng: np.random.Generator) -> AskedMask:
        """The mask of picture `index`, from 0, which depends on it and on the generator alone."""

    def sha256(self) -> str:
        """Of all that decides what is drawn."""


class GivenMasks:
    """The masks as they are, in their order, from the first again once all were taken."""

    kind = "given"

    def __init__(self, masks: KnownMasks) -> None:
        masks.check()
        self._masks = masks

    def draw(self, index: int, *, rng: np.random.Generator) -> AskedMask:
        place = index % len(self._masks.ids)
        return AskedMask(self._masks.labels[place], self._masks.ids[place])

    def sha256(self) -> str:
        return _hash(self._masks)


class AugmentedMasks:
    """Masks with a lesion, each flipped, scaled, shifted and bent; redrawn until like the given ones, with every class
    that the mask has. Every mask once before any again, in an order drawn from the masks themselves: a few pictures of
    many masks are then of all their datasets. In the place of one that no change leaves like the others, the next.
    """

    kind = "augmented"

    def __init__(self, masks: KnownMasks) -> None:
        masks.check()
        shapes = measure_shapes(masks.labels)
        # One of specks alone has no lesion that limits are made of.
        with_lesion = np.unique(shapes[:, PICTURE]).astype(int)
        if not len(with_lesion):
            raise BadDataset(f"all lesions of {len(masks.ids)} masks are specks at {masks.labels.shape[1]} px.")
        self._masks = KnownMasks(masks.labels[with_lesion], tuple(masks.ids[i] for i in with_lesion))
        self._limits = limits_of(shapes)
        self._order = np.random.default_rng(int(_hash(self._masks), 16)).permutation(len(with_lesion))

    def draw(self, index: int, *, rng: np.random.Generator) -> AskedMask:
        places = [self._order[(index + later) % len(self._order)] for later in range(min(_OTHERS, len(self._order)))]
        for place in places:
            found = self._bent(place, rng)
            if not isinstance(found, str):
                return AskedMask(found, f"augmented {self._masks.ids[place]}")
        names = first_few([self._masks.ids[place] for place in places])
        raise BadInput(
            f"none of {_TRIES} changes of each of {len(places)} masks ({names}) is like those that were given; the "
            f"last: {found}. Leave them out of the list, or take masks as they are: --masks DIR."
        )

    def _bent(self, place: int, rng: np.random.Generator) -> Labels | str:
        """That mask changed, or where no change is plausible, what the last one was."""
        given = self._masks.labels[place]
        classes = np.unique(given[given > 0])
        for _ in range(_TRIES):
            labels = augmented(given, rng=rng)
            unlike = implausible(labels, self._limits)
            if unlike is None and np.isin(classes, labels).all():
                return labels
        return unlike or "a class of it was lost"

    def sha256(self) -> str:
        return _hash(self._masks, "shuffled")


class ProceduralMasks:
    """Masks of one class drawn from a table of shapes; redrawn until like those that were measured."""

    kind = "procedural"

    def __init__(self, shapes: NDArray[np.float32], *, size: int) -> None:
        self._shapes, self._size = shapes, size
        self._limits = limits_of(shapes)

    def draw(self, index: int, *, rng: np.random.Generator) -> AskedMask:
        for _ in range(_TRIES):
            labels = draw_mask(self._shapes, self._size, rng=rng)
            if implausible(labels, self._limits) is None:
                return AskedMask(labels, "procedural")
        raise BadInput(f"none of {_TRIES} masks drawn at {self._size} px is like the training masks.")

    def sha256(self) -> str:
        return hashlib.sha256(self._shapes.tobytes()).hexdigest()


def augmented(labels: Labels, *, rng: np.random.Generator) -> Labels:
    """Flip, scale by .8 to 1.25, shift by up to .12 of the side, and bend by up to a few percent of it.

    What lies beyond the edge is taken to go on as it met the edge. labels: (H, W) uint8. Returns: the same shape.
    """
    height, width = labels.shape
    flip_x, flip_y = (-1.0 if rng.random() < 0.5 else 1.0 for _ in range(2))
    scale = float(np.exp(rng.uniform(np.log(0.8), np.log(1.25))))
    shift_x, shift_y = rng.uniform(-0.12, 0.12, 2) * (width, height)
    # Noise on a coarse grid, made smooth: waves of about a quarter of the side.
    bend = rng.normal(0, 0.02, (2, 6, 6)).astype(np.float32) * max(height, width)
    bend_x, bend_y = (np.asarray(cv2.resize(b, (width, height), interpolation=cv2.INTER_CUBIC)) for b in bend)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    middle_x, middle_y = (width - 1) / 2, (height - 1) / 2
    from_x = (x - middle_x - shift_x) * (flip_x / scale) + middle_x + bend_x
    from_y = (y - middle_y - shift_y) * (flip_y / scale) + middle_y + bend_y
    moved = cv2.remap(
        labels, from_x.astype(np.float32), from_y.astype(np.float32), cv2.INTER_NEAREST,
        borderMode=cv2.BORDER_REPLICATE,
    )  # fmt: skip
    return np.asarray(moved, np.uint8)


def _hash(masks: KnownMasks, *more: str) -> str:
    digest = hashlib.sha256("\n".join((*masks.ids, *more)).encode())
    digest.update(np.ascontiguousarray(masks.labels).tobytes())
    return digest.hexdigest()
