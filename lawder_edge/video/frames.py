"""What goes from stage to stage of the video pipeline, and what the stages look like to each other."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

Image: TypeAlias = NDArray[np.uint8]
Map: TypeAlias = NDArray[np.float32]


@dataclass(frozen=True)
class Frame:
    """A frame as it was captured.

    number: captured frames from 0. captured_s: `time.monotonic()` when it was there, in seconds. image: (H, W, 3) uint8
    RGB. cut: whether it does not follow on the frame before it (a scene cut, a reconnect): what is remembered of
    earlier frames must be forgotten.
    """

    number: int
    captured_s: float
    image: Image
    cut: bool = False


@dataclass(frozen=True)
class Segmented:
    """A frame with what was found in it, both from the same instant.

    probability: (H, W) float32 in [0, 1], steadied where that is on; 0 where it is not near the threshold; of several
    classes the `lead` of the most probable over background. mask: (H, W) uint8, 1 where a polyp is. infer_ms, pre_ms,
    post_ms: spent in the network, before it and after it. alarm: whether a polyp was there for long enough to be told.
    reason: why the picture cannot be used, empty where it can be.
    """

    frame: Frame
    probability: Map
    mask: Image
    infer_ms: float
    pre_ms: float
    post_ms: float
    alarm: bool
    reason: str = ""


@dataclass(frozen=True)
class Status:
    """The figures that are shown beside a picture.

    fps: frames drawn a second, over the last seconds. latency_p50_ms, latency_p95_ms, latency_p99_ms: from capture to
    the picture being handed to its viewers. dropped: frames captured and never segmented. cpu_percent: of this process,
    100 for one core. memory_mb: resident. source: what the source said last, "" where it said nothing.
    """

    fps: float = 0.0
    latency_p50_ms: float = 0.0
    latency_p95_ms: float = 0.0
    latency_p99_ms: float = 0.0
    dropped: int = 0
    cpu_percent: float = 0.0
    memory_mb: float = 0.0
    source: str = ""


class Source(Protocol):
    """Frames from somewhere.

    fps: frames a second that it gives, or should be played at. live: whether frames come when they come, so that those
    nobody has time for are dropped; of a file every frame is read.
    """

    fps: float
    live: bool

    def read(self) -> Frame | None:
        """The next frame, waited for; None at the end. Raises BadInput for a source that cannot go on."""

    def said(self) -> str:
        """What a person should know now ("reconnecting, try 3"), or ""."""

    def close(self) -> None:
        """Give device and file back. May be called twice, and from another thread than `read`."""


class Steadier(Protocol):
    """Makes the masks of one frame after another steady."""

    def step(self, frame: Frame, probability: Map) -> tuple[Map, Image, bool]:
        """probability: (H, W) float32 in [0, 1] of that frame alone.

        Returns: steadied probability (H, W) float32, mask (H, W) uint8 0/1, and whether a polyp is confirmed.
        """

    def miss(self) -> None:
        """A frame has no mask: those before and after it are not in a row."""

    def reset(self) -> None:
        """Forget earlier frames."""


class Viewer(Protocol):
    """Where pictures go: a window, a file, a page."""

    def show(self, picture: Image, segmented: Segmented, status: Status) -> None:
        """picture: (H, W, 3) uint8 RGB, drawn; not to be kept without a copy."""

    def close(self) -> None:
        """No picture follows. Files are whole afterwards."""


class Controls:
    """What a person at the window or the page may change while the video runs. Safe from any thread.

    threshold: probability from which a pixel is polyp, None for the bundle's own. paused: whether the picture stands.
    stopped: whether all shall end. bundle: index of the shown bundle. recording: whether pictures are recorded.
    figures: whether the figures are drawn. help: whether the keys are drawn. screenshots: how many were asked for so
    far.
    """

    def __init__(self, *, threshold: float | None = None, bundles: tuple[str, ...] = ("model",)) -> None:
        self._lock = threading.Lock()
        self._threshold = threshold
        self._bundles = bundles
        self._bundle = 0
        self._paused = False
        self._stopped = False
        self._recording = False
        self._figures = False
        self._help = False
        self._screenshots = 0

    @property
    def bundles(self) -> tuple[str, ...]:
        """The names of what can be chosen between."""
        return self._bundles

    @property
    def threshold(self) -> float | None:
        with self._lock:
            return self._threshold

    @threshold.setter
    def threshold(self, value: float | None) -> None:
        """Kept between 0.01 and 0.99: 0 would mark everything, 1 nothing."""
        with self._lock:
            self._threshold = None if value is None else min(max(float(value), 0.01), 0.99)

    @property
    def bundle(self) -> int:
        with self._lock:
            return self._bundle

    @bundle.setter
    def bundle(self, index: int) -> None:
        """Raises IndexError for one that is not there."""
        if not 0 <= index < len(self._bundles):
            raise IndexError(f"bundle {index}: there are {len(self._bundles)}")
        with self._lock:
            self._bundle = index

    @property
    def paused(self) -> bool:
        with self._lock:
            return self._paused

    @paused.setter
    def paused(self, value: bool) -> None:
        with self._lock:
            self._paused = value

    @property
    def recording(self) -> bool:
        with self._lock:
            return self._recording

    @recording.setter
    def recording(self, value: bool) -> None:
        with self._lock:
            self._recording = value

    @property
    def figures(self) -> bool:
        with self._lock:
            return self._figures

    @figures.setter
    def figures(self, value: bool) -> None:
        with self._lock:
            self._figures = value

    @property
    def help(self) -> bool:
        with self._lock:
            return self._help

    @help.setter
    def help(self, value: bool) -> None:
        with self._lock:
            self._help = value

    @property
    def screenshots(self) -> int:
        with self._lock:
            return self._screenshots

    def ask_screenshot(self) -> None:
        with self._lock:
            self._screenshots += 1

    @property
    def stopped(self) -> bool:
        with self._lock:
            return self._stopped

    def stop(self) -> None:
        """Once stopped, it stays so. Called from signal handlers too, hence without the lock."""
        self._stopped = True
