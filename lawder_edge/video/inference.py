"""The middle stage: a thread that takes captured frames and gives them on segmented."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from lawder_edge.errors import first_line
from lawder_edge.video.border import View, ViewFinder, whole
from lawder_edge.video.capture import TICK_S, Capture, Slot
from lawder_edge.video.frames import Controls, Frame, Image, Segmented
from lawder_edge.video.segment import Segmenter
from lawder_edge.video.usable import why_unusable

FAILED = "no mask: "


@dataclass(frozen=True)
class Found:
    """One frame as every network that is shown saw it. view: where in it the picture is."""

    segmented: tuple[Segmented, ...]
    view: View


def without_mask(frame: Frame, reason: str) -> Segmented:
    """A frame that passes through, and why."""
    nothing = np.zeros(frame.image.shape[:2], np.float32)
    return Segmented(frame, nothing, nothing.astype(np.uint8), 0.0, 0.0, 0.0, alarm=False, reason=reason)


def _at_a_cut(found: Found) -> Found:
    """The same, told to follow on nothing: who looks on never sees the frame at which the scene was cut."""
    return replace(found, segmented=tuple(replace(s, frame=replace(s.frame, cut=True)) for s in found.segmented))


class Inference:
    """Segments what `capture` gives, in its own thread.

    together: every network sees every frame (side by side); otherwise the one that `controls.bundle` chooses.
    keep_up: as of `Capture`. failures: frames that a network failed on; they pass through. reasons: how many pictures
    could not be used, by why. busy_since_s: `time.monotonic()` when the network got its frame, 0 while it has none.
    """

    def __init__(
        self,
        capture: Capture,
        segmenters: Sequence[Segmenter],
        controls: Controls,
        *,
        keep_up: bool,
        fps: float = 0.0,
        together: bool = False,
        crop: bool = True,
        judge: bool = True,
    ) -> None:
        """fps: of a file, whose frames are so far apart however fast they are read; 0 for live frames, which are as far
        apart as they were captured. crop: whether a black border is cut away. judge: whether unusable pictures are
        told.
        """
        self.slot: Slot[Found] = Slot()
        self.error: Exception | None = None
        self.failures = 0
        self.unseen = 0
        self.segmented = 0
        self.reasons: Counter[str] = Counter()
        self.busy_since_s = 0.0
        self._capture, self._segmenters, self._controls = capture, tuple(segmenters), controls
        self._keep_up, self._fps, self._together, self._crop, self._judge = keep_up, fps, together, crop, judge
        self._finder = ViewFinder()
        self._chosen: tuple[Segmenter, ...] = ()
        self._thread = threading.Thread(target=self._run, name="inference", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def join(self, timeout_s: float) -> None:
        """Wait for its end; at once where it was never started."""
        if self._thread.ident is not None:
            self._thread.join(timeout_s)

    def _run(self) -> None:
        try:
            while not self._controls.stopped and not self._capture.slot.ended:
                frame = self._capture.slot.take(TICK_S)
                if frame is None:
                    continue
                self.busy_since_s = time.monotonic()
                found = self._look(frame)
                self.busy_since_s = 0.0
                missed = self.slot.withdraw() if self._keep_up else None
                if missed is not None:
                    self.unseen += 1
                    if missed.segmented[0].frame.cut:
                        found = _at_a_cut(found)
                self.slot.put(found, stop=lambda: self._controls.stopped)
        except Exception as error:  # told by the thread that draws, which closes the files first
            self.error = error
        finally:
            self.slot.close()

    def _look(self, frame: Frame) -> Found:
        started_s = time.perf_counter()
        view = self._finder.step(frame.image, cut=frame.cut) if self._crop else whole(frame.image)
        chosen = self._segmenters if self._together else (self._segmenters[self._controls.bundle],)
        for segmenter in chosen:
            if segmenter not in self._chosen:
                segmenter.begin()
        self._chosen = chosen
        small: dict[tuple[int, int], Image] = {}
        for segmenter in chosen:
            if segmenter.runner.size not in small:
                small[segmenter.runner.size] = segmenter.shrink(view.crop(frame.image))
        reason = why_unusable(small[chosen[0].runner.size]) if self._judge else ""
        if reason:
            self.reasons[reason] += 1
        pre_ms = 1000 * (time.perf_counter() - started_s)
        return Found(tuple(self._ask(s, frame, view, small[s.runner.size], pre_ms, reason) for s in chosen), view)

    def _ask(
        self, segmenter: Segmenter, frame: Frame, view: View, small: Image, pre_ms: float, reason: str
    ) -> Segmented:
        if reason:
            segmenter.pass_over(frame)
            return without_mask(frame, reason)
        try:
            at_s = frame.number / self._fps if self._fps else frame.captured_s
            found = segmenter.step(frame, view, small, at_s=at_s, pre_ms=pre_ms, threshold=self._controls.threshold)
        # Whatever a runtime raises, the picture must go on: it is shown without a mask, and told.
        except Exception as error:
            self.failures += 1
            segmenter.pass_over(frame)
            return without_mask(frame, f"{FAILED}{segmenter.name} failed ({first_line(error)[:80]})")
        self.segmented += 1
        return found
