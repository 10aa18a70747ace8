"""Wall-clock latency of a call: first one apart, warm-up until steady, every sample kept."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

# Two neighbouring windows of this many calls whose medians differ by less than TOLERANCE count as steady.
WINDOW = 10
TOLERANCE = 0.03


@dataclass(frozen=True)
class LatencyRule:
    """How long to measure.

    min_iters calls and min_time_s seconds, both reached. Warm-up ends when it is steady after at least min_warmup
    calls, or at max_warmup calls or max_warmup_s seconds, whichever comes first.
    """

    min_iters: int = 50
    min_time_s: float = 2.0
    min_warmup: int = 2 * WINDOW
    max_warmup: int = 500
    max_warmup_s: float = 20.0


@dataclass(frozen=True)
class LatencyStats:
    """Latency of one call in milliseconds; nothing is clipped or left out of values_ms.

    first_ms: the very first call, which is in no other number. warmup_count: calls between it and the first counted
    one; steady: whether they ended because the latency had settled. stdev_ms: sample standard deviation. Percentiles
    interpolate linearly between samples. fps: 1000 / mean_ms, one call after the other.
    """

    first_ms: float
    warmup_count: int
    steady: bool
    count: int
    mean_ms: float
    stdev_ms: float
    p50_ms: float
    p90_ms: float
    p95_ms: float
    p99_ms: float
    fps: float
    values_ms: tuple[float, ...]


def percentile(ordered: Sequence[float], q: float) -> float:
    """ordered: ascending, at least one value. q in [0, 100]. Linear between neighbours, as numpy's default."""
    place = (len(ordered) - 1) * q / 100
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def is_steady(values: Sequence[float]) -> bool:
    """Whether the medians of the last two windows differ by less than TOLERANCE. False with fewer calls than that."""
    if len(values) < 2 * WINDOW:
        return False
    before, last = statistics.median(values[-2 * WINDOW : -WINDOW]), statistics.median(values[-WINDOW:])
    return abs(last - before) <= TOLERANCE * before


def summarize(values_ms: Sequence[float], *, first_ms: float, warmup_count: int, steady: bool) -> LatencyStats:
    """values_ms: at least one latency, in the order of measurement."""
    ordered = sorted(values_ms)
    mean = statistics.fmean(values_ms)
    return LatencyStats(
        first_ms=first_ms,
        warmup_count=warmup_count,
        steady=steady,
        count=len(values_ms),
        mean_ms=mean,
        stdev_ms=statistics.stdev(values_ms) if len(values_ms) > 1 else 0.0,
        p50_ms=percentile(ordered, 50),
        p90_ms=percentile(ordered, 90),
        p95_ms=percentile(ordered, 95),
        p99_ms=percentile(ordered, 99),
        fps=1000 / mean if mean > 0 else 0.0,
        values_ms=tuple(values_ms),
    )


def measure(
    call: Callable[[], object], rule: LatencyRule, *, clock_ns: Callable[[], int] = time.perf_counter_ns
) -> LatencyStats:
    """Time `call`, which must do all of its work before it returns.

    clock_ns: a monotonic clock in nanoseconds.
    """

    def one() -> float:
        start = clock_ns()
        call()
        return (clock_ns() - start) / 1e6

    first_ms = one()
    start = clock_ns()
    warmup: list[float] = []
    steady = False
    while not steady and len(warmup) < rule.max_warmup and clock_ns() - start < rule.max_warmup_s * 1e9:
        warmup.append(one())
        steady = len(warmup) >= rule.min_warmup and is_steady(warmup)

    start = clock_ns()
    values: list[float] = []
    while len(values) < max(rule.min_iters, 1) or clock_ns() - start < rule.min_time_s * 1e9:
        values.append(one())
    return summarize(values, first_ms=first_ms, warmup_count=len(warmup), steady=steady)
