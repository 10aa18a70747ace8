"""A web page with the live view, the figures and the controls: a `Viewer` for machines without a screen.

Pictures go out as motion JPEG. There is one newest picture; each viewer's own thread sends it when the viewer has taken
the one before, so that a slow viewer misses pictures and slows nobody. Requests are answered in `page_requests.py`.
"""

from __future__ import annotations

import errno
import socket
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.parse import quote

from lawder_edge.errors import BadInput
from lawder_edge.video.address import is_loopback, parse_address
from lawder_edge.video.frames import Controls
from lawder_edge.video.page_requests import PageServer, Requests
from lawder_edge.video.showing import Showing

LEAST_TOKEN = 12


class Page(Showing):
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
        # First, since it may fail, and the other starts a thread.
        self._server = _listen(host, port, serve)
        super().__init__(controls, thresholds=thresholds, token=token, recordings=recordings)
        self._server.page = self
        self.address: tuple[str, int] = (host, self._server.server_address[1])
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.1}, name="page", daemon=True
        )
        self._thread.start()

    @property
    def url(self) -> str:
        """For a browser on this machine, with the token where there is one."""
        host = f"[{self.address[0]}]" if ":" in self.address[0] else self.address[0]
        return f"http://{host}:{self.address[1]}/" + (f"?token={quote(self.token, safe='')}" if self.token else "")

    def close(self) -> None:
        """Viewers are let go. May be called twice."""
        if not self.end():
            return
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


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
