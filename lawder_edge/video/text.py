"""Text burnt into a picture, such as a patient's name: found by the shape of its letters, and made unreadable."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from lawder_edge.video.border import View, whole
from lawder_edge.video.frames import Image

# The frame is looked at with its shorter side at these, for letters of all sizes; it is never enlarged.
_LOOKS_PX = (270, 480, 900)
# What a letter is at one of them: a bright or colourless stroke narrower than the top-hat's window.
_STROKE_PX, _CONTRAST = 7, 36
_HEIGHTS, _WIDEST = (6, 22), 30
# Letters of one line stand closer than this, and so many make a line.
_GAP_PX, _LEAST_LETTERS = 21, 4
# Standard deviation of their heights over the mean: capitals and small letters differ, spots of light more.
_LARGEST_SPREAD = 0.3
_LOOK_EVERY = 3

Strokes: TypeAlias = tuple[Image, ...]


def find_text(image: Image, before: Strokes | None = None) -> list[View]:
    """Boxes around lines of bright text in (H, W, 3) uint8 RGB. Finds too much rather than too little.

    before: `strokes_of` an earlier frame of the same size: only what stood still since then is looked at, as text does
    and spots of light do not.
    """
    return [box for now in _boxed(image, strokes_of(image), before) for box in now]


def strokes_of(image: Image) -> Strokes:
    """What stands out as letters do, at each of the sizes that are looked at: (h, w) uint8 each, 1 where it does."""
    height, width = image.shape[:2]
    found = []
    for scale in dict.fromkeys(min(1.0, look / min(height, width)) for look in _LOOKS_PX):
        small = image
        if scale < 1:
            size = round(width * scale), round(height * scale)
            small = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
        window = np.ones((_STROKE_PX, _STROKE_PX), np.uint8)
        # White letters stand out from a red wall by what it lacks, coloured ones by their brightness.
        least = cv2.min(cv2.min(small[..., 0], small[..., 1]), small[..., 2])
        grey = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)
        tops = [cv2.morphologyEx(np.asarray(v), cv2.MORPH_TOPHAT, window) for v in (least, grey)]
        found.append(np.asarray(cv2.max(tops[0], tops[1]) > _CONTRAST).astype(np.uint8))
    return tuple(found)


def _boxed(image: Image, now: Strokes, before: Strokes | None) -> Iterator[list[View]]:
    height, width = image.shape[:2]
    for i, strokes in enumerate(now):
        still = strokes
        if before is not None:
            # A stroke's rim trembles with the noise.
            still = strokes & np.asarray(cv2.dilate(before[i], np.ones((3, 3), np.uint8)), np.uint8)
        scale = strokes.shape[0] / height
        yield [_enlarged(box, scale, (height, width)) for box in _lines(still)]


def _enlarged(box: View, scale: float, size: tuple[int, int]) -> View:
    return View(
        max(0, int(box.top / scale)), min(size[0], int(np.ceil(box.bottom / scale))),
        max(0, int(box.left / scale)), min(size[1], int(np.ceil(box.right / scale))),
    )  # fmt: skip


def _lines(strokes: Image) -> list[View]:
    """Boxes around rows of strokes that are shaped like letters of one height; they may reach beyond the picture."""
    labels, stats, letter = _letters(strokes)
    joined = cv2.morphologyEx(letter[labels].astype(np.uint8), cv2.MORPH_CLOSE, np.ones((3, _GAP_PX), np.uint8))
    _, lines, boxes, _ = cv2.connectedComponentsWithStats(joined, connectivity=8)
    found = []
    for number in range(1, len(boxes)):
        left, top, across, down, _ = (int(v) for v in boxes[number])
        here = slice(top, top + down), slice(left, left + across)
        members = np.unique(labels[here][lines[here] == number])
        heights = stats[members[letter[members]], cv2.CC_STAT_HEIGHT]
        alike = len(heights) >= _LEAST_LETTERS and heights.std() <= _LARGEST_SPREAD * heights.mean()
        if not alike or across < 2 * down or down > 2 * heights.max():
            continue
        # A letter that touches a spot of light is none by its shape: its neighbours hide it.
        aside, pad = round(1.5 * down), max(3, down // 3)
        found.append(View(top - pad, top + down + pad, left - aside, left + across + aside))
    return found


def _letters(strokes: Image) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.bool_]]:
    """Strokes by number (h, w), their boxes as OpenCV gives them, and which of them are shaped like letters."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(strokes, connectivity=8)
    tall, wide, area = (stats[:, i] for i in (cv2.CC_STAT_HEIGHT, cv2.CC_STAT_WIDTH, cv2.CC_STAT_AREA))
    letter = (tall >= _HEIGHTS[0]) & (tall <= _HEIGHTS[1]) & (wide <= _WIDEST) & (area >= _HEIGHTS[0])
    letter[0] = False
    return np.asarray(labels, np.int32), np.asarray(stats, np.int32), letter


class TextBlur:
    """Makes text unreadable in one frame after another.

    Everything beside the picture is blurred, since that is where scopes write. In the picture: in the first frame after
    a cut all that looks like text; from then on lines that stood still since the look before, and those found so far,
    since letters over a bright wall are found in some frames and not in others. So text that appears later is readable
    until the second look at it, three frames at most.
    """

    def __init__(self) -> None:
        self._lines: list[View] = []
        self._before: Strokes | None = None
        self._size: tuple[int, int] = (0, 0)
        self._looks = 0

    def step(self, image: Image, view: View, *, cut: bool) -> Image:
        """image: (H, W, 3) uint8 RGB. view: where in it the picture is. Returns: a copy, or `image` if it has none."""
        size = image.shape[0], image.shape[1]
        if cut or size != self._size:
            self._lines, self._before, self._size, self._looks = [], None, size, 0
        if self._looks % _LOOK_EVERY == 0:
            self._look(image)
        self._looks += 1
        if view == whole(image) and not self._lines:
            return image
        out = np.array(image)
        side = max(15, min(size) // 12) | 1
        for part in (*_around(view, size), *self._lines):
            _blur(part.crop(out), side)
        return out

    def _look(self, image: Image) -> None:
        now = strokes_of(image)
        found = [box for boxes in _boxed(image, now, self._before) for box in boxes]
        if self._looks == _LOOK_EVERY:
            # What only the first look took for text has moved since.
            self._lines = []
        self._lines += [line for line in found if not any(_covers(old, line) for old in self._lines)]
        self._before = now


def _covers(old: View, new: View) -> bool:
    return old.joined(new) == old


def _around(view: View, size: tuple[int, int]) -> list[View]:
    """The up to four strips beside a view."""
    height, width = size
    strips = (
        View(0, view.top, 0, width), View(view.bottom, height, 0, width),
        View(view.top, view.bottom, 0, view.left), View(view.top, view.bottom, view.right, width),
    )  # fmt: skip
    return [s for s in strips if min(s.size) > 0]


def _blur(part: NDArray[np.uint8], side: int) -> None:
    """In place. Twice a box of three letters' height: no stroke is left."""
    if part.any():
        part[:] = cv2.blur(cv2.blur(part, (side, side)), (side, side))
