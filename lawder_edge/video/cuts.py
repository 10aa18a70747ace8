"""Where a video jumps to another place: nothing remembered of the frames before holds there."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from lawder_edge.video.frames import Image, Map

# A picture is judged as a thumbnail of this side; its middle is looked for within the other's, so that a scope which
# turns by up to a fifth of its view between two frames is followed.
_SIDE, _REACH = 32, 6
# Chroma bins of 32 steps.
_BINS = 8
_LEVEL = 80.0
# Below this standard deviation (of 255) a thumbnail shows no structure to compare: a lens on the wall, a dark lumen.
_FLAT = 6.0
# On clips from validation stills at 30 frames a second the largest difference of neighbours was 0.08 (0.14 on the
# procedural clip), of 190 pairs of different places 1 % were below 0.28; ClinicDB's sequences meet at 0.43 or more.
UNLIKE = 0.25


@dataclass(frozen=True)
class Glance:
    """What is kept of a picture to compare it with the next. grey: (32, 32) float32. colours: (8, 8) float32, sum 1."""

    grey: Map
    colours: Map


def glance(image: Image) -> Glance:
    """image: (H, W, 3) uint8 RGB, any size."""
    small = cv2.resize(image, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
    # Exposure is levelled: chroma grows with light.
    small = cv2.convertScaleAbs(small, alpha=_LEVEL / max(float(small.mean()), _LEVEL / 8))
    lab = cv2.cvtColor(small, cv2.COLOR_RGB2LAB)
    colours = cv2.calcHist([lab], [1, 2], None, [_BINS * 2, _BINS * 2], [64, 192, 64, 192])
    colours = cv2.GaussianBlur(colours, (3, 3), 0.8)
    grey = cv2.GaussianBlur(np.asarray(lab[..., 0], np.float32), (3, 3), 0.8)
    return Glance(np.asarray(grey, np.float32), np.asarray(colours / max(float(colours.sum()), 1e-6), np.float32))


def change(before: Glance, now: Glance) -> tuple[float, float]:
    """How unlike two pictures are in structure and in colour, each from 0, alike, to 1 (structure up to 2).

    Structure is 1 minus the best normalised correlation of the middle under small shifts; 0 where either picture is
    flat. Colour is 1 minus the intersection of the chroma histograms.
    """
    middle = before.grey[_REACH:-_REACH, _REACH:-_REACH]
    structure = 0.0
    if min(float(middle.std()), float(now.grey.std())) >= _FLAT:
        structure = 1 - float(cv2.matchTemplate(now.grey, middle, cv2.TM_CCOEFF_NORMED).max())
    return structure, 1 - float(np.minimum(before.colours, now.colours).sum())


def is_cut(before: Glance, now: Glance, *, unlike: float = UNLIKE) -> bool:
    """Whether `now` shows another place: structure and colour together differ by more than `unlike`."""
    return sum(change(before, now)) > unlike
