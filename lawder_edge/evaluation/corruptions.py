"""What endoscopes do to pictures, at five severities, for measuring what it costs a segmenter.

In the manner of Hendrycks and Dietterich (https://arxiv.org/abs/1903.12261), with what happens inside a bowel in place
of weather. Sizes are shares of the shorter side, so that a severity means the same at every resolution.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from lawder_edge.errors import BadInput

Frame = NDArray[np.uint8]
Corruption = Callable[[Frame, int, np.random.Generator], Frame]
SEVERITIES = (1, 2, 3, 4, 5)
# Corners around the field of view are darker than this, but for what JPEG leaves there.
_BLACK = 24


def corrupt(frame: Frame, kind: str, severity: int, rng: np.random.Generator) -> Frame:
    """frame: (H, W, 3) uint8 RGB, which is not changed. kind: of `CORRUPTIONS`. severity: 1 (slight) to 5 (extreme).

    Returns: another (H, W, 3) uint8. The same generator state gives the same picture. Raises BadInput for a kind or
    severity that is not known, or another frame.
    """
    if kind not in CORRUPTIONS:
        raise BadInput(f"unknown corruption {kind!r}; known: {', '.join(CORRUPTIONS)}.")
    if severity not in SEVERITIES:
        raise BadInput(f"severity {severity} of {kind}; wanted {SEVERITIES[0]} to {SEVERITIES[-1]}.")
    if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3:
        raise BadInput(f"a frame to corrupt is (H, W, 3) uint8, got {frame.shape} of {frame.dtype}.")
    return CORRUPTIONS[kind](frame, severity - 1, rng)


def _side(frame: Frame) -> int:
    return int(min(frame.shape[:2]))


def _clipped(values: NDArray[Any]) -> Frame:
    return np.asarray(np.rint(np.clip(values, 0, 255)), np.uint8)


def _blend(
    frame: Frame, colour: NDArray[np.floating] | tuple[float, float, float], alpha: NDArray[np.floating]
) -> Frame:
    """alpha: (H, W) in [0, 1], how much of `colour` stands before the frame."""
    share = alpha[..., None]
    return _clipped(frame * (1 - share) + np.asarray(colour, np.float32) * share)


def _view(frame: Frame) -> NDArray[np.float32]:
    """1 inside the endoscope's field of view, 0 in the black corners around it: (H, W)."""
    lit = (frame.max(axis=2) > _BLACK).astype(np.uint8)
    side = max(3, round(_side(frame) * 0.1) | 1)
    closed = cv2.morphologyEx(lit, cv2.MORPH_CLOSE, np.ones((side, side), np.uint8))
    return np.asarray(closed, np.float32)


def _field(frame: Frame, rng: np.random.Generator, *, cells: int) -> NDArray[np.float32]:
    """A smooth random field (H, W) from 0 to 1, with about `cells` hills along a side."""
    coarse = rng.random((cells, cells), dtype=np.float32)
    field = cv2.resize(coarse, (frame.shape[1], frame.shape[0]), interpolation=cv2.INTER_CUBIC)
    low, high = float(field.min()), float(field.max())
    return np.asarray((field - low) / max(high - low, 1e-6), np.float32)


def _motion_blur(frame: Frame, level: int, rng: np.random.Generator) -> Frame:
    """The tip moves while a frame is taken: a line of one direction."""
    length = max(3, round(_side(frame) * (0.015, 0.025, 0.04, 0.06, 0.09)[level]) | 1)
    kernel = np.zeros((length, length), np.float32)
    angle, middle = rng.uniform(0, np.pi), length // 2
    across, down = (round(middle * float(f(angle))) for f in (np.cos, np.sin))
    cv2.line(kernel, (middle - across, middle - down), (middle + across, middle + down), 1.0)
    return np.asarray(cv2.filter2D(frame, -1, kernel / kernel.sum()), np.uint8)


def _defocus(frame: Frame, level: int, rng: np.random.Generator) -> Frame:
    """Too near for the fixed focus: every point becomes a disk."""
    radius = max(1, round(_side(frame) * (0.005, 0.01, 0.016, 0.024, 0.035)[level]))
    grid = np.arange(-radius, radius + 1)
    disk = (grid[:, None] ** 2 + grid**2 <= radius**2 + 0.5).astype(np.float32)
    return np.asarray(cv2.filter2D(frame, -1, disk / disk.sum()), np.uint8)


