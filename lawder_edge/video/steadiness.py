"""Masks that do not flicker: what earlier frames said is carried along with the picture and weighed in.

The probability of a frame is mixed with that of the frames before it, moved as the picture moved; where the picture
cannot be followed, the new frame counts alone. The mask is cut with hysteresis along the same motion, and small or
brief regions are withheld. Each of these can be turned off. An alarm is confirmed apart from that, by whole frames.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from lawder_edge.errors import BadInput
from lawder_edge.video.cuts import Glance, glance, is_cut
from lawder_edge.video.flow import Follower, Motion
from lawder_edge.video.frames import Frame, Image, Map

Flags: TypeAlias = NDArray[np.bool_]
Samples = TypeVar("Samples", Map, Image)

# Networks here see 256 px: a finer grid than that knows nothing more, and costs time.
_GRID_PX = 256
# Frames further apart than this have nothing to say to each other.
_LONGEST_GAP_MS = 500.0


@dataclass(frozen=True)
class SteadyConfig:
    """What is done to steady masks. 0 turns a step off. The defaults are from benchmarks/steadiness.py on validation.

    smooth_ms: time constant of the probability's mixing, in ms. hysteresis: how far below the threshold a pixel of the
    mask must fall to leave it; it enters at it. least_area: smallest region shown, as a share of the picture.
    least_ms: how long a region must have been found before it is shown, in ms. confirm_frames: how many frames in a row
    must show a region before an alarm is given. follow: whether earlier frames are moved as the picture moved;
    otherwise they are used where it stood still. cuts: whether cuts are looked for beside those that the source told.
    """

    smooth_ms: float = 120.0
    hysteresis: float = 0.1
    least_area: float = 0.002
    least_ms: float = 0.0
    confirm_frames: int = 3
    follow: bool = True
    cuts: bool = True

    def __post_init__(self) -> None:
        values = self.smooth_ms, self.hysteresis, self.least_area, self.least_ms
        # Not by a smallest value: what is not a number is smaller than nothing.
        if not all(v >= 0 for v in values) or self.confirm_frames < 1:
            raise BadInput(
                f"steadiness: smooth-ms {values[0]}, hysteresis {values[1]}, least-area {values[2]}, least-ms "
                f"{values[3]}, confirm-frames {self.confirm_frames}; wanted 0 or more of each, and a frame or more"
            )


OFF = SteadyConfig(smooth_ms=0, hysteresis=0, least_area=0, least_ms=0)
"""Each frame by itself; alarms are confirmed still."""


def steady_config(
    *,
    on: bool = True,
    smooth_ms: float | None = None,
    hysteresis: float | None = None,
    least_area: float | None = None,
    least_ms: float | None = None,
    confirm_frames: int | None = None,
) -> SteadyConfig:
    """The defaults, or with `on` false none of the steps, but for what is given. Raises BadInput as `SteadyConfig`."""
    default = SteadyConfig() if on else OFF
    return SteadyConfig(
        smooth_ms=default.smooth_ms if smooth_ms is None else smooth_ms,
        hysteresis=default.hysteresis if hysteresis is None else hysteresis,
        least_area=default.least_area if least_area is None else least_area,
        least_ms=default.least_ms if least_ms is None else least_ms,
        confirm_frames=default.confirm_frames if confirm_frames is None else confirm_frames,
    )


@dataclass(frozen=True)
class _Past:
    """What is remembered of the frame before, on the grid. known_ms: how long the region at each pixel was found, None
    where that is not asked for.
    """

    captured_s: float
    glance: Glance
    grey: Image
    probability: Map
    mask: Map
    known_ms: Map | None


class Steady:
    """A `Steadier`. threshold: asked for at every frame, since a person may move it."""

    def __init__(self, threshold: Callable[[], float], config: SteadyConfig = SteadyConfig()) -> None:
        self._threshold, self._config = threshold, config
        self._confirm = Confirmation(config.confirm_frames)
        self._past: _Past | None = None
        self._follower: Follower | None = None

    def step(self, frame: Frame, probability: Map) -> tuple[Map, Image, bool]:
        """As `Steadier.step`. Frames are looked at in the order of their capture."""
        config, threshold = self._config, self._threshold()
        if not (config.smooth_ms or config.hysteresis or config.least_area or config.least_ms):
            if frame.cut:
                self.reset()
            alone = (probability >= np.float32(threshold)).astype(np.uint8)
            return probability, alone, self._confirm.step(bool(alone.any()))

        size = (probability.shape[0], probability.shape[1])
        grid = _grid(size)
        small = _resized(frame.image, grid)
        grey, seen = np.asarray(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY), np.uint8), glance(small)
        past = self._kept(frame, seen, grid)
        now = _resized(probability, grid)
        gap_ms = (frame.captured_s - past.captured_s) * 1000 if past else 0.0
        motion = self._motion(past.grey, grey) if past else None

        if past and motion and config.smooth_ms:
            fresh = 1 - np.exp(-gap_ms / config.smooth_ms)
            weight = 1 - np.float32(1 - fresh) * motion.trust
            before = motion.carry(past.probability)
            # Rounding may lead a hair's breadth out of the range.
            now = np.clip(before + weight * (now - before), 0, 1)
        mask = _cut(now, threshold, config.hysteresis, before=motion.carry(past.mask) if past and motion else None)
        known_ms: Map | None = None
        if config.least_ms:
            known_ms = np.zeros(grid, np.float32)
            if past and motion and past.known_ms is not None:
                known_ms = motion.carry(past.known_ms)
        mask, known_ms = _regions(mask, known_ms, gap_ms, least_area=config.least_area)
        shown = mask if known_ms is None else mask & (known_ms >= config.least_ms)
        self._past = _Past(frame.captured_s, seen, grey, now, mask.astype(np.float32), known_ms)
        full = _resized((shown * 255).astype(np.uint8), size) >= 128
        return _resized(now, size), full.astype(np.uint8), self._confirm.step(bool(full.any()))

    def miss(self) -> None:
        """A frame has no mask: an alarm needs confirming again."""
        self._confirm = Confirmation(self._config.confirm_frames)

    def reset(self) -> None:
        """Forget earlier frames: the next one counts alone, and an alarm needs confirming again."""
        self._past = None
        self.miss()

    def _kept(self, frame: Frame, seen: Glance, grid: tuple[int, int]) -> _Past | None:
        """What may be used of the frame before; nothing after a gap; forgotten at a cut and at another size."""
        past = self._past
        if past is None:
            if frame.cut:
                self.reset()
            return None
        gap_ms = (frame.captured_s - past.captured_s) * 1000
        jumped = frame.cut or gap_ms < 0 or past.grey.shape != grid
        if jumped or (self._config.cuts and is_cut(past.glance, seen)):
            self.reset()
            return None
        # Where frames are rare, those in a row are still in a row.
        return past if gap_ms <= _LONGEST_GAP_MS else None

    def _motion(self, before: Image, now: Image) -> Motion:
        if self._follower is None or self._follower.size != now.shape:
            self._follower = Follower((now.shape[0], now.shape[1]))
        return self._follower.motion(before, now) if self._config.follow else self._follower.stillness(before, now)


class Confirmation:
    """An alarm after `frames` frames in a row that show a region; it falls with the first that shows none."""

    def __init__(self, frames: int) -> None:
        self._wanted, self._seen = frames, 0

    def step(self, found: bool) -> bool:
        self._seen = self._seen + 1 if found else 0
        return self._seen >= self._wanted


def _cut(probability: Map, threshold: float, hysteresis: float, *, before: Map | None) -> Flags:
    """Pixels at the threshold; where there was a frame before, those inside stay a little longer. To let those outside
    enter a little later as well costs Dice: what was smoothed has lost its peaks. before: (H, W) float32, 1 inside.
    """
    if before is None:
        return np.asarray(probability >= np.float32(threshold))
    bar = np.float32(threshold) - np.float32(hysteresis) * before
    return np.asarray(probability >= np.maximum(bar, np.float32(0.01)))


def _regions(mask: Flags, before_ms: Map | None, gap_ms: float, *, least_area: float) -> tuple[Flags, Map | None]:
    """The regions that are large enough, and for how long each was found: since any of its pixels was.

    before_ms: (H, W) float32, the same of the frame before, carried along; None where it is not asked for. least_area:
    share of the picture.
    """
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    kept = np.zeros_like(mask)
    known_ms = None if before_ms is None else np.zeros_like(before_ms)
    for label in range(1, count):
        left, top, width, height, pixels = stats[label]
        if pixels < least_area * mask.size:
            continue
        box = np.s_[top : top + height, left : left + width]
        region = labels[box] == label
        kept[box] |= region
        if before_ms is not None and known_ms is not None:
            known_ms[box][region] = float(before_ms[box][region].max()) + gap_ms
    return kept, known_ms


def _grid(size: tuple[int, int]) -> tuple[int, int]:
    scale = min(1.0, _GRID_PX / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _resized(values: Samples, size: tuple[int, int]) -> Samples:
    """values: (H, W) or (H, W, 3), of one type, in and out."""
    if values.shape == size:
        return values
    shrinks = size[0] < values.shape[0]
    rule = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(values, size[::-1], interpolation=rule), values.dtype)
