"""Masks drawn from the numbers of a table of shapes, without any mask at hand."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from lawder_edge.synthesis.shapes import ANGLE, AREA, PICTURE, ROUGHNESS, ROUNDNESS, X, Y

# How far a drawn lesion strays from the one whose numbers it took: sd of the logarithm of area and roundness, and of
# the centre as a share of the picture. Small against the spread of real masks, so that it fills gaps and adds no tails.
_SPREAD = 0.15
_SHIFT = 0.03
_TURN_RAD = 0.3
# The second moments are the ellipse's; what makes an outline rough starts at the third harmonic.
_HARMONICS = np.arange(3, 8)
# Real outlines beyond this (a quarter of PraNet's training lesions) are sickles and notches; waves would make stars.
_MOST_ROUGHNESS = 0.11
_POINTS = 96
# cv2.fillPoly takes coordinates in 1/16 of a pixel.
_SHIFT_BITS = 4


def draw_mask(shapes: NDArray[np.float32], size: int, *, rng: np.random.Generator) -> NDArray[np.uint8]:
    """The lesions of one picture of the table, each moved, turned, scaled and given an outline of its own.

    Number, areas and places are taken together, since they depend on each other; the picture may be mirrored.

    shapes: (M, 8) as `measure_shapes` gives them, with a row at least. Returns: (size, size) uint8 of 0 and 1.
    """
    picture = rng.choice(np.unique(shapes[:, PICTURE]))
    mirror_x, mirror_y = (bool(rng.random() < 0.5) for _ in range(2))
    mask = np.zeros((size, size), np.uint8)
    for row in shapes[shapes[:, PICTURE] == picture].astype(np.float64):
        x, y = row[[X, Y]] + rng.normal(0, _SHIFT, 2)
        angle = row[ANGLE] + rng.normal(0, _TURN_RAD)
        if mirror_x:
            x, angle = 1 - x, np.pi - angle
        if mirror_y:
            y, angle = 1 - y, -angle
        area = row[AREA] * np.exp(rng.normal(0, _SPREAD))
        roundness = min(1.0, row[ROUNDNESS] * np.exp(rng.normal(0, _SPREAD)))
        outline = _outline(roundness, angle, row[ROUGHNESS], rng=rng)
        mask |= _filled(outline, centre=np.array([x, y]) * size, area_px=area * size * size, size=size)
    return mask


def _outline(roundness: float, angle: float, roughness: float, *, rng: np.random.Generator) -> NDArray[np.float64]:
    """Points (_POINTS, 2) around the origin, in any unit."""
    theta = np.linspace(0, 2 * np.pi, _POINTS, endpoint=False)
    amplitude = rng.normal(0, 1, len(_HARMONICS)) / _HARMONICS**2
    waves = np.cos(theta[:, None] * _HARMONICS + rng.uniform(0, 2 * np.pi, len(_HARMONICS))) @ amplitude
    radius = np.exp(waves * min(roughness, _MOST_ROUGHNESS) / max(waves.std(), 1e-9))
    axes = np.stack([np.cos(theta) / np.sqrt(roundness), np.sin(theta) * np.sqrt(roundness)], 1) * radius[:, None]
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    return np.asarray(axes @ turn)


def _filled(
    outline: NDArray[np.float64], *, centre: NDArray[np.float64], area_px: float, size: int
) -> NDArray[np.uint8]:
    """The outline around `centre`, scaled until what the picture shows of it has the area."""
    scale = np.sqrt(area_px / np.pi)
    mask = np.zeros((size, size), np.uint8)
    for _ in range(6):
        points = np.round((outline * scale + centre - 0.5) * 2**_SHIFT_BITS).astype(np.int32)
        mask = np.zeros((size, size), np.uint8)
        cv2.fillPoly(mask, [points], 1, shift=_SHIFT_BITS)
        shown = int(mask.sum())
        # Of a lesion that lies almost outside, growing shows more of the same; it is left to be rejected.
        if not shown or abs(shown - area_px) <= 0.02 * area_px or scale > size:
            break
        scale *= np.sqrt(area_px / shown)
    return mask
