"""The process of one row, as the parent sees it: asked line by line, given up when it crashes or is silent too long."""

from __future__ import annotations

import dataclasses
import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import IO

from lawder_edge.bench.rows import Answer, BenchSpec, Row
from lawder_edge.codec import decode
from lawder_edge.errors import BadBundle, last_line
from lawder_edge.processes import how_ended, thread_environment

WORKER = (sys.executable, "-m", "lawder_edge.bench.worker")
_LOG_CHARS = 4000
_TAKEN_DOWN_S = 10.0


class RowProcess:
    """Starts with the object. `row` is None until the process has given its row, or was given up."""

    def __init__(self, source: str, spec: BenchSpec, *, worker: Sequence[str] = WORKER) -> None:
        self.source = source
        self.row: Row | None = None
        self._timeout_s = spec.timeout_s
        task = json.dumps({"source": source, "spec": dataclasses.asdict(spec)})
        # In a file, since a pipe that nobody empties stops the process that writes to it.
        self._log = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115 (lives as long)
        # A session of its own, so that whatever the process started ends with it.
        self._process = subprocess.Popen(
            [*worker, task],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env=thread_environment(spec.threads),
            start_new_session=True,
            encoding="utf-8",
            errors="replace",
        )
        self._lines: queue.Queue[str] = queue.Queue()
        self._reader = threading.Thread(target=_forward, args=(self._process.stdout, self._lines), daemon=True)
        self._reader.start()

    def wait(self) -> None:
        """Until the process has answered. Its row, its end, and silence all set `row`."""
        try:
            line = self._lines.get(timeout=self._timeout_s)
        except queue.Empty:
            reason = f"no result after {self._timeout_s:g} s, given up. Allow more with --timeout."
            self.end()
            self.row = self._failed(reason)
            return
        if not line:
            code = self._process.wait()
            self.row = self._failed(f"its process {how_ended(code)}.", last_words=True)
            return
        try:
            found = decode(Answer, line, source="answer").row
        except BadBundle:
            self.end()
            self.row = self._failed("its process answered with something else than a result.", last_words=True)
            return
        if found is not None:
            with suppress(subprocess.TimeoutExpired):  # a runtime may hang while it is taken down
                self._process.wait(timeout=_TAKEN_DOWN_S)
            self.end()
            self.row = found if found.status == "ok" else dataclasses.replace(found, log=self._said()[-_LOG_CHARS:])

    def ask(self, order: str) -> None:
        """Send one line and wait for the answer. Nothing happens once there is a row."""
        if self.row is not None:
            return
        # A process that has ended is found, and explained, by `wait`.
        with suppress(BrokenPipeError):
            print(order, file=self._process.stdin, flush=True)
        self.wait()

    def end(self) -> None:
        """Kill the process and what it started, if it still runs."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            # Its stdout ends with the last process that holds it.
            self._reader.join(timeout=_TAKEN_DOWN_S)

    def _failed(self, reason: str, *, last_words: bool = False) -> Row:
        log = self._said()
        if last_words and log.strip():
            reason += f" Its last words: {last_line(log)}"
        return Row(self.source, "failed", reason, 1, log=log[-_LOG_CHARS:])

    def _said(self) -> str:
        self._log.seek(0)
        return self._log.read()


def _forward(stream: IO[str] | None, lines: queue.Queue[str]) -> None:
    """Every line of a process's stdout, and an empty one at its end."""
    for line in stream or ():
        lines.put(line)
    lines.put("")
