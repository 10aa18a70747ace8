"""Augmentation for endoscopy, aimed at other hospitals' scopes: geometry, colour, optics, compression.

Every function takes the generator that it draws from: the same generator state gives the same picture. Frames are
(H, W, 3) or (H, W, 1) uint8 in [0, 255], labels (H, W) uint8 class indices. `taught`, what a teacher said of a frame,
is its (H, W) uint8 probability of foreground, 255 for 1: it moves with the frame, and no change of colour alters it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

Frame = NDArray[np.uint8]
Labels = NDArray[np.uint8]
Taught = NDArray[np.uint8]


class Example(NamedTuple):
    """A frame, its labels, and what a teacher said of it, None where none did."""

    frame: Frame
    labels: Labels
    taught: Taught | None = None


@dataclass(frozen=True)
class AugmentConfig:
    """Probabilities (`p_*`, in [0, 1]) and extents of each change.

    `anisotropy` undoes and exceeds the squashing of the public copies of Kvasir-SEG and CVC-ClinicDB to squares.
    """

    p_flip: float = 0.5
    p_rotate: float = 0.8
    rotate_deg: float = 180.0
    scale: tuple[float, float] = (0.75, 1.4)
    anisotropy: tuple[float, float] = (0.75, 1.33)
    shift: float = 0.12
    p_tone: float = 0.9
    brightness: float = 0.25
    contrast: float = 0.3
    gamma: tuple[float, float] = (0.7, 1.5)
    channel_gain: float = 0.15
    p_exchange: float = 0.3
    p_vignette: float = 0.15
    p_blur: float = 0.2
    blur_sigma_px: float = 1.6
    p_noise: float = 0.15
    noise_std: float = 8.0
    p_specular: float = 0.25
    p_corners: float = 0.2
    p_jpeg: float = 0.2
    jpeg_quality: tuple[int, int] = (30, 90)


def geometry(
    frame: Frame,
    labels: Labels,
    config: AugmentConfig,
    *,
    size: tuple[int, int],
    rng: np.random.Generator,
    taught: Taught | None = None,
) -> Example:
    """Flip, rotate, scale (anisotropically), shift and resample to `size` (H, W) in one warp.

    The outside is black or mirrored, for all three alike.
    """
    h, w = labels.shape
    out_h, out_w = size
    # Not `< p_flip`: at 0.5 either end serves, and this one gives the pictures that earlier seeds gave.
    flip_x, flip_y = (-1.0 if rng.random() >= 1 - config.p_flip else 1.0 for _ in range(2))
    angle = np.deg2rad(rng.uniform(-config.rotate_deg, config.rotate_deg)) if rng.random() < config.p_rotate else 0.0
    scale = float(np.exp(rng.uniform(*np.log(config.scale))))
    stretch = float(np.exp(0.5 * rng.uniform(*np.log(config.anisotropy))))
    shift_x, shift_y = rng.uniform(-config.shift, config.shift, 2) * (out_w, out_h)
    mirrored = rng.random() < 0.25

    # The stretch comes first: it undoes a property of the source picture, whichever way the scope is then turned.
    sx, sy = scale * stretch * out_w / w * flip_x, scale / stretch * out_h / h * flip_y
    cos, sin = np.cos(angle), np.sin(angle)
    linear = np.array([[cos * sx, -sin * sy], [sin * sx, cos * sy]])
    target = np.array([(out_w - 1) / 2 + shift_x, (out_h - 1) / 2 + shift_y])
    offset = target - linear @ np.array([(w - 1) / 2, (h - 1) / 2])
    matrix = np.column_stack([linear, offset])

    border = cv2.BORDER_REFLECT_101 if mirrored else cv2.BORDER_CONSTANT
    # Shrinking by a half or more aliases under bilinear taps: halve the source first.
    if scale * min(out_w / w, out_h / h) < 0.6:
        frame = _with_channels(cv2.resize(frame, (w // 2, h // 2), interpolation=cv2.INTER_AREA))
        halved = matrix.copy()
        halved[:, :2] *= 2
        halved[:, 2] += matrix[:, :2] @ np.array([0.5, 0.5])
        warped = cv2.warpAffine(frame, halved, (out_w, out_h), flags=cv2.INTER_LINEAR, borderMode=border)
    else:
        warped = cv2.warpAffine(frame, matrix, (out_w, out_h), flags=cv2.INTER_LINEAR, borderMode=border)
    moved = cv2.warpAffine(labels, matrix, (out_w, out_h), flags=cv2.INTER_NEAREST, borderMode=border)
    if taught is not None:
        taught = np.asarray(
            cv2.warpAffine(taught, matrix, (out_w, out_h), flags=cv2.INTER_LINEAR, borderMode=border), dtype=np.uint8
        )
    return Example(_with_channels(warped), moved.astype(np.uint8), taught)


def tone(frame: Frame, config: AugmentConfig, *, rng: np.random.Generator) -> Frame:
    """Brightness, contrast, gamma and a gain for each channel (white balance), as one lookup table a channel."""
    ramp = np.arange(256, dtype=np.float32) / 255
    gamma = float(np.exp(rng.uniform(*np.log(config.gamma))))
    gain = 1 + rng.uniform(-config.contrast, config.contrast)
    bias = rng.uniform(-config.brightness, config.brightness) * 0.5
    base = (ramp**gamma - 0.5) * gain + 0.5 + bias
    # Black stays black: the scope's border is no tissue.
    base = base * np.minimum(ramp * 16, 1)
    out = np.empty_like(frame)
    for c in range(frame.shape[2]):
        balance = 1 + rng.uniform(-config.channel_gain, config.channel_gain)
        table = np.clip(base * balance * 255 + 0.5, 0, 255).astype(np.uint8)
        out[..., c] = table[frame[..., c]]
    return out


def exchange_colour(frame: Frame, other: Frame, *, rng: np.random.Generator) -> Frame:
    """Give `frame` part of the colour statistics (mean and spread in LAB) of `other`, a frame of another dataset."""
    if frame.shape[2] != 3:
        return frame
    lab = cv2.cvtColor(frame, cv2.COLOR_RGB2LAB).astype(np.float32)
    lab_other = cv2.cvtColor(other, cv2.COLOR_RGB2LAB)[::4, ::4].reshape(-1, 3).astype(np.float32)
    tissue = lab_other[lab_other[:, 0] > 20]
    own = lab[::4, ::4].reshape(-1, 3)
    own = own[own[:, 0] > 20]
    if len(tissue) < 32 or len(own) < 32:
        return frame
    strength = rng.uniform(0.3, 1.0)
    ratio = np.clip(tissue.std(0) / np.maximum(own.std(0), 1), 0.5, 2.0)
    moved = (lab - own.mean(0)) * ratio + tissue.mean(0)
    mixed = np.where(lab[..., :1] > 12, lab + strength * (moved - lab), lab)
    return _with_channels(cv2.cvtColor(np.clip(mixed, 0, 255).astype(np.uint8), cv2.COLOR_LAB2RGB))


def vignette(frame: Frame, *, rng: np.random.Generator) -> Frame:
    """Light that falls off from an off-centre point."""
    h, w = frame.shape[:2]
    cy, cx = rng.uniform(0.3, 0.7, 2) * (h, w)
    depth = rng.uniform(0.3, 0.8)
    yy = (np.arange(h, dtype=np.float32)[:, None] - cy) / h
    xx = (np.arange(w, dtype=np.float32)[None, :] - cx) / w
    light = 1 - depth * np.minimum(1.6 * (yy**2 + xx**2), 1)
    dimmed: Frame = (frame * light[..., None]).astype(np.uint8)
    return dimmed


def blur(frame: Frame, config: AugmentConfig, *, rng: np.random.Generator) -> Frame:
    """Defocus or motion blur; the extent scales with the frame (`blur_sigma_px` at 256 px)."""
    extent = rng.uniform(0.3, 1.0) * config.blur_sigma_px * frame.shape[0] / 256
    if rng.random() < 0.5:
        return _with_channels(cv2.GaussianBlur(frame, (0, 0), max(extent, 0.2)))
    length = max(3, round(extent * 5) | 1)
    angle = rng.uniform(0, np.pi)
    kernel = np.zeros((length, length), np.float32)
    mid = (length - 1) / 2
    dx, dy = np.cos(angle) * mid, np.sin(angle) * mid
    cv2.line(kernel, (round(mid - dx), round(mid - dy)), (round(mid + dx), round(mid + dy)), 1.0)
    return _with_channels(cv2.filter2D(frame, -1, kernel / kernel.sum()))


def specular(frame: Frame, *, rng: np.random.Generator) -> Frame:
    """One to eight soft, saturated highlights."""
    h, w = frame.shape[:2]
    light: NDArray[Any] = np.zeros((h, w), np.float32)
    for _ in range(int(rng.integers(1, 9))):
        centre = (int(rng.integers(0, w)), int(rng.integers(0, h)))
        axes = (max(1, int(rng.uniform(0.004, 0.025) * w)), max(1, int(rng.uniform(0.004, 0.025) * h)))
        cv2.ellipse(light, centre, axes, float(rng.uniform(0, 180)), 0, 360, float(rng.uniform(0.6, 1.0)), -1)
    light = cv2.GaussianBlur(light, (0, 0), max(0.5, w / 320))[..., None]
    return np.clip(frame + light * (255.0 - frame), 0, 255).astype(np.uint8)


def black_corners(example: Example, *, rng: np.random.Generator) -> Example:
    """An octagonal or round scope border; what it hides leaves the mask too."""
    frame, labels, taught = example
    h, w = labels.shape
    keep = np.zeros((h, w), np.uint8)
    if rng.random() < 0.5:
        cut = [int(rng.uniform(0.08, 0.3) * min(h, w)) for _ in range(4)]
        points = [
            (cut[0], 0), (w - 1 - cut[1], 0), (w - 1, cut[1]), (w - 1, h - 1 - cut[2]),
            (w - 1 - cut[2], h - 1), (cut[3], h - 1), (0, h - 1 - cut[3]), (0, cut[0]),
        ]  # fmt: skip
        cv2.fillConvexPoly(keep, np.array(points, np.int32), 1)
    else:
        radius = rng.uniform(0.52, 0.68)
        cv2.ellipse(keep, (w // 2, h // 2), (int(radius * w), int(radius * h)), 0, 0, 360, 1, -1)
    return Example(frame * keep[..., None], labels * keep, None if taught is None else taught * keep)


def jpeg(frame: Frame, config: AugmentConfig, *, rng: np.random.Generator) -> Frame:
    """Compress and decompress."""
    quality = int(rng.integers(config.jpeg_quality[0], config.jpeg_quality[1] + 1))
    _, data = cv2.imencode(".jpg", frame[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    flag = cv2.IMREAD_COLOR if frame.shape[2] == 3 else cv2.IMREAD_GRAYSCALE
    return np.ascontiguousarray(_with_channels(cv2.imdecode(data, flag))[..., ::-1])


def augment(
    frame: Frame,
    labels: Labels,
    config: AugmentConfig,
    *,
    size: tuple[int, int],
    rng: np.random.Generator,
    other: Frame | None = None,
    taught: Taught | None = None,
) -> Example:
    """One training example.

    frame: (h, w, C) uint8; labels, taught: (h, w) uint8; other: a frame of another dataset to borrow colours from.
    Returns: frame (H, W, C) uint8, labels and taught (H, W) uint8 with (H, W) = `size`.
    """
    frame, labels, taught = geometry(frame, labels, config, size=size, rng=rng, taught=taught)
    if other is not None and rng.random() < config.p_exchange:
        frame = exchange_colour(frame, other, rng=rng)
    if rng.random() < config.p_tone:
        frame = tone(frame, config, rng=rng)
    if rng.random() < config.p_vignette:
        frame = vignette(frame, rng=rng)
    if rng.random() < config.p_specular:
        frame = specular(frame, rng=rng)
    if rng.random() < config.p_blur:
        frame = blur(frame, config, rng=rng)
    if rng.random() < config.p_noise:
        noise = rng.normal(0, config.noise_std * rng.random(), frame.shape)
        frame = np.clip(frame + noise, 0, 255).astype(np.uint8)
    if rng.random() < config.p_corners:
        frame, labels, taught = black_corners(Example(frame, labels, taught), rng=rng)
    if rng.random() < config.p_jpeg:
        frame = jpeg(frame, config, rng=rng)
    return Example(frame, labels, taught)


def _with_channels(frame: Any) -> Frame:
    """An OpenCV result with its channel axis, which OpenCV drops when it is single."""
    pixels = np.asarray(frame, dtype=np.uint8)
    return pixels[..., None] if pixels.ndim == 2 else pixels
