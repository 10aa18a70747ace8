"""What a scope makes of a surface: its light, wet spots, motion blur, grain and border. For clips made here."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from lawder_edge.video.frames import Image, Map
from lawder_edge.video.motion import Camera

# Share of a frame's time that the shutter is open.
_SHUTTER = 0.5
_LONGEST_BLUR_PX = 15
# Mean brightness that a wall is brought down to, of 1.
_EXPOSURE = 0.5


@dataclass(frozen=True)
class Surface:
    """What the camera moves over.

    layers: (H, W, 4) uint8, RGB and how much light each place sends straight back. mask: (H, W) uint8, 1 for polyp.
    """

    layers: Image
    mask: Image

    @classmethod
    def of(cls, colour: Map, gleam: Map, mask: Image) -> Surface:
        """colour: (H, W, 3) float32 RGB, 1 for full light, more where it is cut. gleam: (H, W) float32 of any scale.
        mask: (H, W) uint8.

        Exposed as a scope does it, bright walls less; gleam levelled, so that no wall is all spots.
        """
        exposed = colour * min(1.0, _EXPOSURE / max(float(colour.mean()), 1e-3))
        level = gleam - 0.7 * cv2.GaussianBlur(gleam, (0, 0), 0.06 * min(mask.shape), borderType=cv2.BORDER_REFLECT)
        level = (level - level.mean()) / max(float(level.std()), 1e-6)
        # What faces the light most, the top of a polyp, would be white all over.
        layers = np.dstack([exposed * 255, 110 + 36 * np.minimum(level, 2)])
        return cls(np.ascontiguousarray(np.clip(layers, 0, 255).round().astype(np.uint8)), mask)


@dataclass(frozen=True)
class Light:
    """How the light changes: `swing` of brightness and `warmth` of colour at most, as shares, in `period_s` seconds.

    spots: from 0, a dry wall, to 1, a wet one.
    """

    swing: float = 0.06
    warmth: float = 0.02
    period_s: float = 5.0
    spots: float = 0.5


class Scope:
    """Pictures of a surface, seen through one optic at `fps`.

    visible: (H, W) bool, what the scope's border leaves. The same state of `rng` gives the same optic.
    """

    def __init__(
        self, rng: np.random.Generator, visible: NDArray[np.bool_], *, fps: float, light: Light, grain: float = 2.0
    ) -> None:
        """grain: standard deviation of the sensor's noise in steps of 255."""
        self.visible = visible
        height, width = visible.shape
        short = min(height, width)
        self._light, self._fps, self._grain_seed = light, fps, int(rng.integers(2**31))
        self._phase = rng.uniform(0, 2 * np.pi, 3)
        y, x = np.mgrid[0:height, 0:width].astype(np.float32)
        x, y = (x - width / 2) / short, (y - height / 2) / short
        # The light sits at the lens: edges get less of it. Held in 1/255 so that it is one multiplication a frame.
        fall = np.clip(1.03 - 0.55 * (x * x + y * y), 0, 1) * visible
        soft = cv2.GaussianBlur(fall.astype(np.float32), (0, 0), max(0.004 * short, 0.5))
        self._fall = np.repeat((soft * 255).astype(np.uint8)[..., None], 3, axis=2)
        self._noise = (rng.standard_normal((height + 64, width + 64, 3)) * grain).round().astype(np.int16)
        self._ripple = _ripple(rng, (2 * height, 2 * width), short)

    def picture(self, surface: Surface, camera: Camera, number: int, *, at_s: float, haze: float = 0.0) -> Image:
        """(H, W, 3) uint8 RGB at `at_s` seconds of the camera's way, the `number`th of the clip.

        haze: from 0, none, to 1, a lens that touches the wall: blurred, red and without detail.
        """
        look = camera.look(at_s)
        seen = cv2.remap(surface.layers, *look, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
        wet: Image = np.ascontiguousarray(seen[..., 3], np.uint8)
        image = np.asarray(cv2.cvtColor(seen, cv2.COLOR_RGBA2RGB), np.uint8)
        image = self._with_spots(image, wet, camera, at_s)
        dx, dy = camera.step_px(at_s + _SHUTTER / self._fps, at_s)
        image = _smear(image, dx, dy)
        if haze > 0:
            image = _touching(image, haze)
        lit = cv2.multiply(cv2.LUT(image, self._brightness(at_s)), self._fall, scale=1 / 255)
        return self._with_grain(np.asarray(lit, np.uint8), number)

    def mask(self, surface: Surface, camera: Camera, *, at_s: float) -> Image:
        """(H, W) uint8, 1 where the polyp is seen: outlined at half of a bilinear sample."""
        soft = cv2.remap(
            surface.mask * np.uint8(255), *camera.look(at_s), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101
        )
        return np.asarray((soft >= 128) & self.visible).astype(np.uint8)

    def _with_spots(self, image: Image, wet: Image, camera: Camera, at_s: float) -> Image:
        """Spots move at their own pace: between that of the wall and that of the lamp, which stands still in view."""
        if not self._light.spots:
            return image
        x, y, zoom, _ = camera.pose(at_s)
        height, width = wet.shape
        left, top = round(0.6 * x / zoom) % width, round(0.6 * y / zoom) % height
        ripple = self._ripple[top : top + height, left : left + width]
        # Film above a step of brightness turns white within 30 steps of 255.
        film = cv2.addWeighted(wet, 0.55, ripple, 0.45, 0)
        start = 186 - 24 * self._light.spots
        spots = cv2.convertScaleAbs(cv2.subtract(film, np.full_like(film, int(start))), alpha=255 / 30)
        spots = cv2.blur(spots, (3, 3))
        return np.asarray(cv2.add(image, cv2.merge([spots, spots, spots])), np.uint8)

    def _brightness(self, at_s: float) -> Image:
        """What each of the 256 levels becomes: (1, 256, 3) uint8."""
        a, b, c = np.sin(2 * np.pi * at_s / self._light.period_s * np.array([1.0, 0.37, 2.1]) + self._phase)
        level = 1 + self._light.swing * (0.7 * a + 0.3 * c)
        gains = level * (1 + self._light.warmth * b * np.array([1, 0, -1]))
        return np.asarray(np.clip(np.arange(256)[:, None] * gains, 0, 255).astype(np.uint8)[None])

    def _with_grain(self, image: Image, number: int) -> Image:
        top, left = np.random.default_rng([self._grain_seed, number]).integers(0, 64, 2)
        noise = self._noise[top : top + image.shape[0], left : left + image.shape[1]]
        return np.asarray(cv2.add(image, noise, dtype=cv2.CV_8U), np.uint8)


def _ripple(rng: np.random.Generator, size: tuple[int, int], short: int) -> Image:
    """A wet film's ripples (H, W) uint8 that tile in halves: two octaves of smooth noise."""
    height, width = size[0] // 2, size[1] // 2
    total = np.zeros((height, width), np.float32)
    for cells, weight in ((30, 1.0), (64, 0.8)):
        coarse = rng.standard_normal((cells * height // short + 2, cells * width // short + 2), dtype=np.float32)
        # Of three repeats the middle one, whose edges meet.
        thrice = cv2.resize(np.tile(coarse, (3, 3)), (3 * width, 3 * height), interpolation=cv2.INTER_CUBIC)
        total += weight * thrice[height : 2 * height, width : 2 * width]
    return np.tile(np.clip(110 + 55 * total, 0, 255).astype(np.uint8), (2, 2))


def _smear(image: Image, dx: float, dy: float) -> Image:
    """Blurred along a way of (dx, dy) pixels about its middle; below two pixels it does not show.

    By halves: the mean of two copies a half of the way apart, of that two a quarter apart, and so on. A filter over the
    whole way took 44 ms of a 1080p frame's 66.
    """
    length = float(np.hypot(dx, dy))
    share = min(length, _LONGEST_BLUR_PX) / max(length, 1e-6)
    x, y = dx * share / 4, dy * share / 4
    while max(abs(x), abs(y)) >= 0.5:
        right, down = round(x), round(y)
        height, width = image.shape[:2]
        ahead, behind = (
            image[max(2 * v, 0) : height + min(2 * v, 0), max(2 * h, 0) : width + min(2 * h, 0)]
            for h, v in ((right, down), (-right, -down))
        )
        mixed = image.copy()
        inner = np.s_[abs(down) : height - abs(down), abs(right) : width - abs(right)]
        mixed[inner] = cv2.addWeighted(ahead, 0.5, behind, 0.5, 0)
        image, x, y = mixed, x / 2, y / 2
    return image


def _touching(image: Image, haze: float) -> Image:
    side = max(3, int(haze * 0.12 * min(image.shape[:2])) | 1)
    blurred = cv2.blur(cv2.blur(image, (side, side)), (side, side))
    wall = np.full_like(image, (196, 84, 66))
    return np.asarray(cv2.addWeighted(blurred, 1 - 0.85 * haze, wall, 0.85 * haze, 0), np.uint8)
