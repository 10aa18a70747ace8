"""Whether a picture can be judged at all: not when it is dark, blurred, or taken outside the body.

The limits stand between what was measured on every fourth Kvasir-SEG and every third ClinicDB image, 454 at 256 x 256,
and on the same images darkened and blurred: benchmarks/video_limits.py.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from lawder_edge.video.frames import Image

UNUSABLE = "image unusable: "

# Luma that a quarter of the pixels reach. Images: 49 and more; at 0.15 of their light: 27 and less.
_LEAST_LUMA = 30
# Mean of the absolute Laplacian. Images: 7.9 and more; with a Gaussian blur of 3 px: 4.9 and less.
_LEAST_DETAIL = 5.5
# Share of the lit pixels that are redder than green by 8 steps and than blue. Images: 0.55 and more.
_LEAST_RED = 0.35
_LIT = 24
_RED_STEPS = 8
# A picture of which fewer pixels than this have a colour is grey throughout: a CT, of which only black is unusable.
_COLOURED = 0.02


def why_unusable(picture: Image) -> str:
    """Why nothing should be read from a picture, "" where it can be.

    picture: (h, w, 3) uint8 RGB at about the network's size (256), without the black border.
    """
    luma = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    counts = np.asarray(cv2.calcHist([luma], [0], None, [256], [0, 256]), np.float32).ravel()
    red, green, blue = cv2.split(picture)
    brightest = cv2.max(cv2.max(red, green), blue)
    colour = cv2.subtract(brightest, cv2.min(cv2.min(red, green), blue))
    if np.count_nonzero(colour > _RED_STEPS) < _COLOURED * luma.size:
        return UNUSABLE + "dark" if _brighter(counts, _LEAST_LUMA) < _COLOURED else ""
    if _brighter(counts, _LEAST_LUMA) < 0.25:
        return UNUSABLE + "dark"
    lit = (brightest > _LIT).astype(np.uint8)
    # The border's edge is sharp however blurred the picture is.
    inner = cv2.erode(lit, np.ones((9, 9), np.uint8))
    detail = cv2.mean(np.abs(cv2.Laplacian(luma, cv2.CV_16S, ksize=3)), mask=inner)[0]
    if inner.any() and detail < _LEAST_DETAIL:
        return UNUSABLE + "blurred"
    reddish = (cv2.subtract(red, green) > _RED_STEPS) & (red > blue) & (lit > 0)
    if np.count_nonzero(reddish) < _LEAST_RED * np.count_nonzero(lit):
        return UNUSABLE + "outside the body"
    return ""


def _brighter(counts: NDArray[np.float32], least: int) -> float:
    """Share of the pixels at `least` and above. counts: (256,), how many pixels have each luma."""
    return float(counts[least:].sum() / counts.sum())
