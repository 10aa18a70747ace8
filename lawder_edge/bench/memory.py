"""Resident memory of this process.

The peak is VmHWM of /proc/self/status. getrusage's ru_maxrss is a worse source on Linux: a child inherits the peak of
the parent that started it (exec folds the old address space into the counter), so that every worker of a large parent
would report the parent. It is used where there is no /proc.
"""

from __future__ import annotations

import re
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_STATUS = Path("/proc/self/status")
_CLEAR_REFS = Path("/proc/self/clear_refs")


@dataclass(frozen=True)
class Resident:
    """now_bytes: resident at this moment. peak_bytes: most that was ever resident."""

    now_bytes: int
    peak_bytes: int


@dataclass(frozen=True)
class PeakMemory:
    """What running a model added to a process.

    baseline_bytes: resident before the runtime was imported and the model loaded. peak_bytes: most that was resident
    until the last inference. Both with shared libraries.
    """

    baseline_bytes: int
    peak_bytes: int

    @property
    def added_bytes(self) -> int:
        return max(self.peak_bytes - self.baseline_bytes, 0)


def parse_status(text: str) -> Resident | None:
    """text: /proc/PID/status. Returns: None where VmRSS or VmHWM is missing (a kernel thread, another system)."""
    found = dict(re.findall(r"^(VmRSS|VmHWM):\s+(\d+) kB$", text, re.MULTILINE))
    if len(found) < 2:
        return None
    return Resident(now_bytes=int(found["VmRSS"]) * 1024, peak_bytes=int(found["VmHWM"]) * 1024)


def resident() -> Resident:
    """Memory of this process. Without /proc the moment's value is the peak so far, from getrusage."""
    if _STATUS.is_file():
        found = parse_status(_STATUS.read_text())
        if found is not None:
            return found
    import resource

    # ru_maxrss is in bytes on macOS and in KiB elsewhere.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return Resident(now_bytes=peak, peak_bytes=peak)


def reset_peak() -> None:
    """Let the peak start at what is resident now, so that memory needed and freed before does not count.

    Linux only, where the kernel lets a process do it (since 4.0); elsewhere the peak stays that of the whole life.
    """
    with suppress(OSError):
        if _CLEAR_REFS.exists():
            _CLEAR_REFS.write_text("5")
