"""Parts of pictures with nothing to find in them, which training and evaluation look for alike."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from lawder_edge.errors import BadInput

# Half the frame's sides: a smaller part is magnified more than twice on its way to the network, and a network that is
# trained on such parts could tell them by their blur.
MIN_SHARE = 0.25
# Of the shorter side. Masks are drawn by hand, and a polyp's foot runs out beyond them.
MARGIN = 0.03


@dataclass(frozen=True)
class Window:
    """A rectangle of an image, in pixels."""

    top: int
    left: int
    height: int
    width: int

    def of(self, image: NDArray[Any]) -> NDArray[Any]:
        """What `image` (H, W) or (H, W, C) shows in it, a view."""
        return image[self.top : self.top + self.height, self.left : self.left + self.width]


def clear_window(mask: NDArray[Any], *, margin_px: int = 0, min_share: float = MIN_SHARE) -> Window | None:
    """The largest window of the frame's own shape, to a pixel, without foreground of `mask` (H, W; other than 0).

    Its width is to its height as W to H, so that what is resized to a network's input is distorted no more than a whole
    frame is. The nearest foreground lies more than `margin_px` rows or columns outside. Of several the one whose middle
    is nearest to the frame's: a scope's black corners lie outside. None where it would hold less than `min_share` of
    the frame's pixels.

    Raises BadInput for a mask that is not (H, W), a margin below 0 or a share outside (0, 1].
    """
    if mask.ndim != 2 or mask.size == 0 or margin_px < 0 or not 0 < min_share <= 1:
        raise BadInput(
            f"a window without foreground was asked for in a mask of {mask.shape}, {margin_px} px away from it and "
            f"{min_share} of it large; wanted (H, W), 0 px or more and a share above 0 and up to 1"
        )
    height, width = mask.shape
    kernel = np.ones((2 * margin_px + 1, 2 * margin_px + 1), np.uint8)
    taken = cv2.dilate((mask != 0).astype(np.uint8), kernel, borderType=cv2.BORDER_CONSTANT, borderValue=0)
    # below[y, x]: foreground pixels above row y and left of column x.
    below = cv2.integral(taken)

    def places(rows: int) -> NDArray[np.intp]:
        """(top, left) of every clear window of so many rows, (N, 2)."""
        columns = _columns(rows, height, width)
        inside = below[rows:, columns:] - below[:-rows, columns:] - below[rows:, :-columns] + below[:-rows, :-columns]
        return np.argwhere(inside == 0)

    # A clear window holds clear ones of every smaller size, so the largest is found by halving.
    low, high = 0, height
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if len(places(middle)) else (low, middle - 1)
    columns = _columns(low, height, width)
    if low * columns < min_share * mask.size:
        return None
    found = places(low)
    off_centre = np.abs(2 * found + (low - height, columns - width)).astype(np.float64) / (height, width)
    top, left = found[(off_centre**2).sum(axis=1).argmin()]
    return Window(int(top), int(left), low, columns)


def clear_part(labels: NDArray[Any], *, margin: float = MARGIN, min_share: float = MIN_SHARE) -> Window | None:
    """`clear_window` of labels (H, W), `margin` a share of their shorter side, rounded up to a pixel."""
    return clear_window(labels, margin_px=math.ceil(margin * min(labels.shape)), min_share=min_share)


def _columns(rows: int, height: int, width: int) -> int:
    """Width of a window of `rows` in the shape of the frame; never less for more rows."""
    return max(1, round(rows * width / height))
