"""Text burnt into a picture, such as a patient's name: found by the shape of its letters, and made unreadable."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from lawder_edge.video.border import View, whole
from lawder_edge.video.frames import Image

# Letters are looked for at a height of about so many pixels of the whole frame.
_LOOK_PX = 480
# What a letter is at that size: a bright stroke, narrower than the top-hat's window.
_STROKE_PX, _CONTRAST = 9, 60
_HEIGHTS, _WIDEST = (5, 30), 30
# Letters of one line stand closer than this, and so many make a line.
_GAP_PX, _LEAST_LETTERS = 14, 4
# Standard deviation of their heights over the mean: capitals and small letters differ, spots of light more.
_LARGEST_SPREAD = 0.35
_LOOK_EVERY = 5


def find_text(image: Image) -> list[View]:
    """Boxes around lines of bright text in (H, W, 3) uint8 RGB. Finds too much rather than too little."""
    height, width = image.shape[:2]
    scale = min(1.0, _LOOK_PX / min(height, width))
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    if scale < 1:
        grey = cv2.resize(grey, (round(width * scale), round(height * scale)), interpolation=cv2.INTER_AREA)
    window = np.ones((_STROKE_PX, _STROKE_PX), np.uint8)
    strokes = (cv2.morphologyEx(grey, cv2.MORPH_TOPHAT, window) > _CONTRAST).astype(np.uint8)
    _, labels, stats, _ = cv2.connectedComponentsWithStats(strokes, connectivity=8)
    wide, tall, area = (stats[:, i] for i in (cv2.CC_STAT_WIDTH, cv2.CC_STAT_HEIGHT, cv2.CC_STAT_AREA))
    letter = (tall >= _HEIGHTS[0]) & (tall <= _HEIGHTS[1]) & (wide <= _WIDEST) & (area >= 6)
    letter[0] = False
    joined = cv2.morphologyEx(
        letter[labels].astype(np.uint8), cv2.MORPH_CLOSE, np.ones((3, _GAP_PX), np.uint8), borderValue=0
    )
    _, lines, boxes, _ = cv2.connectedComponentsWithStats(joined, connectivity=8)
    found = []
    for number in range(1, len(boxes)):
        left, top, across, down, _ = (int(v) for v in boxes[number])
        members = np.unique(
            labels[top : top + down, left : left + across][lines[top : top + down, left : left + across] == number]
        )
        heights = tall[members[letter[members]]]
        if len(heights) >= _LEAST_LETTERS and heights.std() <= _LARGEST_SPREAD * heights.mean() and across >= 2 * down:
            pad = max(3, down // 3)
            found.append(
                View(
                    max(0, int((top - pad) / scale)), min(height, int(np.ceil((top + down + pad) / scale))),
                    max(0, int((left - pad) / scale)), min(width, int(np.ceil((left + across + pad) / scale))),
                )
            )  # fmt: skip
    return found


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
