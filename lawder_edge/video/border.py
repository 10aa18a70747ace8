"""The black border around an endoscope's picture: found, cut away for the network, and put back around its answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from lawder_edge.video.frames import Image

Sample = TypeVar("Sample", np.uint8, np.float32, np.bool_)

# Brightest channel above which a pixel belongs to the picture. Sensor noise in the border stays below 20.
_DARK = 24
# Looked at on a grid of about so many pixels of the shorter side.
_LOOK_PX = 180
# A picture smaller than this share of the frame is not trusted: the scope looks into the dark.
_LEAST_AREA = 0.15
# A border thinner than this share of a side is left: cutting it would gain nothing.
_LEAST_BORDER = 0.02
# After a cut every frame is looked at so many times, later every so many-th.
_FIRST_LOOKS, _EVERY = 10, 25


@dataclass(frozen=True)
class View:
    """The part of a frame that shows the picture: rows `top` to `bottom`, columns `left` to `right`, in pixels."""

    top: int
    bottom: int
    left: int
    right: int

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) in pixels."""
        return self.bottom - self.top, self.right - self.left

    def crop(self, image: NDArray[Sample]) -> NDArray[Sample]:
        """The part of (H, W, ...) that it is, without a copy."""
        return image[self.top : self.bottom, self.left : self.right]

    def joined(self, other: View) -> View:
        """The smallest view that holds both."""
        return View(
            min(self.top, other.top), max(self.bottom, other.bottom),
            min(self.left, other.left), max(self.right, other.right),
        )  # fmt: skip


def whole(image: Image) -> View:
    """All of a frame."""
    return View(0, image.shape[0], 0, image.shape[1])


def find_view(image: Image) -> View | None:
    """Where the picture is in (H, W, 3) uint8 RGB: the box around the largest bright part.

    Text beside the picture and a second, smaller picture are not part of it. None where too little is bright to tell.
    """
    height, width = image.shape[:2]
    step = max(1, min(height, width) // _LOOK_PX)
    bright = (image[::step, ::step].max(axis=2) > _DARK).astype(np.uint8)
    # Letters are thinner than this, so they neither count nor bridge the gap to the picture.
    bright = cv2.morphologyEx(bright, cv2.MORPH_OPEN, np.ones((5, 5), np.uint8))
    _, _, stats, _ = cv2.connectedComponentsWithStats(bright, connectivity=4)
    if len(stats) < 2:
        return None
    left, top, across, down, area = (int(v) for v in stats[1 + int(stats[1:, cv2.CC_STAT_AREA].argmax())])
    if area < _LEAST_AREA * bright.size:
        return None
    # What the grid has not seen belongs to the picture, rather than to the border.
    box = View(
        max(0, (top - 1) * step + 1) if top else 0, min(height, (top + down) * step),
        max(0, (left - 1) * step + 1) if left else 0, min(width, (left + across) * step),
    )  # fmt: skip
    thin = (
        box.top < _LEAST_BORDER * height and height - box.bottom < _LEAST_BORDER * height
        and box.left < _LEAST_BORDER * width and width - box.right < _LEAST_BORDER * width
    )  # fmt: skip
    return whole(image) if thin else box


class ViewFinder:
    """The view of one frame after another: grows with what is seen, so that a dark moment does not shrink it."""

    def __init__(self) -> None:
        self._view: View | None = None
        self._size: tuple[int, int] = (0, 0)
        self._looks = 0

    def step(self, image: Image, *, cut: bool) -> View:
        """image: (H, W, 3) uint8 RGB. cut: whether earlier frames say nothing about this one."""
        size = image.shape[0], image.shape[1]
        if cut or size != self._size:
            self._view, self._size, self._looks = None, size, 0
        if self._view is None or self._looks < _FIRST_LOOKS or self._looks % _EVERY == 0:
            found = find_view(image)
            if found is not None:
                self._view = found if self._view is None else self._view.joined(found)
        self._looks += 1
        return self._view or whole(image)
