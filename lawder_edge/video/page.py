"""A web page with the live view, the figures and the controls: a `Viewer` for machines without a screen.

Pictures go out as motion JPEG. There is one newest picture; each viewer's own thread sends it when the viewer has taken
the one before, so that a slow viewer misses pictures and slows nobody. Requests are answered in `page_requests.py`.
"""

from __future__ import annotations

import errno
import hashlib
import socket
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http.server import ThreadingHTTPServer
from pathlib import Path

import cv2
import numpy as np

from lawder_edge.errors import BadInput
from lawder_edge.video.address import is_loopback, parse_address
from lawder_edge.video.frames import Controls, Image, Segmented, Status
from lawder_edge.video.page_requests import Requests

MOST_VIEWERS = 32
LEAST_TOKEN = 12
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


class Page:
    """Serves from its making to `close`.

    thresholds: of the bundles, in the order of `controls.bundles`. recordings: asks for the folders recorded so far.
    token: what a browser must know; it may be left out where the address is this machine's alone.
    address: host and port that it listens at. Raises BadInput for an address that cannot be had, or another one than
    this machine's without a token.
    """

    def __init__(
        self,
        controls: Controls,
        *,
        serve: str,
        thresholds: Sequence[float],
        token: str = "",
        recordings: Callable[[], Sequence[Path]] = lambda: (),
    ) -> None:
        host, port = parse_address(serve)
        if not token and not is_loopback(host):
            raise BadInput(
                f"--serve {serve} can be reached from other machines: choose a secret with --token, {LEAST_TOKEN} "
                "characters or more, or serve 127.0.0.1"
            )
        if token and (len(token) < LEAST_TOKEN or not token.isascii() or not token.isprintable() or " " in token):
            raise BadInput(f"--token: wanted {LEAST_TOKEN} ASCII characters or more, without spaces; got {len(token)}")
        self.controls, self.thresholds, self.token, self.recordings = controls, tuple(thresholds), token, recordings
        self.html = _HTML.read_bytes()
        self.policy = _policy(self.html.decode())
        self._changed = threading.Condition()
        self._pending: tuple[Image, Segmented] | None = None
        self._shot: Shot | None = None
        self._shown: Shown | None = None
        self._viewers = 0
        self._closed = False
        self._server = _listen(host, port, serve)
        self._server.page = self
        self.address: tuple[str, int] = (host, self._server.server_address[1])
        self._threads = [
            threading.Thread(
                target=self._server.serve_forever, kwargs={"poll_interval": 0.1}, name="page", daemon=True
            ),
            threading.Thread(target=self._encode, name="page pictures", daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    @property
    def url(self) -> str:
        """For a browser on this machine, with the token where there is one."""
        host = f"[{self.address[0]}]" if ":" in self.address[0] else self.address[0]
        return f"http://{host}:{self.address[1]}/" + (f"?token={self.token}" if self.token else "")

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

    def close(self) -> None:
        """Viewers are let go. May be called twice."""
        with self._changed:
            if self._closed:
                return
            self._closed = True
            self._changed.notify_all()
        self._server.shutdown()
        self._server.server_close()
        for thread in self._threads:
            thread.join()

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


class PageServer(ThreadingHTTPServer):
    """One thread a connection; none of them keeps the program from ending."""

    page: Page
    daemon_threads = True
    block_on_close = False
    # Viewers that all come at once wait here.
    request_queue_size = 64

    def handle_error(self, request: object, client_address: object) -> None:
        """A browser that went away is no news, and stderr belongs to the video."""


class _PageServer6(PageServer):
    address_family = socket.AF_INET6


def _listen(host: str, port: int, text: str) -> PageServer:
    kind = _PageServer6 if ":" in host else PageServer
    try:
        return kind((host, port), Requests)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise BadInput(
                f"--serve {text}: another program listens there already. Choose another port, such as --serve "
                f"{text.rpartition(':')[0] or '127.0.0.1'}:{port % 65535 + 1}, or end that program."
            ) from error
        raise BadInput(f"--serve {text}: {error.strerror or error}. Wanted an address of this machine.") from error


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
