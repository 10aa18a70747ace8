"""The first stage: a thread that reads a source and keeps what the next stage shall take."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Generic, TypeVar

from lawder_edge.video.frames import Controls, Frame, Source

T = TypeVar("T")
# How often a waiting thread looks whether it shall end.
TICK_S = 0.05


class Slot(Generic[T]):
    """Holds one item between two threads. The one who puts either waits or takes back what was not fetched."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._item: T | None = None
        self._closed = False

    def put(self, item: T, *, stop: Callable[[], bool]) -> None:
        """Wait until the slot is free, then fill it. Gives up when it is closed or `stop` says so."""
        with self._condition:
            while self._item is not None and not self._closed and not stop():
                self._condition.wait(TICK_S)
            if not self._closed and self._item is None:
                self._item = item
                self._condition.notify_all()

    def withdraw(self) -> T | None:
        """Take back what nobody fetched."""
        return self.take(0.0)

    def take(self, timeout_s: float) -> T | None:
        """The item, waited for; None where there is none in time."""
        with self._condition:
            if self._item is None and timeout_s > 0 and not self._closed:
                self._condition.wait(timeout_s)
            item, self._item = self._item, None
            self._condition.notify_all()
            return item

    def close(self) -> None:
        """Nothing follows. What is in it can still be taken."""
        with self._condition:
            self._closed = True
            self._condition.notify_all()

    @property
    def ended(self) -> bool:
        """Whether it is closed and empty."""
        with self._condition:
            return self._closed and self._item is None


class Capture:
    """Reads a source in its own thread.

    keep_up: frames that were not fetched in time are replaced by newer ones and counted in `dropped`, so that latency
    does not grow; otherwise every frame waits for its turn. played: a file's frames come at its own pace, whichever are
    left out. max_fps: of frames that are kept, by a file's own time and of live sources by the clock, 0 for no limit.
    skip: frames left out after each one that is kept. frames: how many to read, 0 for all.
    """

    def __init__(
        self,
        source: Source,
        controls: Controls,
        *,
        keep_up: bool,
        played: bool = False,
        max_fps: float = 0.0,
        skip: int = 0,
        frames: int = 0,
    ) -> None:
        self.slot: Slot[Frame] = Slot()
        self.captured = 0
        self.dropped = 0
        self.latest: Frame | None = None
        self.error: Exception | None = None
        self._source, self._controls = source, controls
        self._keep_up, self._played, self._skip, self._frames = keep_up, played, skip, frames
        self._every_s = 1 / max_fps if max_fps else 0.0
        self._due_s = 0.0
        # When a file's frame 0 was due, by the clock.
        self._begun_s: float | None = None
        self._cut = False
        self._thread = threading.Thread(target=self._run, name="capture", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def join(self, timeout_s: float) -> None:
        """Wait for its end; at once where it was never started."""
        if self._thread.ident is not None:
            self._thread.join(timeout_s)

    def _run(self) -> None:
        try:
            while not self._controls.stopped and (not self._frames or self.captured < self._frames):
                if self._controls.paused and not self._source.live:
                    time.sleep(TICK_S)
                    continue
                frame = self._source.read()
                if frame is None:
                    break
                self._pass(frame)
        except Exception as error:  # told by the thread that draws, which closes the files first
            self.error = error
        finally:
            self.slot.close()

    def _pass(self, frame: Frame) -> None:
        self.captured += 1
        self.latest = frame
        self._cut |= frame.cut
        if self._skip and (self.captured - 1) % (self._skip + 1):
            self.dropped += 1
            return
        at_s = time.monotonic() if self._source.live else frame.number / self._source.fps
        if self._every_s and not self._in_time(at_s):
            self.dropped += 1
            return
        if self._played and not self._source.live:
            self._wait_for(at_s)
        if not self._source.live:
            frame = replace(frame, captured_s=time.monotonic())
        if self._keep_up:
            missed = self.slot.withdraw()
            if missed is not None:
                self.dropped += 1
                self._cut |= missed.cut
        self.slot.put(replace(frame, cut=self._cut), stop=lambda: self._controls.stopped)
        self._cut = False

    def _in_time(self, at_s: float) -> bool:
        """Whether a frame comes late enough after the one before that was kept. at_s: of the clock, or of the file."""
        # A camera of the same rate trembles around it.
        if at_s < self._due_s - 0.25 * self._every_s:
            return False
        self._due_s = max(self._due_s, at_s - self._every_s) + self._every_s
        return True

    def _wait_for(self, at_s: float) -> None:
        """Until a file's frame is due. at_s: its time in the file."""
        now_s = time.monotonic()
        # After a pause or a slow stretch the lost time is not caught up.
        self._begun_s = now_s - at_s if self._begun_s is None else max(self._begun_s, now_s - at_s)
        while (left_s := self._begun_s + at_s - time.monotonic()) > 0 and not self._controls.stopped:
            time.sleep(min(left_s, TICK_S))
