"""Sources that are files: images of a folder, and videos. Reads files; live ones are in `live`."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from lawder_edge.data.images import read_image
from lawder_edge.errors import BadImage, BadInput
from lawder_edge.video.frames import Frame, Image

# As OpenCV gives it: (H, W) or (H, W, 1, 3 or 4), uint8 or uint16, BGR.
Decoded: TypeAlias = NDArray[np.integer[Any]]

# Of folders, and of files that do not tell.
USUAL_FPS = 25.0
# That a person may ask for: times in a WebM clip are whole milliseconds.
_MOST_FPS = 1000.0
# Files and cameras tell nonsense now and then: 0, -1, or the 90000 of their clock.
_PLAUSIBLE_FPS = (1.0, 240.0)
# Frames further apart than both do not follow on each other: 500 ms, and of slow files this many of their intervals.
_LONGEST_GAP_MS = 500.0
_LONGEST_GAP_FRAMES = 1.5


def check_fps(fps: float | None) -> None:
    """Raises: BadInput for a rate, in frames a second, that nothing can be played at. None is the source's own."""
    if fps is not None and not 0 < fps <= _MOST_FPS:
        raise BadInput(
            f"--fps {fps}: wanted more than 0 frames a second, and {_MOST_FPS:.0f} at most. Leave it out for the usual."
        )


def to_rgb(image: Decoded) -> Image:
    """What OpenCV decoded as (H, W, 3) uint8 RGB: BGR turned, grey repeated, 16 bits cut to their high byte."""
    if image.dtype == np.uint16:
        image = (image >> 8).astype(np.uint8)
    if image.ndim == 2 or image.shape[2] == 1:
        return np.asarray(cv2.cvtColor(image, cv2.COLOR_GRAY2RGB), np.uint8)
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB if image.shape[2] == 3 else cv2.COLOR_BGRA2RGB), np.uint8)


def plausible_fps(told: float) -> float:
    """The rate that a file or a camera told, or the usual one where that cannot be."""
    return told if _PLAUSIBLE_FPS[0] <= told <= _PLAUSIBLE_FPS[1] else USUAL_FPS


def quiet_ffmpeg() -> None:
    """Keep FFmpeg's remarks on damaged streams off stderr; what is lost is counted and said here.

    Says something only before the first video is opened.
    """
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


class FolderSource:
    """Images by name, each a frame. What cannot be read is left out and counted. `skipped`: how many so far."""

    live = False

    def __init__(self, pictures: Sequence[Path], *, fps: float = USUAL_FPS) -> None:
        self.fps = fps
        self.skipped = 0
        self._pictures = tuple(pictures)
        self._next = 0
        self._read = 0
        self._size: tuple[int, ...] | None = None
        self._said = ""

    def read(self) -> Frame | None:
        while self._next < len(self._pictures):
            path = self._pictures[self._next]
            self._next += 1
            try:
                image = read_image(path)
            except BadImage as error:
                self.skipped += 1
                self._said = f"{self.skipped} images left out, the last: {error}"
                continue
            cut = self._read == 0 or image.shape != self._size
            self._size = image.shape
            self._read += 1
            return Frame(self._read - 1, time.monotonic(), image, cut=cut)
        if not self._read and self._pictures:
            raise BadInput(f"none of {len(self._pictures)} images could be read; {self._said}")
        return None

    def said(self) -> str:
        return self._said

    def close(self) -> None:
        self._next = len(self._pictures)


class FileSource:
    """A video file, frame by frame. `skipped`: by how many the frames that came fall short of its count, once it ended.

    A long time between two frames is a cut, and none is taken for missing: the rate may vary, as that of phones and
    screen recorders does. Where a container has no count (WebM, Matroska, MPEG-TS), OpenCV makes one of length and
    rate, so that frames fall short of it where the rate varies too: then both are said.

    Raises BadInput for a file that is missing, empty, or no video that can be opened.
    """

    live = False

    def __init__(self, path: Path, *, fps: float | None = None) -> None:
        quiet_ffmpeg()
        self._path = path
        if not path.is_file():
            raise BadInput(
                f"{path}: no such file or folder. Wanted a video, a folder of images, the number of a camera, or an "
                "address such as rtsp://HOST/STREAM."
            )
        if path.stat().st_size == 0:
            raise BadInput(f"{path}: the file is empty (0 bytes). Copy it again from its source.")
        self._capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
        if not self._capture.isOpened():
            raise BadInput(
                f"{path}: no video that can be opened. It may be truncated (an MP4 needs its end), or of a kind that "
                "FFmpeg does not know."
            )
        self.fps = fps or plausible_fps(self._capture.get(cv2.CAP_PROP_FPS))
        self.skipped = 0
        interval_ms = 1000 / plausible_fps(self._capture.get(cv2.CAP_PROP_FPS))
        self._longest_gap_ms = max(_LONGEST_GAP_MS, _LONGEST_GAP_FRAMES * interval_ms)
        self._announced = int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT))
        self._counted = _holds_count(path)
        self._lock = threading.Lock()
        self._closed = False
        self._read = 0
        self._last_ms = 0.0
        self._size: tuple[int, ...] | None = None
        self._said = ""

    def read(self) -> Frame | None:
        with self._lock:
            if self._closed:
                return None
            image = _decode(self._capture)
            at_ms = self._capture.get(cv2.CAP_PROP_POS_MSEC)
        if image is None:
            self._end()
            return None
        cut = self._read == 0 or at_ms - self._last_ms > self._longest_gap_ms or image.shape != self._size
        # Frames out of order are no gap, nor is what follows on them.
        self._last_ms = max(at_ms, self._last_ms)
        self._size = image.shape
        self._read += 1
        return Frame(self._read - 1, time.monotonic(), to_rgb(image), cut=cut)

    def _end(self) -> None:
        if not self._read:
            raise BadInput(f"{self._path}: opened, but no frame of it can be decoded. Copy it again from its source.")
        missing = self._announced - self._read
        # A count of length and rate is rounded: one more or less says nothing.
        if missing <= 1:
            return
        self.skipped = missing
        if self._counted:
            self._said = f"{missing} of {self._announced} frames of the file could not be decoded"
        else:
            self._said = (
                f"{self._read} frames came, {missing} fewer than the file's length and rate make: it is damaged, "
                "or its rate varies"
            )

    def said(self) -> str:
        return self._said

    def close(self) -> None:
        with self._lock:
            self._closed = True
            self._capture.release()


def _holds_count(path: Path) -> bool:
    """Whether the container tells how many frames it has: MP4 and MOV in their index, AVI in its header."""
    with path.open("rb") as file:
        head = file.read(8)
    return head[:4] == b"RIFF" or head[4:] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip")


def _decode(capture: cv2.VideoCapture) -> Decoded | None:
    """The next frame as OpenCV has it, None at the end or where it cannot be decoded."""
    try:
        ok, image = capture.read()
    except cv2.error:
        return None
    return np.asarray(image) if ok and image is not None and image.size else None
