"""Headless Chromium, driven over WebDriver (W3C) with the standard library: no package for a few calls."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from base64 import b64decode
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-component-update",
    "--disable-background-networking", "--disable-sync", "--disable-dev-shm-usage", "--window-size=1280,900",
)  # fmt: skip
_ANSWER_S = 120


def is_here() -> bool:
    return bool(shutil.which("chromium") and shutil.which("chromedriver"))


class Browser:
    """Chromium with a profile of its own, until it is closed."""

    def __init__(self, folder: Path) -> None:
        self._driver = subprocess.Popen(
            ["chromedriver", "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        assert self._driver.stdout
        for line in self._driver.stdout:
            if "started successfully on port" in line:
                self._address = f"http://127.0.0.1:{line.rsplit(' ', 1)[1].strip().rstrip('.')}"
                break
        options = {"binary": shutil.which("chromium"), "args": [*FLAGS, f"--user-data-dir={folder}"]}
        wanted = {"capabilities": {"alwaysMatch": {"browserName": "chrome", "goog:chromeOptions": options}}}
        self._session = "/session/" + self._call("POST", "/session", wanted)["sessionId"]

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *error: object) -> None:
        try:
            self._call("DELETE", self._session)
        finally:
            self._driver.terminate()
            self._driver.wait(30)

    def open(self, url: str) -> None:
        self._call("POST", self._session + "/url", {"url": url})

    def run(self, script: str) -> Any:
        """What the script returns."""
        return self._call("POST", self._session + "/execute/sync", {"script": script, "args": []})

    def until(self, script: str, *, patience_s: float = 60) -> Any:
        """What the script returns, once that is true."""
        end = time.monotonic() + patience_s
        while not (found := self.run(script)):
            assert time.monotonic() < end, f"never true: {script}"
            time.sleep(0.1)
        return found

    def screenshot(self, path: Path) -> None:
        path.write_bytes(b64decode(self._call("GET", self._session + "/screenshot")))

    def _call(self, method: str, path: str, body: object = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = Request(self._address + path, data, {"Content-Type": "application/json"}, method=method)
        with urlopen(request, timeout=_ANSWER_S) as answer:
            return json.load(answer)["value"]
