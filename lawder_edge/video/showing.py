"""What a web page shows and its viewers may ask for: the newest picture, its figures, the controls.

There is one newest picture, encoded once for all viewers, and not at all while nobody looks on.
"""

from __future__ import annotations

import hashlib
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from lawder_edge.video.frames import Controls, Image, Segmented, Status

MOST_VIEWERS = 32
_QUALITY = 80
_HTML = Path(__file__).with_name("page.html")


@dataclass(frozen=True)
class Shot:
    """A picture as it goes out. number: of its frame. captured_s: by the monotonic clock. data: JPEG."""

    count: int
    number: int
    captured_s: float
    data: bytes


@dataclass(frozen=True)
class Shown:
    """What stands beside the newest picture. area: share of the picture that is polyp. shown_s: when it was handed
    out, by the monotonic clock.
    """

    number: int
    captured_s: float
    shown_s: float
    area: float
    alarm: bool
    reason: str
    infer_ms: float
    status: Status


class Showing:
    """From its making to `end`, in a thread that encodes pictures.

    thresholds: of the bundles, in the order of `controls.bundles`. recordings: asks for the folders recorded so far.
    token: what a browser must know, "" for nothing. html, policy: the page itself, and what it may load.
    """

    def __init__(
        self, controls: Controls, *, thresholds: Sequence[float], token: str, recordings: Callable[[], Sequence[Path]]
    ) -> None:
        self.controls, self.thresholds, self.token, self.recordings = controls, tuple(thresholds), token, recordings
        self.html = _HTML.read_bytes()
        self.policy = _policy(self.html.decode())
        self._changed = threading.Condition()
        self._pending: tuple[Image, Segmented] | None = None
        self._shot: Shot | None = None
        self._shown: Shown | None = None
        self._viewers = 0
        self._closed = False
        self._encoder = threading.Thread(target=self._encode, name="page pictures", daemon=True)
        self._encoder.start()

    def show(self, picture: Image, segmented: Segmented, status: Status) -> None:
        """Returns at once: pictures are encoded in another thread, and not at all while nobody looks on."""
        frame = segmented.frame
        area = float(np.count_nonzero(segmented.mask)) / segmented.mask.size
        shown = Shown(
            frame.number, frame.captured_s, time.monotonic(), area, segmented.alarm, segmented.reason,
            segmented.infer_ms, status,
        )  # fmt: skip
        with self._changed:
            self._shown = shown
            # The first picture is kept for the viewer who comes while the video stands.
            if self._viewers or self._shot is None:
                self._pending = np.array(picture), segmented
                self._changed.notify_all()

    def end(self) -> bool:
        """Viewers are let go. Returns: whether this was the first call."""
        with self._changed:
            if self._closed:
                return False
            self._closed = True
            self._changed.notify_all()
        self._encoder.join()
        return True

    def shown(self) -> Shown | None:
        """The newest picture's figures."""
        with self._changed:
            return self._shown

    @property
    def viewers(self) -> int:
        """How many watch."""
        with self._changed:
            return self._viewers

    def enter(self) -> bool:
        """A viewer comes: false where there are too many. Who enters must `leave`."""
        with self._changed:
            if self._closed or self._viewers >= MOST_VIEWERS:
                return False
            self._viewers += 1
            return True

    def leave(self) -> None:
        with self._changed:
            self._viewers -= 1

    def next_shot(self, after: int, *, wait_s: float) -> Shot | None:
        """The newest picture, once it is not the `after`th any more; None where none came in `wait_s` seconds."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._closed or (self._shot is not None and self._shot.count != after), wait_s
            )
            return None if self._closed or self._shot is None or self._shot.count == after else self._shot

    @property
    def closed(self) -> bool:
        with self._changed:
            return self._closed

    def _encode(self) -> None:
        count = 0
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closed or self._pending is not None)
                if self._closed or self._pending is None:
                    return
                (picture, segmented), self._pending = self._pending, None
            bgr = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
            _, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
            count += 1
            shot = Shot(count, segmented.frame.number, segmented.frame.captured_s, data.tobytes())
            with self._changed:
                self._shot = shot
                self._changed.notify_all()


def _policy(html: str) -> str:
    """What the page may load: its own script and style, by their hashes, and pictures from here."""
    hashes = {
        tag: b64encode(
            hashlib.sha256(html.partition(f"<{tag}>")[2].partition(f"</{tag}>")[0].encode()).digest()
        ).decode()
        for tag in ("script", "style")
    }
    return (
        f"default-src 'none'; script-src 'sha256-{hashes['script']}'; style-src 'sha256-{hashes['style']}'; "
        "img-src 'self'; media-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    )
