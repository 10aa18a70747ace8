"""Cameras and streams: frames that come when they come, and a connection that is made again when it is lost."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, Protocol

import cv2

from lawder_edge.errors import BadInput, Unavailable
from lawder_edge.video.frames import Frame, Source
from lawder_edge.video.sources import plausible_fps, quiet_ffmpeg, to_rgb

# Tries to connect again: the first wait, doubled each time up to the longest.
_FIRST_WAIT_S = 0.5
_LONGEST_WAIT_S = 8.0
# One frame that cannot be decoded is a glitch; so many in a row are a lost connection.
_GLITCHES = 3
_NETWORK_TIMEOUT_MS = 5000


class Device(Protocol):
    """What is used of cv2.VideoCapture."""

    def isOpened(self) -> bool: ...  # noqa: N802
    def grab(self) -> bool: ...
    def retrieve(self) -> tuple[bool, Any]: ...
    def release(self) -> None: ...


class LiveSource:
    """Frames of a device; connects again, with growing waits, when it gives none. Ends only when it is closed, or where
    it has an end: then it is read like a file, and not `live`.

    skipped: frames that could not be decoded. reconnects: connections lost and made again.
    Raises BadInput where the first connection fails.
    """

    def __init__(
        self,
        name: str,
        connect: Callable[[], Device],
        *,
        fps: float,
        ends: bool = False,
        first_wait_s: float = _FIRST_WAIT_S,
    ) -> None:
        """connect: gives a device, opened or not. ends: whether it has an end, as a file on a web server has."""
        self.fps = fps
        self.live = not ends
        self.skipped = 0
        self.reconnects = 0
        self._name = name
        self._connect = connect
        self._first_wait_s = first_wait_s
        self._closing = threading.Event()
        self._lock = threading.Lock()
        self._number = 0
        self._cut = True
        self._size: tuple[int, ...] | None = None
        self._said = ""
        self._device: Device | None = connect()
        if not self._device.isOpened():
            raise BadInput(f"{name} cannot be opened. Is it plugged in, reachable, and not used by another program?")

    def read(self) -> Frame | None:
        glitches = 0
        while not self._closing.is_set():
            if self._device is None:
                self._reconnect()
                continue
            with self._lock:
                image, at_s = self._grab()
            if image is None:
                glitches += 1
                if glitches >= _GLITCHES:
                    if not self.live:
                        self.skipped -= _GLITCHES - 1
                        return None
                    self._lose()
                    glitches = 0
                else:
                    self.skipped += 1
                continue
            frame = Frame(self._number, at_s, to_rgb(image), cut=self._cut or image.shape != self._size)
            self._said = ""
            self._number += 1
            self._cut = False
            self._size = image.shape
            return frame
        return None

    def _grab(self) -> tuple[Any, float]:
        """A picture and when it was there: before it is decoded."""
        if self._device is None or self._closing.is_set():
            return None, 0.0
        try:
            if not self._device.grab():
                return None, 0.0
            at_s = time.monotonic()
            ok, image = self._device.retrieve()
        except cv2.error:
            return None, 0.0
        return (image if ok and image is not None and image.size else None), at_s

    def _lose(self) -> None:
        with self._lock:
            if self._device is not None:
                self._device.release()
            self._device = None
        self._cut = True
        self._said = f"{self._name} lost, reconnecting"

    def _reconnect(self) -> None:
        wait_s = self._first_wait_s
        attempt = 0
        while not self._closing.wait(wait_s):
            attempt += 1
            self._said = f"{self._name} lost, reconnecting (try {attempt})"
            device = self._connect()
            if device.isOpened():
                self._device = device
                self.reconnects += 1
                return
            device.release()
            wait_s = min(2 * wait_s, _LONGEST_WAIT_S)

    def said(self) -> str:
        return self._said

    def close(self) -> None:
        self._closing.set()
        # A device that hangs in a read keeps the lock; it is then left to the end of the process.
        if self._lock.acquire(timeout=1.0):
            if self._device is not None:
                self._device.release()
            self._device = None
            self._lock.release()


def open_camera(text: str) -> Source:
    """text: its number, or its device such as /dev/video0. Raises BadInput."""
    quiet_ffmpeg()
    place: int | str = int(text) if text.isdigit() else text

    def connect() -> cv2.VideoCapture:
        capture = cv2.VideoCapture(place)
        # The driver's queue would add its length to the latency.
        capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
        return capture

    return _live(f"camera {text}", connect)


def open_stream(text: str) -> Source:
    """text: an address. What has an end, as a file on a web server has, is read like a file; a connection that breaks
    is its end. Raises BadInput.
    """
    quiet_ffmpeg()
    timeouts = [
        cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, _NETWORK_TIMEOUT_MS, cv2.CAP_PROP_READ_TIMEOUT_MSEC, _NETWORK_TIMEOUT_MS,
    ]  # fmt: skip
    return _live(without_password(text), lambda: cv2.VideoCapture(text, cv2.CAP_FFMPEG, timeouts))


def open_pipeline(text: str) -> Source:
    """text: a GStreamer pipeline that ends in appsink. Raises Unavailable where OpenCV was built without GStreamer."""
    if not cv2.videoio_registry.hasBackend(cv2.CAP_GSTREAMER):
        raise Unavailable(
            "a GStreamer pipeline was named, but this OpenCV was built without GStreamer, as those from pip are. Use "
            "the device (--source /dev/video0) or the address (rtsp://...), or the OpenCV of the system."
        )
    return _live("pipeline", lambda: cv2.VideoCapture(text, cv2.CAP_GSTREAMER))


def without_password(address: str) -> str:
    """An address as it may be shown and written down: `rtsp://user:secret@host/x` -> `rtsp://host/x`."""
    scheme, _, rest = address.partition("://")
    place, slash, path = rest.partition("/")
    return f"{scheme}://{place.rpartition('@')[2]}{slash}{path}"


def _live(name: str, connect: Callable[[], cv2.VideoCapture]) -> Source:
    first = connect()
    fps = plausible_fps(first.get(cv2.CAP_PROP_FPS)) if first.isOpened() else 0.0
    ends = first.isOpened() and first.get(cv2.CAP_PROP_FRAME_COUNT) > 0
    made = [first]
    return LiveSource(name, lambda: made.pop() if made else connect(), fps=fps, ends=ends)
