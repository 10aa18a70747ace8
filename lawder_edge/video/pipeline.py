"""The stages together: capture -> segment -> draw, each in its own thread, the last in the caller's."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lawder_edge.errors import BadInput
from lawder_edge.video.border import whole
from lawder_edge.video.capture import TICK_S, Capture
from lawder_edge.video.draw import Overlay, add_labels, draw_mask, side_by_side
from lawder_edge.video.frames import Controls, Image, Segmented, Source, Viewer
from lawder_edge.video.inference import FAILED, Found, Inference, without_mask
from lawder_edge.video.meter import Meter
from lawder_edge.video.record import write_screenshot
from lawder_edge.video.segment import Segmenter
from lawder_edge.video.text import TextBlur

# A live picture older than this is no longer what the scope sees, and is told to be old.
STALE_MS = 200.0
# A network that is silent for so long is taken for dead: pictures pass through.
SILENT_S = 1.0
# How often a picture that stands is shown again, for the warnings on it and for the keys of a window.
_AGAIN_S = 0.1
_JOIN_S = 5.0
# How long a picture says that another was saved.
_NOTE_S = 3.0


@dataclass(frozen=True)
class Setting:
    """How a video is run.

    skip: frames left out after each that is segmented; "auto": those that nobody has time for, where the source is live
    or played. played: a file at its own pace, as someone watches. max_fps: 0 for no limit. frames: to capture, 0 for
    all. compare: the first two networks side by side. crop, judge: as of `Inference`. blur_text: in what is recorded
    and in screenshots, which go to the folder `screenshots`.
    """

    skip: int | Literal["auto"] = "auto"
    played: bool = False
    max_fps: float = 0.0
    frames: int = 0
    compare: bool = False
    crop: bool = True
    judge: bool = True
    blur_text: bool = True
    screenshots: Path = Path("screenshots")


@dataclass(frozen=True)
class Outcome:
    """What a run came to. Counts of frames; reasons: how many pictures could not be used, by why, the most first.

    skipped: frames that could not be decoded. failures: frames on which a network failed. alarms: times that a polyp
    was newly confirmed. seconds, cpu_percent: from the first frame to the last; 100 for one core.
    """

    captured: int
    shown: int
    segmented: int
    dropped: int
    skipped: int
    reconnects: int
    failures: int
    alarms: int
    reasons: tuple[tuple[str, int], ...]
    screenshots: tuple[Path, ...]
    said: str
    seconds: float
    cpu_percent: float
    meter: Meter


class Pipeline:
    """One source, some networks, and those who look on.

    viewers: get the picture. recorders: get it with burnt-in text made unreadable, as screenshots are. Runs in the
    thread that calls `run`, since windows want to be drawn by the thread that made them.
    """

    def __init__(
        self,
        source: Source,
        segmenters: Sequence[Segmenter],
        controls: Controls,
        *,
        viewers: Sequence[Viewer] = (),
        recorders: Sequence[Viewer] = (),
        setting: Setting | None = None,
        stop: Callable[[], bool] = lambda: False,
        notes: Callable[[], Sequence[str]] = lambda: (),
        on_progress: Callable[[int], None] = lambda shown: None,
    ) -> None:
        """stop: asked between two pictures. notes: what is to be read on every picture now. on_progress: told how many
        were shown.
        """
        self._setting = setting or Setting()
        if self._setting.compare and len(segmenters) < 2:
            raise BadInput("side by side needs two networks, got one.")
        self._source, self._segmenters, self._controls = source, tuple(segmenters), controls
        self._viewers, self._recorders = tuple(viewers), tuple(recorders)
        self._stop, self._notes, self._on_progress = stop, notes, on_progress
        live = source.live or self._setting.played
        self._live = live
        keep_up = live and self._setting.skip == "auto"
        self._capture = Capture(
            source, controls, keep_up=keep_up, played=self._setting.played, max_fps=self._setting.max_fps,
            skip=0 if self._setting.skip == "auto" else self._setting.skip, frames=self._setting.frames,
        )  # fmt: skip
        self._inference = Inference(
            self._capture, segmenters, controls, keep_up=keep_up, fps=0.0 if source.live else source.fps,
            together=self._setting.compare, crop=self._setting.crop, judge=self._setting.judge,
        )  # fmt: skip
        self._meter = Meter()
        self._blur = TextBlur()
        self._alarms = 0
        self._alarmed = False
        self._screenshots: list[Path] = []
        self._screenshots_asked = controls.screenshots
        self._note, self._note_until_s = "", 0.0
        # The number of the last frame, and the frame with its burnt-in text made unreadable.
        self._blurred: tuple[int, Image | None] = (-1, None)
        self._ran = (0.0, 0.0)

    def run(self) -> Outcome:
        """Until the source ends, `frames` were captured, `stop` says so or the controls are stopped.

        Viewers and recorders are closed before it returns or raises. Raises what the source raised.
        """
        # Each is closed whatever the others raise, in the opposite order.
        with contextlib.ExitStack() as ending:
            for viewer in (*self._viewers, *self._recorders):
                ending.callback(viewer.close)
            ending.callback(self._capture.join, _JOIN_S)
            ending.callback(self._inference.join, _JOIN_S)
            ending.callback(self._source.close)
            ending.callback(self._controls.stop)
            for segmenter in self._segmenters:
                segmenter.warm_up()
            self._meter = Meter()
            self._capture.start()
            self._inference.start()
            self._loop()
            self._ran = self._meter.seconds, self._meter.cpu_percent
        for error in (self._capture.error, self._inference.error):
            if error is not None:
                raise error
        return self._outcome()

    def _loop(self) -> None:
        last: Found | None = None
        last_shown_s = time.monotonic()
        while not self._controls.stopped and not self._inference.slot.ended:
            if self._stop():
                return
            found = None if self._controls.paused else self._inference.slot.take(TICK_S)
            now_s = time.monotonic()
            if found is not None:
                self._show(found, new=True)
                last, last_shown_s = found, now_s
            elif self._controls.paused:
                if last is not None and now_s - last_shown_s >= _AGAIN_S:
                    self._show(last, new=False, notes=("paused",))
                    last_shown_s = now_s
                time.sleep(TICK_S / 5)
            elif self._live and now_s - last_shown_s >= _AGAIN_S:
                standing = self._standing(last, now_s)
                if standing is not None:
                    self._show(standing, new=False)
                    last_shown_s = now_s

    def _standing(self, last: Found | None, now_s: float) -> Found | None:
        """What to show where no new mask comes: nothing yet, the newest picture without one, or the last one, old."""
        newest = self._capture.latest
        if newest is None:
            return None
        busy_s = self._inference.busy_since_s
        if busy_s and now_s - busy_s > SILENT_S:
            reason = f"{FAILED}the network is silent for {now_s - busy_s:.0f} s"
            return Found((without_mask(newest, reason),) * self._panels, whole(newest.image))
        if last is None or 1000 * (now_s - last.segmented[0].frame.captured_s) < STALE_MS:
            return None
        return last

    @property
    def _panels(self) -> int:
        return 2 if self._setting.compare else 1

    def _show(self, found: Found, *, new: bool, notes: tuple[str, ...] = ()) -> None:
        """Draw and hand out. new: whether it has not been shown before; only then is it measured."""
        started_s = time.perf_counter()
        first = found.segmented[0]
        said = self._source.said()
        status = self._meter.status(dropped=self._dropped, source=said)
        age_ms = 1000 * (time.monotonic() - first.frame.captured_s)
        note = self._note if time.monotonic() < self._note_until_s else ""
        warnings = [text for text in (*notes, said, note, *self._notes()) if text]
        if self._live and age_ms > STALE_MS:
            warnings.append(f"picture is {age_ms / 1000:.1f} s old")
        overlay = Overlay(
            notes=tuple(warnings),
            status=status if self._controls.figures else None,
            threshold=self._controls.threshold or self._segmenters[self._controls.bundle].threshold,
            keys=self._controls.help,
            recording=self._controls.recording,
        )
        picture = self._draw(found, overlay, None)
        # A picture that stands is recorded no second time.
        kept = self._unreadable(found, overlay, picture) if new and self._recorders else None
        drawn_s = time.perf_counter()
        for viewer in self._viewers:
            viewer.show(picture, first, status)
        if new:
            self._meter.note(first, draw_ms=1000 * (drawn_s - started_s))
            for recorder in self._recorders:
                recorder.show(picture if kept is None else kept, first, status)
            self._count_alarm(first)
            self._on_progress(self._meter.shown)
        # Viewers may have asked for it just now.
        if self._controls.screenshots != self._screenshots_asked:
            self._save_screenshot(self._unreadable(found, overlay, picture) if kept is None else kept, first)

    def _unreadable(self, found: Found, overlay: Overlay, picture: Image) -> Image:
        """The picture as it may be kept: drawn again where burnt-in text was made unreadable in the frame."""
        frame = found.segmented[0].frame
        if not self._setting.blur_text:
            return picture
        if self._blurred[0] != frame.number:
            self._blurred = frame.number, self._blur.step(frame.image, found.view, cut=frame.cut)
        return picture if self._blurred[1] is frame.image else self._draw(found, overlay, self._blurred[1])

    def _draw(self, found: Found, overlay: Overlay, base: Image | None) -> Image:
        if self._setting.compare:
            names = [s.name for s in self._segmenters[:2]]
            return side_by_side(found.segmented[0], found.segmented[1], overlay, names, base=base)
        return add_labels(draw_mask(found.segmented[0], base=base), found.segmented[0], overlay)

    def _count_alarm(self, segmented: Segmented) -> None:
        if segmented.alarm and not self._alarmed:
            self._alarms += 1
        self._alarmed = segmented.alarm

    def _save_screenshot(self, picture: Image, segmented: Segmented) -> None:
        self._screenshots_asked = self._controls.screenshots
        self._note_until_s = time.monotonic() + _NOTE_S
        try:
            path = write_screenshot(self._setting.screenshots, picture, segmented.frame.number)
        except OSError as error:
            self._note = f"no screenshot: {error.strerror}"
            return
        self._screenshots.append(path)
        self._note = f"screenshot {path.name}"

    @property
    def _dropped(self) -> int:
        return self._capture.dropped + self._inference.unseen

    def _outcome(self) -> Outcome:
        # Only sources that can lose frames or their connection count that.
        counted = {name: int(getattr(self._source, name, 0)) for name in ("skipped", "reconnects")}
        return Outcome(
            captured=self._capture.captured,
            shown=self._meter.shown,
            segmented=self._inference.segmented,
            dropped=self._dropped,
            failures=self._inference.failures,
            alarms=self._alarms,
            reasons=tuple(self._inference.reasons.most_common()),
            screenshots=tuple(self._screenshots),
            said=self._source.said(),
            seconds=self._ran[0],
            cpu_percent=self._ran[1],
            meter=self._meter,
            **counted,
        )
