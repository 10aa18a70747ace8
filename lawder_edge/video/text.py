"""Text burnt into a picture, such as a patient's name: found by the shape of its letters, and made unreadable."""

from __future__ import annotations

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
_LOOK_EVERY = 5


def find_text(image: Image) -> list[View]:
    """Boxes around lines of bright text in (H, W, 3) uint8 RGB. Finds too much rather than too little."""
    shorter = min(image.shape[:2])
    scales = dict.fromkeys(min(1.0, look / shorter) for look in _LOOKS_PX)
    return [box for scale in scales for box in _lines(image, scale)]


def _lines(image: Image, scale: float) -> list[View]:
    height, width = image.shape[:2]
    small = image
    if scale < 1:
        size = round(width * scale), round(height * scale)
        small = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
    labels, stats, letter = _letters(small)
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
        found.append(
            View(
                max(0, int((top - pad) / scale)), min(height, int(np.ceil((top + down + pad) / scale))),
                max(0, int((left - aside) / scale)), min(width, int(np.ceil((left + across + aside) / scale))),
            )
        )  # fmt: skip
    return found


def _letters(image: Image) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.bool_]]:
    """Strokes by number (H, W), their boxes as OpenCV gives them, and which of them are shaped like letters."""
    window = np.ones((_STROKE_PX, _STROKE_PX), np.uint8)
    # White letters stand out from a red wall by what it lacks, coloured ones by their brightness.
    strokes = np.zeros(image.shape[:2], np.uint8)
    for values in (image.min(axis=2), cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)):
        strokes |= (cv2.morphologyEx(values, cv2.MORPH_TOPHAT, window) > _CONTRAST).astype(np.uint8)
    _, labels, stats, _ = cv2.connectedComponentsWithStats(strokes, connectivity=8)
    tall, wide, area = (stats[:, i] for i in (cv2.CC_STAT_HEIGHT, cv2.CC_STAT_WIDTH, cv2.CC_STAT_AREA))
    letter = (tall >= _HEIGHTS[0]) & (tall <= _HEIGHTS[1]) & (wide <= _WIDEST) & (area >= _HEIGHTS[0])
    letter[0] = False
    return np.asarray(labels, np.int32), np.asarray(stats, np.int32), letter


class TextBlur:
    """Makes text unreadable in one frame after another.

    Everything beside the picture is blurred, since that is where scopes write; and lines of text found in any frame
    since the last cut, since letters over a bright wall are found in some frames and not in others.
    """

    def __init__(self) -> None:
        self._lines: list[View] = []
        self._size: tuple[int, int] = (0, 0)
        self._looks = 0

    def step(self, image: Image, view: View, *, cut: bool) -> Image:
        """image: (H, W, 3) uint8 RGB. view: where in it the picture is. Returns: a copy, or `image` if it has none."""
        size = image.shape[0], image.shape[1]
        if cut or size != self._size:
            self._lines, self._size, self._looks = [], size, 0
        if self._looks % _LOOK_EVERY == 0:
            self._lines += [line for line in find_text(image) if not any(_covers(old, line) for old in self._lines)]
        self._looks += 1
        if view == whole(image) and not self._lines:
            return image
        out = np.array(image)
        side = max(15, min(size) // 12) | 1
        for part in (*_around(view, size), *self._lines):
            _blur(part.crop(out), side)
        return out


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
