"""What clips that are drawn here have in common: frames in any order, with their exact masks and motion."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod

from lawder_edge.errors import BadInput
from lawder_edge.video.frames import Frame, Image, Map


class DrawnClip(ABC):
    """A `Source` that draws its frames.

    size: (H, W) in pixels. frames: None for a clip without an end. live: as a camera, which gives frames at their time;
    otherwise `read` returns at once. Raises BadInput for fps or frames below 1.
    """

    def __init__(self, *, size: tuple[int, int], fps: float, frames: int | None, live: bool) -> None:
        if not fps >= 1 or (frames is not None and frames < 1):
            raise BadInput(f"a clip of {frames} frames at {fps} fps was asked for; wanted 1 or more of both")
        self.size, self.fps, self.frames, self.live = size, float(fps), frames, live
        self._next = 0
        self._started_s: float | None = None
        self._closed = False

    def read(self) -> Frame | None:
        """The next frame; None at the end or once closed."""
        number = self._next
        if self._closed or (self.frames is not None and number >= self.frames):
            return None
        image = self.picture_of(number)
        if self.live:
            self._started_s = self._started_s or time.monotonic()
            time.sleep(max(0.0, self._started_s + number / self.fps - time.monotonic()))
        self._next = number + 1
        return Frame(number, time.monotonic(), image, cut=not self.follows(number))

    def said(self) -> str:
        return ""

    def close(self) -> None:
        self._closed = True

    @abstractmethod
    def picture_of(self, number: int) -> Image:
        """The picture of a frame: (H, W, 3) uint8 RGB."""

    @abstractmethod
    def mask_of(self, number: int) -> Image:
        """The exact mask of a frame: (H, W) uint8, 1 where the polyp is seen."""

    @abstractmethod
    def came_from(self, number: int) -> tuple[Map, Map] | None:
        """Where in the frame before stood what each pixel of this one shows: a map (x, y) for cv2.remap, (H, W) float32
        each; None where the frame does not follow on another.
        """

    @abstractmethod
    def follows(self, number: int) -> bool:
        """Whether a frame is of the same place as the one before it."""
