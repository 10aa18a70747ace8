"""The bundled clip: a procedural endoscopy with exact masks and exact motion, from a seed and without a patient's data.

A scope moves over phantom walls (`data/phantom.py`): it wanders, turns to a polyp, leaves it, touches the wall and
comes free at another place. Every frame carries its number as a strip of black and white blocks, so that what is shown
can be told from what was captured. No accuracy measured on it says anything about patients.
"""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from lawder_edge.data.phantom import make_scene, scope_view
from lawder_edge.errors import BadInput
from lawder_edge.video.drawn import DrawnClip
from lawder_edge.video.frames import Image, Map
from lawder_edge.video.motion import Camera, Stop
from lawder_edge.video.scope import Light, Scope, Surface

SEGMENT_S = 6.0
# At either end of a segment the lens touches the wall.
_HAZE_S = 0.4
_SCENES = 5
# Scenes 1 and 4 of the five show no polyp, so 40 % of the time.
_EMPTY = (1, 4)
# How far a scene reaches beyond one view: height and width.
_REACH = (1.3, 2.2)
# A scene of a view this high takes a quarter of a second; larger views are enlarged from it.
_SCENE_VIEW_PX = 288
# Share of a view that a polyp takes, drawn log-uniformly.
_AREA_RANGE = (0.025, 0.14)

_SYNC = (1, 0, 1, 1)
_NUMBER_BITS, _CHECK_BITS = 20, 4
_CELLS = len(_SYNC) + _NUMBER_BITS + _CHECK_BITS
MIN_SIDES_PX = (96, 128)


@dataclass(frozen=True)
class _Segment:
    camera: Camera
    surface: Surface
    begins_s: float


