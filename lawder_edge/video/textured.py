"""Clips with the texture of real endoscopy: a still and its mask, moved by a known camera, with masks and motion exact.

Between the still and the frame stand what a video adds: light that drifts, specular spots that move, motion blur, grain
and JPEG. The camera turns to the polyp and away from it to a part of the same still that shows none. What is measured
on these clips says how steady masks are on known motion; a real wall also deforms, bleeds and is cleaned.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from lawder_edge.errors import BadInput
from lawder_edge.video.drawn import DrawnClip
from lawder_edge.video.frames import Image, Map
from lawder_edge.video.motion import Camera, Stop
from lawder_edge.video.scope import Light, Scope, Surface

# Share of the still's shorter side that a view spans: below the least, an enlarged crop shows no texture any more.
_WIDEST, _LEAST = 0.7, 0.46
# The camera wanders by this share of a view about each stop.
_MARGIN = 0.05
_DARK = 24


@dataclass(frozen=True)
class Places:
    """Where on a still a view of `side` pixels shows the polyp, and where it shows none: middles (x, y) in pixels."""

    side: float
    polyp: tuple[float, float]
    free: tuple[float, float]


def find_places(image: Image, mask: Image) -> Places | None:
    """The widest square view that fits beside the polyp; None where the polyp leaves no room for one.

    image: (H, W, 3) uint8 RGB. mask: (H, W) uint8, 1 for polyp. The scope's black border is left out.
    """
    if not mask.any():
        return None
    top, bottom, left, right = _lit_box(image)
    inner = mask[top:bottom, left:right]
    short = min(inner.shape)
    sums = cv2.integral(inner)
    for share in np.arange(_WIDEST, _LEAST, -0.02):
        side = int(share * short)
        reach = int(side * (1 + 2 * _MARGIN))
        counts = sums[reach:, reach:] - sums[:-reach, reach:] - sums[reach:, :-reach] + sums[:-reach, :-reach]
        rows, columns = np.nonzero(counts == 0)
        if not rows.size:
            continue
        ys, xs = np.nonzero(inner)
        # A view that fills with the polyp's middle, kept inside of the still.
        x, y = (
            float(np.clip(values.mean(), side / 2, length - side / 2))
            for values, length in ((xs, inner.shape[1]), (ys, inner.shape[0]))
        )
        # The lightest of the free views: the others look into the dark of the lumen.
        grey = cv2.cvtColor(image[top:bottom, left:right], cv2.COLOR_RGB2GRAY)
        light = cv2.integral(grey)
        brightness = light[rows + reach, columns + reach] - light[rows, columns + reach]
        brightness = brightness - light[rows + reach, columns] + light[rows, columns]
        best = int(brightness.argmax())
        free = left + float(columns[best]) + reach / 2, top + float(rows[best]) + reach / 2
        return Places(float(side), (left + x, top + y), free)
    return None


class TexturedClip(DrawnClip):
    """A `Source` made of one still: from a free place to the polyp and back, or the other way round, in five seconds.

    image: (H, W, 3) uint8 RGB. mask: (H, W) uint8, 1 for polyp. The same seed and still give the same frames.
    Raises BadInput where `find_places` finds none.
    """

    def __init__(
        self,
        image: Image,
        mask: Image,
        *,
        seed: int,
        size: tuple[int, int] = (256, 256),
        fps: float = 30.0,
        frames: int = 150,
        live: bool = False,
    ) -> None:
        super().__init__(size=size, fps=fps, frames=frames, live=live)
        places = find_places(image, mask)
        if places is None:
            raise BadInput("a still without a polyp, or whose polyp leaves no part of it free: choose another one")
        rng = np.random.default_rng(seed)
        colour: Map = image.astype(np.float32) / np.float32(255)
        self._surface = Surface.of(colour, np.asarray(cv2.cvtColor(colour, cv2.COLOR_RGB2GRAY), np.float32), mask)
        self._camera = Camera(rng, _way(rng, places, min(size), frames / fps), view=size, tremor=0.015, bend=0.01)
        light = Light(swing=0.12, warmth=0.04, period_s=3.0, spots=float(rng.uniform(0.2, 0.9)))
        self._scope = Scope(rng, np.ones(size, bool), fps=fps, light=light, grain=float(rng.uniform(1.5, 4)))
        self._quality = int(rng.integers(45, 85))

    def picture_of(self, number: int) -> Image:
        image = self._scope.picture(self._surface, self._camera, number, at_s=number / self.fps)
        _, data = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, self._quality])
        return np.asarray(cv2.cvtColor(np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR)), cv2.COLOR_BGR2RGB), np.uint8)

    def mask_of(self, number: int) -> Image:
        return self._scope.mask(self._surface, self._camera, at_s=number / self.fps)

    def came_from(self, number: int) -> tuple[Map, Map] | None:
        return self._camera.came_from(number / self.fps, (number - 1) / self.fps) if self.follows(number) else None

    def follows(self, number: int) -> bool:
        return number > 0


def _lit_box(image: Image) -> tuple[int, int, int, int]:
    """Top, bottom, left and right of what the scope lights: rows and columns of which half is not black."""
    lit = image.max(axis=2) > _DARK
    rows, columns = np.flatnonzero(lit.mean(1) > 0.5), np.flatnonzero(lit.mean(0) > 0.5)
    if not rows.size or not columns.size:
        return 0, image.shape[0], 0, image.shape[1]
    return int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1


def _way(rng: np.random.Generator, places: Places, short: int, seconds: float) -> list[Stop]:
    zoom = places.side / short

    def at(share: float, place: tuple[float, float], spread: float) -> Stop:
        x, y = np.array(place) + rng.uniform(-spread, spread, 2) * places.side
        moment = (share + float(rng.uniform(-0.02, 0.02))) * seconds
        return Stop(moment, float(x), float(y), zoom * float(rng.uniform(0.9, 1.0)))

    near, far = (places.polyp, 0.1), (places.free, 0.02)
    visits = [far, far, near, near, near, far, far] if rng.random() < 0.7 else [near, near, far, far, near, near, near]
    return [at(i / 6, *visit) for i, visit in enumerate(visits)]
