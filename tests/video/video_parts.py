"""Sources, networks and viewers of which a test knows all."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from lawder_edge.bundle.runner import Runner
from lawder_edge.video.frames import Controls, Frame, Segmented, Status
from lawder_edge.video.segment import Segmenter

SIZE = (96, 128)


def wall(*, size: tuple[int, int] = SIZE, seed: int = 0) -> np.ndarray:
    """A textured red wall, (H, W, 3) uint8, that counts as usable."""
    noise = np.random.default_rng(seed).integers(0, 90, (*size, 1), dtype=np.uint8)
    return np.concatenate([noise + 120, noise + 30, noise + 20], axis=2).astype(np.uint8)


def spotted(number: int, *, size: tuple[int, int] = SIZE) -> np.ndarray:
    """A wall with a green square whose place tells the number, which `GreenRunner` finds."""
    image = wall(size=size)
    side = size[0] // 4
    left = (number * 8) % (size[1] - side)
    image[side : 2 * side, left : left + side] = (20, 220, 20)
    return image


def truth(image: np.ndarray) -> np.ndarray:
    """Where the square of `spotted` is: (H, W) bool."""
    return (image == (20, 220, 20)).all(axis=2)


class GreenRunner(Runner):
    """Finds what is greener than red. fails: how many calls from the `fail_after`th on raise."""

    def __init__(self, size: tuple[int, int] = SIZE, *, fail_after: int | None = None) -> None:
        super().__init__(size=size)
        self.calls = 0
        self.fail_after = fail_after
        self.hold: threading.Event | None = None

    def infer(self, tensor: np.ndarray) -> np.ndarray:
        self.calls += 1
        if self.fail_after is not None and self.calls > self.fail_after:
            raise RuntimeError("the engine is gone")
        if self.hold is not None:
            self.hold.wait(30)
        return ((tensor[:, 1:2] - tensor[:, 0:1]) * 20).astype(np.float32)


def segmenter(runner: Runner | None = None, *, name: str = "green") -> Segmenter:
    return Segmenter(name, runner or GreenRunner(), threshold=0.5)


class ListSource:
    """Gives these pictures. live: as a camera; it then waits for `gate` before the picture of that number."""

    fps = 25.0

    def __init__(self, images: Sequence[np.ndarray], *, live: bool = False, told: str = "") -> None:
        self.live = live
        self.told = told
        self.closed = False
        self.gates: dict[int, threading.Event] = {}
        self.error: Exception | None = None
        self._images = list(images)
        self._next = 0

    def read(self) -> Frame | None:
        if self._next in self.gates:
            self.gates[self._next].wait(30)
        if self._next == len(self._images):
            if self.error is not None:
                raise self.error
            return None
        number = self._next
        self._next += 1
        return Frame(number, time.monotonic(), self._images[number], cut=number == 0)

    def said(self) -> str:
        return self.told

    def close(self) -> None:
        self.closed = True


class Kept:
    """A viewer that keeps what it is shown. after: stops the video after so many pictures."""

    def __init__(self, controls: Controls | None = None, *, after: int = 0) -> None:
        self.pictures: list[np.ndarray] = []
        self.segmented: list[Segmented] = []
        self.status: list[Status] = []
        self.closed = False
        self._controls, self._after = controls, after

    def show(self, picture: np.ndarray, segmented: Segmented, status: Status) -> None:
        self.pictures.append(picture.copy())
        self.segmented.append(segmented)
        self.status.append(status)
        if self._controls is not None and self._after and len(self.pictures) >= self._after:
            self._controls.stop()

    def close(self) -> None:
        self.closed = True

    @property
    def reasons(self) -> list[str]:
        return [s.reason for s in self.segmented]


def found(image: np.ndarray, mask: np.ndarray | None = None, *, number: int = 0, **more: object) -> Segmented:
    """A segmented frame, made up."""
    mask = np.zeros(image.shape[:2], np.uint8) if mask is None else mask.astype(np.uint8)
    frame = Frame(number, time.monotonic(), image)
    options: dict[str, object] = {"alarm": bool(mask.any()), "reason": "", **more}
    return Segmented(frame, mask.astype(np.float32), mask, 5.0, 1.0, 1.0, **options)  # type: ignore[arg-type]


def write_video(path: Path, images: Sequence[np.ndarray], *, codec: str, fps: float = 25.0) -> Path:
    """With OpenCV's own writer. images: (H, W, 3) uint8 RGB."""
    size = images[0].shape[1], images[0].shape[0]
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*codec), fps, size)
    assert writer.isOpened()
    for image in images:
        writer.write(np.ascontiguousarray(image[..., ::-1]))
    writer.release()
    return path


def read_video(path: Path) -> list[np.ndarray]:
    """All frames that can be decoded, RGB."""
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    images = []
    while True:
        ok, image = capture.read()
        if not ok:
            return images
        images.append(np.ascontiguousarray(image[..., ::-1]))
