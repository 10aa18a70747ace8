"""Masks drawn on frames, in colours that stay apart for colour-blind readers (Okabe & Ito, 2008)."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from lawder_edge.errors import BadInput

Image = NDArray[np.uint8]
Colour = tuple[int, int, int]

# RGB. Neither occurs in mucosa, and they differ in lightness as well as in hue.
TRUTH: Colour = (86, 180, 233)
PREDICTION: Colour = (240, 228, 66)
_HALO: Colour = (0, 0, 0)
_TINT = 0.25
# One pixel of line for so many of the frame's shorter side.
_SIDE_PER_LINE_PX = 128


def draw_overlay(frame: Image, mask: NDArray[Any]) -> Image:
    """`frame` (H, W, 3) uint8 RGB with `mask` (H, W), foreground other than 0, tinted and outlined.

    The line's width follows the frame's size. Returns a new (H, W, 3) uint8 RGB image.

    Raises BadInput where the sizes differ or `frame` is not (H, W, 3) uint8.
    """
    _check(frame, mask)
    inside = np.asarray(mask != 0)
    out = frame.copy()
    tint = np.array(PREDICTION, np.float32)
    out[inside] = np.round((1 - _TINT) * frame[inside] + _TINT * tint).astype(np.uint8)
    return draw_contour(out, inside, PREDICTION)


def draw_contour(frame: Image, mask: NDArray[Any], colour: Colour) -> Image:
    """`frame` (H, W, 3) uint8 with the outlines of `mask` (H, W; foreground other than 0), holes included.

    The line runs over the mask's outermost pixels on a dark halo, so that it shows on bright and on dark ground.
    Returns a new image. Raises BadInput where the sizes differ or `frame` is not (H, W, 3) uint8.
    """
    _check(frame, mask)
    out = np.ascontiguousarray(frame).copy()
    contours, _ = cv2.findContours((mask != 0).astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    width = max(2, round(min(frame.shape[:2]) / _SIDE_PER_LINE_PX))
    cv2.drawContours(out, contours, -1, _HALO, width + 2, cv2.LINE_AA)
    cv2.drawContours(out, contours, -1, colour, width, cv2.LINE_AA)
    return out


def _check(frame: Image, over: NDArray[Any]) -> None:
    if frame.ndim != 3 or frame.shape[2] != 3 or frame.dtype != np.uint8 or frame.shape[:2] != over.shape:
        raise BadInput(
            f"cannot draw a mask of {over.shape} on a frame of {frame.shape} {frame.dtype}; the frame must be "
            "(H, W, 3) uint8 and the mask (H, W) of the same size"
        )