def _specular(frame: Frame, level: int, rng: np.random.Generator) -> Frame:
    """The lamp's reflections on wet tissue: small saturated spots."""
    alpha = np.zeros(frame.shape[:2], np.float32)
    side = _side(frame)
    for _ in range((8, 16, 32, 56, 90)[level]):
        centre = (int(rng.integers(frame.shape[1])), int(rng.integers(frame.shape[0])))
        axes = tuple(max(1, round(side * a)) for a in rng.uniform(0.004, 0.025, 2))
        cv2.ellipse(alpha, centre, (axes[0], axes[1]), float(rng.uniform(0, 180)), 0, 360, 1.0, -1)
    return _blend(frame, (255, 255, 255), cv2.GaussianBlur(alpha, (0, 0), max(side * 0.003, 0.5)) * _view(frame))


def _overexposure(frame: Frame, level: int, rng: np.random.Generator) -> Frame:
    return _clipped(frame * np.float32((1.3, 1.6, 2.0, 2.6, 3.4)[level]))


def _underexposure(frame: Frame, level: int, rng: np.random.Generator) -> Frame:
    return _clipped(frame * np.float32((0.7, 0.5, 0.35, 0.22, 0.12)[level]))


def _smoke(frame: Frame, level: int, rng: np.random.Generator) -> Frame:
    """Of a burning snare: a pale veil of uneven thickness."""
    veil = (0.2, 0.35, 0.5, 0.65, 0.8)[level] * (0.4 + 0.6 * _field(frame, rng, cells=5))
    return _blend(frame, (205, 205, 210), veil * _view(frame))


def _blood(frame: Frame, level: int, rng: np.random.Generator) -> Frame:
    """A red film on the lens, in patches."""
    patches = np.clip(3 * _field(frame, rng, cells=6) - 1, 0, 1)
    film = (0.3, 0.45, 0.6, 0.75, 0.9)[level] * (0.3 + 0.7 * patches)
    return _blend(frame, (120, 8, 8), film * _view(frame))


def _bubbles(frame: Frame, level: int, rng: np.random.Generator) -> Frame:
    """Of water and foam: each shows its surroundings upside down, with a bright rim and a highlight."""
    out, side, view = frame.astype(np.float32), _side(frame), _view(frame)[..., None]
    rows, columns = np.mgrid[: frame.shape[0], : frame.shape[1]].astype(np.float32)
    for _ in range((4, 8, 16, 28, 45)[level]):
        radius = side * rng.uniform(0.015, 0.06)
        down, across = rng.uniform(0, frame.shape[0]), rng.uniform(0, frame.shape[1])
        distance = np.hypot(rows - down, columns - across) / radius
        inside = distance < 1
        turned = cv2.remap(
            frame, 2 * across - columns, 2 * down - rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT
        )
        out[inside] = 0.35 * out[inside] + 0.65 * turned[inside]
        rim = np.exp(-(((distance - 1) / 0.12) ** 2))[..., None]
        light = np.exp(-((np.hypot(rows - down + radius / 2, columns - across + radius / 2) / (radius / 6)) ** 2))[
            ..., None
        ]
        out += (255 - out) * np.clip(0.55 * rim + light, 0, 1) * view
    return _clipped(out)


def _jpeg(frame: Frame, level: int, rng: np.random.Generator) -> Frame:
    quality = (50, 30, 18, 10, 5)[level]
    _, coded = cv2.imencode(".jpg", np.ascontiguousarray(frame[..., ::-1]), [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.ascontiguousarray(np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR), np.uint8)[..., ::-1])


def _noise(frame: Frame, level: int, rng: np.random.Generator) -> Frame:
    """Of the sensor in the dark: normal, each channel by itself."""
    return _clipped(frame + rng.normal(0, (6, 12, 20, 32, 48)[level], frame.shape))


def _colour_cast(frame: Frame, level: int, rng: np.random.Generator) -> Frame:
    """A white balance that was never set: gains of the channels, in a random direction, brightness left as it is."""
    direction = rng.normal(size=3)
    direction -= direction.mean()
    direction /= max(float(np.linalg.norm(direction)), 1e-6)
    return _clipped(frame * np.exp((0.15, 0.27, 0.4, 0.55, 0.75)[level] * direction))


CORRUPTIONS: Mapping[str, Corruption] = MappingProxyType(
    {
        "motion blur": _motion_blur,
        "defocus": _defocus,
        "specular spots": _specular,
        "overexposure": _overexposure,
        "underexposure": _underexposure,
        "smoke": _smoke,
        "blood": _blood,
        "bubbles": _bubbles,
        "jpeg": _jpeg,
        "noise": _noise,
        "colour cast": _colour_cast,
    }
)