class ProceduralClip(DrawnClip):
    """A `Source` of frames drawn here. The same seed, size and fps give the same frames, in any order.

    Raises BadInput for a size below 96 x 128 px, or fps or frames below 1.
    """

    def __init__(
        self,
        *,
        seed: int = 0,
        size: tuple[int, int] = (360, 480),
        fps: float = 30.0,
        frames: int | None = None,
        live: bool = False,
    ) -> None:
        (height, width), (least_high, least_wide) = size, MIN_SIDES_PX
        if height < least_high or width < least_wide:
            raise BadInput(f"a clip of {height} x {width} px was asked for; wanted {least_high} x {least_wide} or more")
        super().__init__(size=size, fps=fps, frames=frames, live=live)
        self._seed = seed
        optic = np.random.default_rng([seed, 0])
        light = Light(spots=float(optic.uniform(0.4, 1)))
        self._scope = Scope(optic, scope_view(optic, size), fps=self.fps, light=light)
        # Later scenes are drawn while the first is shown.
        self._pool = ThreadPoolExecutor(1)
        self._scenes: list[Future[Surface]] = [self._pool.submit(self._make_scene, i) for i in range(_SCENES)]
        self._segment = lru_cache(maxsize=2)(self._make_segment)

    def close(self) -> None:
        super().close()
        self._pool.shutdown(wait=False)

    def picture_of(self, number: int) -> Image:
        segment, within_s = self._at(number)
        # The clip itself begins with a clear picture.
        since_s = within_s if segment.begins_s else SEGMENT_S
        haze = max(0.0, 1 - min(since_s, SEGMENT_S - within_s) / _HAZE_S)
        image = self._scope.picture(segment.surface, segment.camera, number, at_s=within_s, haze=haze)
        _draw_code(image, number)
        return image

    def mask_of(self, number: int) -> Image:
        segment, within_s = self._at(number)
        mask = self._scope.mask(segment.surface, segment.camera, at_s=within_s)
        top, left, side = _code_place(self.size)
        mask[top : top + side, left:] = 0
        return mask

    def came_from(self, number: int) -> tuple[Map, Map] | None:
        if not self.follows(number):
            return None
        segment, within_s = self._at(number)
        return segment.camera.came_from(within_s, within_s - 1 / self.fps)

    def follows(self, number: int) -> bool:
        return number > 0 and self._segment_number(number) == self._segment_number(number - 1)

    def _segment_number(self, number: int) -> int:
        # The half keeps a frame at the very end on one side, whatever the division rounds to.
        return int((number + 0.5) / self.fps // SEGMENT_S)

    def _at(self, number: int) -> tuple[_Segment, float]:
        segment = self._segment(self._segment_number(number))
        return segment, number / self.fps - segment.begins_s

    def _make_segment(self, index: int) -> _Segment:
        surface = self._scenes[index % _SCENES].result()
        rng = np.random.default_rng([self._seed, 1, index])
        stops = _way(rng, surface.mask, view=self.size)
        return _Segment(Camera(rng, stops, view=self.size), surface, index * SEGMENT_S)

    def _make_scene(self, index: int) -> Surface:
        height, width = self.size
        scale = min(1.0, _SCENE_VIEW_PX / min(height, width))
        size = round(height * scale * _REACH[0]), round(width * scale * _REACH[1])
        rng = np.random.default_rng([self._seed, 2, index])
        # The polyp lies in the left part, so that the right one is free of it; half of the scenes are mirrored.
        within = np.zeros(size, bool)
        within[round(0.3 * size[0]) : round(0.7 * size[0]), round(0.17 * size[1]) : round(0.27 * size[1])] = True
        low, high = np.log(_AREA_RANGE)
        area = float(np.exp(rng.uniform(low, high))) / (_REACH[0] * _REACH[1])
        mirrored = bool(rng.random() < 0.5)
        scene = make_scene(rng, size=size, area=None if index in _EMPTY else area, within=within)
        shown = np.clip(scene.colour, 0, None) ** np.float32(1 / 1.12)
        surface = Surface.of(shown, scene.gleam, scene.mask)
        if not mirrored:
            return surface
        return Surface(np.ascontiguousarray(surface.layers[:, ::-1]), np.ascontiguousarray(surface.mask[:, ::-1]))


def _way(rng: np.random.Generator, mask: Image, *, view: tuple[int, int]) -> list[Stop]:
    """Stops of one segment: at the free side, at the polyp from the second to the fifth second, at the free side."""
    height, width = mask.shape
    zoom = height / (_REACH[0] * view[0])
    columns = np.flatnonzero(mask.any(0))
    polyp_x = float(columns.mean()) if columns.size else width * float(rng.choice([0.25, 0.75]))
    rows = np.flatnonzero(mask.any(1))
    polyp_y = float(rows.mean()) if rows.size else height / 2
    free_x = 0.76 * width if polyp_x < width / 2 else 0.24 * width

    def at(seconds: float, x: float, y: float, spread: float) -> Stop:
        jitter_x, jitter_y = rng.uniform(-spread, spread, 2) * np.array([view[1], view[0]]) * zoom
        closeness = rng.uniform(0.8, 1.0)
        return Stop(seconds + float(rng.uniform(-0.2, 0.2)), x + float(jitter_x), y + float(jitter_y), zoom * closeness)

    return [
        at(0.0, free_x, height / 2, 0.03),
        at(1.1, free_x, height / 2, 0.03),
        at(2.2, polyp_x, polyp_y, 0.15),
        at(3.3, polyp_x, polyp_y, 0.2),
        at(4.4, polyp_x, polyp_y, 0.15),
        at(5.4, free_x, height / 2, 0.03),
        at(6.0, free_x, height / 2, 0.03),
    ]


def read_code(picture: Image) -> int | None:
    """The number in the strip of a frame of a procedural clip, modulo 2^20; None where there is none to be read.

    picture: (H, W, 3) uint8 at the size that the clip was made in. Blocks outlive compression and colour.
    """
    if picture.ndim != 3 or picture.shape[0] < MIN_SIDES_PX[0] or picture.shape[1] < MIN_SIDES_PX[1]:
        return None
    top, left, side = _code_place((picture.shape[0], picture.shape[1]))
    strip = picture[top : top + side, left:].mean(axis=2)
    # A block's rim blurs into its neighbour.
    inner = strip[1:-1].reshape(side - 2, _CELLS, side)[:, :, 1:-1]
    bits = [int(level > 127) for level in inner.mean(axis=(0, 2))]
    if tuple(bits[: len(_SYNC)]) != _SYNC:
        return None
    number = _value(bits[len(_SYNC) : -_CHECK_BITS])
    return number if _value(bits[-_CHECK_BITS:]) == _check(number) else None


def _draw_code(image: Image, number: int) -> None:
    """Into the lower right corner of (H, W, 3) uint8, in place."""
    top, left, side = _code_place((image.shape[0], image.shape[1]))
    number %= 1 << _NUMBER_BITS
    bits = [*_SYNC, *_bits(number, _NUMBER_BITS), *_bits(_check(number), _CHECK_BITS)]
    image[top : top + side, left:] = np.repeat(np.array(bits, np.uint8) * 255, side)[None, :, None]


def _code_place(size: tuple[int, int]) -> tuple[int, int, int]:
    """Top, left and side of a block, in pixels."""
    side = max(4, min(size) // 60)
    return size[0] - side, size[1] - side * _CELLS, side


def _bits(value: int, count: int) -> list[int]:
    return [value >> i & 1 for i in reversed(range(count))]


def _value(bits: list[int]) -> int:
    return sum(bit << i for i, bit in enumerate(reversed(bits)))


def _check(number: int) -> int:
    """Four bits that change with any one bit of the number: multiples of 11 modulo 16 of its nibbles, summed."""
    return sum((number >> 4 * i & 15) * (2 * i + 1) for i in range(_NUMBER_BITS // 4)) * 11 % 16
