"""What else goes on on the machine while rows are measured."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path

from lawder_edge.bench.latency import percentile
from lawder_edge.bench.rows import Noise

# Small enough for the first cache, so that it shows the processor's time and not the memory's.
_BLOCK = bytes(16384)
_ROUNDS = 64


def probe_ms() -> float:
    """Time of one fixed computation on one core: 64 hashes of 16 KiB, about 1 ms."""
    start = time.perf_counter_ns()
    for _ in range(_ROUNDS):
        hashlib.sha256(_BLOCK).digest()
    return (time.perf_counter_ns() - start) / 1e6


def busy_percent() -> float:
    """Share of all cores that is used at this moment, over half a second, while this process sleeps. In [0, 100]."""
    import psutil

    return psutil.cpu_percent(interval=0.5)


def throttle_count(*, root: Path = Path("/")) -> int | None:
    """How often cores have slowed down for heat since the machine started, None where the system does not count."""
    found = root.glob("sys/devices/system/cpu/cpu[0-9]*/thermal_throttle/core_throttle_count")
    counts = [int(path.read_text()) for path in found]
    return sum(counts) if counts else None


class Watch:
    """Collects what is heard between the turns of rows."""

    def __init__(self) -> None:
        self._busy = busy_percent()
        self._throttled = throttle_count()
        self._probes_ms: list[float] = []
        self._mhz: list[float] = []
        self.listen()

    def listen(self) -> None:
        """Probe a few times, and look at the clock."""
        import psutil

        self._probes_ms += [probe_ms() for _ in range(5)]
        clock = psutil.cpu_freq()
        if clock is not None and clock.current:
            self._mhz.append(clock.current)

    def noise(self) -> Noise:
        """What was heard from the start until now."""
        ordered, throttled = sorted(self._probes_ms), throttle_count()
        return Noise(
            busy_percent=max(self._busy, busy_percent()),
            p50_ms=percentile(ordered, 50),
            p95_ms=percentile(ordered, 95),
            count=len(ordered),
            mhz=(min(self._mhz), max(self._mhz)) if self._mhz else (),
            throttled=None if throttled is None or self._throttled is None else throttled - self._throttled,
        )
