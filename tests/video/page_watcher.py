"""Who watches the page's picture stream over a plain socket."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable

import cv2
import numpy as np

from lawder_edge.video.page import Page

PATIENCE_S = 60


class Watcher:
    """Reads the picture stream."""

    def __init__(self, page: Page, receive_bytes: int = 0) -> None:
        self.socket = socket.socket()
        if receive_bytes:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        self.socket.settimeout(PATIENCE_S)
        self.socket.connect(page.address)
        secret = f"Authorization: Bearer {page.token}\r\n" if page.token else ""
        self.socket.sendall(f"GET /live HTTP/1.1\r\nHost: 127.0.0.1\r\n{secret}\r\n".encode())
        self._file = self.socket.makefile("rb")
        self.head = self._until(b"\r\n\r\n").decode()
        self._between = b"\r\n--" + self.head.partition("boundary=")[2].split("\r\n")[0].encode()
        self._between += b"\r\nContent-Type: image/jpeg\r\n\r\n"
        self._until(self._between)

    def picture(self) -> np.ndarray:
        """The next picture, (H, W, 3)."""
        return cv2.imdecode(np.frombuffer(self._until(self._between), np.uint8), cv2.IMREAD_COLOR)

    def _until(self, end: bytes) -> bytes:
        """What comes before `end`, which is taken too."""
        taken = bytearray()
        while not taken.endswith(end):
            piece = self._file.read(1)
            assert piece, "the stream has ended"
            taken += piece
        return bytes(taken[: -len(end)])

    def close(self) -> None:
        self._file.close()
        self.socket.close()


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end, "it did not come to pass"
        time.sleep(0.01)
