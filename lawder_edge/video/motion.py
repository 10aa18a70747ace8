"""A camera that moves smoothly over a still scene, and exactly how its picture moves: for clips with known motion."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from lawder_edge.video.frames import Map

# Three turns bring the inverse of the bend below a hundredth of a pixel (its slope stays under 0.1).
_INVERSE_TURNS = 4


@dataclass(frozen=True)
class Stop:
    """Where the camera is at `at_s` seconds: the middle of its view (x, y) in scene pixels, and how many scene pixels
    one picture pixel spans.
    """

    at_s: float
    x: float
    y: float
    zoom: float


class Camera:
    """Goes from stop to stop, with the tremor of a hand, a slow roll and the bending of a wall that is never still.

    The same state of `rng` gives the same way. All is a function of time: pictures may be asked for in any order.
    """

    def __init__(
        self,
        rng: np.random.Generator,
        stops: Sequence[Stop],
        *,
        view: tuple[int, int],
        tremor: float = 0.02,
        roll_deg: float = 6.0,
        bend: float = 0.012,
    ) -> None:
        """view: (H, W) of the picture. tremor and bend: largest shift in short sides of the view. stops: by time."""
        self.view = view
        short = min(view)
        self._stops = tuple(stops)
        # Breath, heartbeat and hand: three sines a channel (x, y, log zoom, roll).
        periods_s = np.array([[4.2], [2.3], [1.1]]) * rng.uniform(0.8, 1.2, (3, 4))
        sizes = np.array([[1.0], [0.5], [0.2]]) * rng.uniform(0.6, 1.0, (3, 4))
        self._rates = 2 * np.pi / periods_s
        self._sizes = sizes * np.array([tremor * short, tremor * short, 0.03, np.radians(roll_deg)])
        self._phases = rng.uniform(0, 2 * np.pi, (3, 4))
        height, width = view
        coarse = rng.standard_normal((2, 2, 4, 5)).clip(-2, 2).astype(np.float32) * np.float32(bend * short / 2)
        # Two fields of shifts (x, y), each growing and shrinking in its own time.
        self._bends = [[cv2.resize(axis, (width, height), interpolation=cv2.INTER_CUBIC) for axis in b] for b in coarse]
        self._bend_rates = 2 * np.pi / rng.uniform(2.0, 5.0, 2)
        self._bend_phases = rng.uniform(0, 2 * np.pi, 2)
        y, x = np.mgrid[0:height, 0:width].astype(np.float32)
        self._x, self._y = x - (width - 1) / 2, y - (height - 1) / 2

    def pose(self, at_s: float) -> tuple[float, float, float, float]:
        """x and y of the view's middle in scene pixels, zoom, and roll in radians."""
        stops = self._stops
        after = next((i for i, s in enumerate(stops) if s.at_s > at_s), len(stops))
        a, b = stops[max(after - 1, 0)], stops[min(after, len(stops) - 1)]
        share = 0.0 if b.at_s <= a.at_s else min(max((at_s - a.at_s) / (b.at_s - a.at_s), 0.0), 1.0)
        share = share * share * (3 - 2 * share)
        dx, dy, dz, roll = (self._sizes * np.sin(self._rates * at_s + self._phases)).sum(0)
        zoom = float(a.zoom ** (1 - share) * b.zoom**share * np.exp(dz))
        x, y = a.x + (b.x - a.x) * share, a.y + (b.y - a.y) * share
        return x + zoom * float(dx), y + zoom * float(dy), zoom, float(roll)

    def look(self, at_s: float) -> tuple[Map, Map]:
        """Where in the scene each picture pixel looks: x and y, both (H, W) float32, in scene pixels."""
        x, y, zoom, roll = self.pose(at_s)
        cos, sin = np.float32(zoom * np.cos(roll)), np.float32(zoom * np.sin(roll))
        u, v = self._bent(at_s)
        return u * cos - v * sin + np.float32(x), u * sin + v * cos + np.float32(y)

    def step_px(self, at_s: float, before_s: float) -> tuple[float, float]:
        """How far the scene in the middle of the picture has moved since `before_s`: x and y in picture pixels."""
        x, y, zoom, roll = self.pose(at_s)
        was_x, was_y, _, _ = self.pose(before_s)
        dx, dy = (was_x - x) / zoom, (was_y - y) / zoom
        return dx * np.cos(roll) + dy * np.sin(roll), dy * np.cos(roll) - dx * np.sin(roll)

    def came_from(self, at_s: float, before_s: float) -> tuple[Map, Map]:
        """Where in the picture of `before_s` stood what each pixel shows at `at_s`.

        Returns: x and y, both (H, W) float32, in pixels, which may lie outside the picture: a map for cv2.remap.
        """
        scene_x, scene_y = self.look(at_s)
        x, y, zoom, roll = self.pose(before_s)
        cos, sin = np.float32(np.cos(roll) / zoom), np.float32(np.sin(roll) / zoom)
        dx, dy = scene_x - np.float32(x), scene_y - np.float32(y)
        # Pictures are bent after they are turned: undo the turn, then find what bends to it.
        u, v = dx * cos + dy * sin, dy * cos - dx * sin
        height, width = self.view
        middle_x, middle_y = np.float32((width - 1) / 2), np.float32((height - 1) / 2)
        shift_x, shift_y = self._bend(before_s)
        from_x, from_y = u, v
        for _ in range(_INVERSE_TURNS):
            at = from_x + middle_x, from_y + middle_y
            from_x = u - cv2.remap(shift_x, *at, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
            from_y = v - cv2.remap(shift_y, *at, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        return np.asarray(from_x + middle_x), np.asarray(from_y + middle_y)

    def _bent(self, at_s: float) -> tuple[Map, Map]:
        shift_x, shift_y = self._bend(at_s)
        return self._x + shift_x, self._y + shift_y

    def _bend(self, at_s: float) -> tuple[Map, Map]:
        first, second = np.sin(self._bend_rates * at_s + self._bend_phases).astype(np.float32)
        (ax, ay), (bx, by) = self._bends
        return ax * first + bx * second, ay * first + by * second
