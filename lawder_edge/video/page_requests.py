"""The page's requests. A path that a browser sends is compared with a list and never joined to a folder's name.

Whoever may see the page may act on it, so every request is checked: the token where there is one, and that the browser
was on this page when it sent it.
"""

from __future__ import annotations

import contextlib
import hmac
import json
import re
import select
import socket
import time
from collections.abc import Callable
from http.cookies import CookieError, SimpleCookie
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from lawder_edge.video.address import is_loopback
from lawder_edge.video.showing import Showing

_BOUNDARY = b"lawder-edge-picture"
_COOKIE = "lawder_edge_token"
_MOST_BODY_BYTES = 4096
# Pictures that lie in the kernel are old by the time that they are seen.
_SEND_BUFFER_BYTES = 128 * 1024
_RECORDING = re.compile(r"/recordings/(\d{1,6})")
_SWITCHES = ("paused", "recording", "figures", "help")


class PageServer(ThreadingHTTPServer):
    """One thread a connection; none of them keeps the program from ending."""

    page: Showing
    daemon_threads = True
    block_on_close = False
    # Viewers that all come at once wait here.
    request_queue_size = 64

    def handle_error(self, request: object, client_address: object) -> None:
        """A browser that went away is no news, and stderr belongs to the video."""


class Requests(BaseHTTPRequestHandler):
    """GET / (the page), /live (motion JPEG), /state (JSON), /recordings/N (WebM); POST /control (JSON)."""

    server: PageServer
    protocol_version = "HTTP/1.1"
    server_version = "lawder-edge"
    sys_version = ""
    # A viewer that takes nothing for so long has gone.
    timeout = 15

    @property
    def _page(self) -> Showing:
        return self.server.page

    def do_GET(self) -> None:
        place = urlsplit(self.path)
        given = parse_qs(place.query).get("token", [""])[-1]
        if not self._allowed(given):
            return
        if given and place.path == "/":
            self._keep_token(given)
            return
        recording = _RECORDING.fullmatch(place.path)
        answers: dict[str, Callable[[], None]] = {
            "/": self._send_page,
            "/live": self._stream,
            "/state": self._send_state,
        }
        if place.path in answers:
            answers[place.path]()
        elif recording:
            self._send_recording(int(recording[1]))
        else:
            self._refuse(404, "there is no such page")

    def do_POST(self) -> None:
        # What is not read would be taken for the next request.
        body = self._body()
        if body is None or not self._allowed(""):
            return
        if self.path != "/control":
            self._refuse(404, "there is no such page")
            return
        # Forms of other sites cannot send JSON without asking first, and nobody answers that they may.
        if self.headers.get_content_type() != "application/json":
            self._refuse(415, "wanted JSON")
            return
        try:
            wrong = act(self._page, json.loads(body))
        except ValueError:
            wrong = "wanted JSON"
        if wrong:
            self._refuse(400, wrong)
        else:
            self._send_state()

    def _allowed(self, given: str) -> bool:
        """Refuses, and returns false, where the page is closed, was not what sent this, or the token is not known."""
        page = self._page
        if page.closed:
            # A connection that a browser keeps open outlives the server that took it.
            self.close_connection = True
            self._refuse(503, "the demo has ended")
            return False
        origin = self.headers.get("Origin")
        if self.headers.get("Sec-Fetch-Site") == "cross-site" or (
            origin is not None and urlsplit(origin).netloc != self.headers.get("Host")
        ):
            self._refuse(403, "another site may not use this page")
            return False
        if not page.token:
            # A name of another site that was pointed at this machine arrives as that site's.
            host = urlsplit(f"//{self.headers.get('Host', '')}").hostname or ""
            if not is_loopback(host):
                self._refuse(403, "this page is for this machine: open it by its address")
                return False
            return True
        bearer = self.headers.get("Authorization", "").removeprefix("Bearer ")
        known = page.token.encode()
        if any(hmac.compare_digest(known, t.encode("utf-8", "replace")) for t in (given, bearer, self._cookie()) if t):
            return True
        self._refuse(401, "open the address with its token: http://HOST:PORT/?token=...")
        return False

    def _cookie(self) -> str:
        try:
            morsel = SimpleCookie(self.headers.get("Cookie", "")).get(_COOKIE)
        except CookieError:
            return ""
        return morsel.value if morsel else ""

    def _keep_token(self, token: str) -> None:
        """Into a cookie that no script reads, and out of the address bar."""
        cookie: SimpleCookie = SimpleCookie()
        cookie[_COOKIE] = token
        for name, value in {"httponly": "true", "samesite": "Strict", "path": "/"}.items():
            cookie[_COOKIE][name] = value
        self._head(303, "text/plain", 0, {"Location": "/", "Set-Cookie": cookie[_COOKIE].OutputString()})

    def _send_page(self) -> None:
        page = self._page
        self._send(200, "text/html; charset=utf-8", page.html, {"Content-Security-Policy": page.policy})

    def _send_state(self) -> None:
        self._send(200, "application/json", json.dumps(state(self._page)).encode())

    def _stream(self) -> None:
        page = self._page
        if not page.enter():
            self._refuse(503, "too many viewers")
            return
        try:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
            self.close_connection = True
            self._head(200, f"multipart/x-mixed-replace; boundary={_BOUNDARY.decode()}", None, {"Connection": "close"})
            last = 0
            # Chromium shows a picture when it has read the head of the part after it: so that head follows at once, and
            # not with the next picture, of which it can tell nothing.
            head = b"\r\n--%s\r\nContent-Type: image/jpeg\r\n\r\n" % _BOUNDARY
            self.wfile.write(head)
            while not page.closed and not self._gone():
                shot = page.next_shot(last, wait_s=1.0)
                if shot is None:
                    continue
                last = shot.count
                self.wfile.write(shot.data + head)
        except OSError:
            # The viewer went away, or takes nothing any more: there is nobody to tell.
            return
        finally:
            page.leave()

    def _gone(self) -> bool:
        """Whether the viewer has hung up: where no picture is sent, no write fails."""
        if not select.select([self.connection], [], [], 0)[0]:
            return False
        return not self.connection.recv(1, socket.MSG_PEEK)

    def _send_recording(self, index: int) -> None:
        recordings = list(self._page.recordings())
        clip = recordings[index] / "video.webm" if index < len(recordings) else None
        if clip is None or not clip.is_file():
            self._refuse(404, "there is no such recording, or it is not whole yet")
            return
        with clip.open("rb") as file:
            self._head(200, "video/webm", clip.stat().st_size, {})
            while piece := file.read(1 << 16):
                self.wfile.write(piece)

    def _body(self) -> bytes | None:
        length = self.headers.get("Content-Length", "")
        if not length.isdigit() or int(length) > _MOST_BODY_BYTES:
            self.close_connection = True
            self._refuse(413, f"wanted a body of at most {_MOST_BODY_BYTES} bytes, and its length")
            return None
        return self.rfile.read(int(length))

    def _refuse(self, code: int, why: str) -> None:
        self._send(code, "application/json", json.dumps({"error": why}).encode())

    def _send(self, code: int, kind: str, body: bytes, more: dict[str, str] | None = None) -> None:
        self._head(code, kind, len(body), more or {})
        with contextlib.suppress(OSError):  # whoever asked has gone
            self.wfile.write(body)

    def _head(self, code: int, kind: str, length: int | None, more: dict[str, str]) -> None:
        self.send_response(code)
        headers = {
            "Content-Type": kind,
            "Cache-Control": "no-store",
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
            "Cross-Origin-Resource-Policy": "same-origin",
            **more,
        }
        if length is not None:
            headers["Content-Length"] = str(length)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: stderr belongs to the video, and addresses may carry the token."""


def state(page: Showing) -> dict[str, Any]:
    """What the page shows beside the picture, as JSON has it."""
    controls, shown = page.controls, page.shown()
    now_s = time.monotonic()
    recordings = list(page.recordings())
    figures: dict[str, Any] = {}
    if shown is not None:
        status = shown.status
        figures = {
            "frame": shown.number,
            "age_ms": round(1000 * (now_s - shown.shown_s)),
            "area": shown.area,
            "alarm": shown.alarm,
            "reason": shown.reason,
            "infer_ms": shown.infer_ms,
            "fps": status.fps,
            "latency_p50_ms": status.latency_p50_ms,
            "latency_p95_ms": status.latency_p95_ms,
            "latency_p99_ms": status.latency_p99_ms,
            "dropped": status.dropped,
            "cpu_percent": status.cpu_percent,
            "memory_mb": status.memory_mb,
            "source": status.source,
        }
    return {
        "shown": figures,
        "viewers": page.viewers,
        "threshold": controls.threshold,
        "own_threshold": page.thresholds[controls.bundle],
        "bundles": list(controls.bundles),
        "bundle": controls.bundle,
        "paused": controls.paused,
        "recording": controls.recording,
        "figures": controls.figures,
        "stopped": controls.stopped,
        "recordings": [{"name": folder.name, "whole": _is_whole(folder)} for folder in recordings],
    }


def _is_whole(folder: Path) -> bool:
    return (folder / "video.webm").is_file()


def act(page: Showing, wish: object) -> str:
    """Do what the page asks for; all of it or nothing. Returns: what was wrong with it, "" for nothing.

    wish: threshold (a number, or null for the bundle's own), bundle (its index), paused, recording, figures and help
    (true or false), screenshot and stop (true).
    """
    controls = page.controls
    if not isinstance(wish, dict) or not wish:
        return "wanted an object"
    for name, value in wish.items():
        if name == "threshold":
            number = isinstance(value, int | float) and not isinstance(value, bool)
            right = value is None or (number and 0 < value < 1)
        elif name == "bundle":
            right = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < len(controls.bundles)
        elif name in ("screenshot", "stop"):
            right = value is True
        else:
            right = name in _SWITCHES and isinstance(value, bool)
        if not right:
            return f"{str(name)[:40]}: cannot be set to that"
    for name, value in wish.items():
        if name == "screenshot":
            controls.ask_screenshot()
        elif name == "stop":
            controls.stop()
        else:
            setattr(controls, name, value)
    return ""
