"""What is measured while a video runs: latencies, rate, CPU and memory."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import psutil

from lawder_edge.bench.latency import percentile
from lawder_edge.bench.memory import resident
from lawder_edge.video.frames import Segmented, Status

# So many latencies are kept, the newest: an hour at 30 fps would be 108 000, and memory has to stay constant.
_KEPT = 10_000
_FPS_OVER_S = 3.0
_EVERY_S = 0.5


@dataclass(frozen=True)
class Percentiles:
    """Of a duration in milliseconds, over the last 10 000 frames at most."""

    p50_ms: float = 0.0
    p95_ms: float = 0.0
    p99_ms: float = 0.0
    count: int = 0


def percentiles(values_ms: deque[float]) -> Percentiles:
    """values_ms: any number; of none all are 0."""
    if not values_ms:
        return Percentiles()
    ordered = sorted(values_ms)
    p50, p95, p99 = (percentile(ordered, q) for q in (50, 95, 99))
    return Percentiles(p50, p95, p99, len(ordered))


def _kept() -> deque[float]:
    return deque(maxlen=_KEPT)


@dataclass
class Durations:
    """What each stage took, in milliseconds, frame by frame. shown: from capture to the viewers."""

    pre: deque[float] = field(default_factory=_kept)
    infer: deque[float] = field(default_factory=_kept)
    post: deque[float] = field(default_factory=_kept)
    draw: deque[float] = field(default_factory=_kept)
    shown: deque[float] = field(default_factory=_kept)


class Meter:
    """Counts and times of one run. clock: monotonic seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.durations = Durations()
        self.shown = 0
        self.peak_memory_mb = 0.0
        self._clock = clock
        self._started_s = clock()
        self._times: deque[float] = deque()
        self._process = psutil.Process()
        self._cpu_s = self._busy_s()
        self._asked: tuple[float, float] = (self._started_s, self._cpu_s)
        self._status = Status()

    def note(self, segmented: Segmented, *, draw_ms: float) -> None:
        """A picture was just handed to its viewers."""
        now_s = self._clock()
        self.shown += 1
        self._times.append(now_s)
        while self._times[0] < now_s - _FPS_OVER_S:
            self._times.popleft()
        kept = self.durations
        kept.draw.append(draw_ms)
        kept.shown.append(1000 * (now_s - segmented.frame.captured_s))
        if segmented.infer_ms:
            kept.pre.append(segmented.pre_ms)
            kept.infer.append(segmented.infer_ms)
            kept.post.append(segmented.post_ms)

    def status(self, *, dropped: int, source: str) -> Status:
        """The figures now; those that take time to find are renewed twice a second."""
        now_s = self._clock()
        before_s, before_cpu_s = self._asked
        if now_s - before_s >= _EVERY_S or self._status.memory_mb == 0:
            cpu_s = self._busy_s()
            self._asked = now_s, cpu_s
            memory_mb = resident().now_bytes / 1e6
            self.peak_memory_mb = max(self.peak_memory_mb, memory_mb)
            shown = percentiles(self.durations.shown)
            self._status = Status(
                fps=self._rate(), latency_p50_ms=shown.p50_ms, latency_p95_ms=shown.p95_ms,
                latency_p99_ms=shown.p99_ms, cpu_percent=100 * (cpu_s - before_cpu_s) / max(now_s - before_s, 1e-3),
                memory_mb=memory_mb,
            )  # fmt: skip
        found = self._status
        return Status(
            found.fps, found.latency_p50_ms, found.latency_p95_ms, found.latency_p99_ms, dropped, found.cpu_percent,
            found.memory_mb, source,
        )  # fmt: skip

    @property
    def seconds(self) -> float:
        """Since it was made."""
        return self._clock() - self._started_s

    @property
    def cpu_percent(self) -> float:
        """Of this process over the whole run, 100 for one core."""
        return 100 * (self._busy_s() - self._cpu_s) / max(self.seconds, 1e-3)

    def _rate(self) -> float:
        if len(self._times) < 2:
            return 0.0
        return (len(self._times) - 1) / max(self._times[-1] - self._times[0], 1e-3)

    def _busy_s(self) -> float:
        times = self._process.cpu_times()
        return float(times.user + times.system)
