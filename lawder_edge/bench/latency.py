"""Wall-clock latency of a call: first one apart, warm-up until steady, then turns; every counted sample is kept."""

from __future__ import annotations

import itertools
import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from lawder_edge.errors import BadInput

T = TypeVar("T")

# Two neighbouring windows of this many calls whose medians differ by less than TOLERANCE count as steady.
WINDOW = 10
TOLERANCE = 0.03


# Calls at the start of a turn that are not counted: caches hold what ran before.
SETTLE = 2


@dataclass(frozen=True)
class LatencyRule:
    """How long to measure.

    min_iters calls and min_time_s seconds, both reached, in `turns` turns. Warm-up ends when it is steady after at
    least min_warmup calls, or at max_warmup calls or max_warmup_s seconds, whichever comes first.

    Raises BadInput for no call at all, no turn, or a time that is negative or not finite.
    """

    min_iters: int = 50
    min_time_s: float = 1.0
    turns: int = 10
    min_warmup: int = 2 * WINDOW
    max_warmup: int = 500
    max_warmup_s: float = 20.0

    def __post_init__(self) -> None:
        if self.min_iters < 1:
            raise BadInput(f"{self.min_iters} calls measure nothing; wanted at least 1 (--min-iters).")
        if self.turns < 1:
            raise BadInput(f"{self.turns} turns measure nothing; wanted at least 1 (--turns).")
        if not (math.isfinite(self.min_time_s) and self.min_time_s >= 0):
            raise BadInput(f"{self.min_time_s:g} s cannot be measured for; wanted 0 or more (--min-time).")


@dataclass(frozen=True)
class LatencyStats:
    """Latency of one call in milliseconds; nothing is clipped or left out of values_ms.

    first_ms: the very first call, which is in no other number. warmup_count: calls between it and the first counted
    one; steady: whether they ended because the latency had settled. stdev_ms: sample standard deviation. jitter_ms:
    mean difference of a call from the one before. Percentiles interpolate linearly between samples. fps: 1000 /
    mean_ms, one call after the other. turns_ms: the median of each turn.
    """

    first_ms: float
    warmup_count: int
    steady: bool
    count: int
    mean_ms: float
    stdev_ms: float
    jitter_ms: float
    p50_ms: float
    p90_ms: float
    p95_ms: float
    p99_ms: float
    fps: float
    turns_ms: tuple[float, ...]
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


@dataclass(frozen=True)
class WarmUp:
    """What came before the first counted call; see LatencyStats."""

    first_ms: float
    count: int
    steady: bool


def summarize(turns_ms: Sequence[Sequence[float]], warm: WarmUp) -> LatencyStats:
    """turns_ms: at least one turn of at least one latency, in the order of measurement."""
    values_ms = [value for turn in turns_ms for value in turn]
    ordered = sorted(values_ms)
    mean = statistics.fmean(values_ms)
    steps = [abs(b - a) for turn in turns_ms for a, b in itertools.pairwise(turn)]
    return LatencyStats(
        first_ms=warm.first_ms,
        warmup_count=warm.count,
        steady=warm.steady,
        count=len(values_ms),
        mean_ms=mean,
        stdev_ms=statistics.stdev(values_ms) if len(values_ms) > 1 else 0.0,
        jitter_ms=statistics.fmean(steps) if steps else 0.0,
        p50_ms=percentile(ordered, 50),
        p90_ms=percentile(ordered, 90),
        p95_ms=percentile(ordered, 95),
        p99_ms=percentile(ordered, 99),
        fps=1000 / mean if mean > 0 else 0.0,
        turns_ms=tuple(statistics.median(turn) for turn in turns_ms),
        values_ms=tuple(values_ms),
    )


def warm_up(
    call: Callable[[], object], rule: LatencyRule, *, clock_ns: Callable[[], int] = time.perf_counter_ns
) -> WarmUp:
    """Call until the latency has settled. clock_ns: a monotonic clock in nanoseconds."""
    first_ms = _timed(call, clock_ns)
    start = clock_ns()
    values: list[float] = []
    steady = False
    while not steady and len(values) < rule.max_warmup and clock_ns() - start < rule.max_warmup_s * 1e9:
        values.append(_timed(call, clock_ns))
        steady = len(values) >= rule.min_warmup and is_steady(values)
    return WarmUp(first_ms, len(values), steady)


def take_turn(
    call: Callable[[], T], rule: LatencyRule, *, clock_ns: Callable[[], int] = time.perf_counter_ns
) -> list[T]:
    """What `call`, which must do all of its work before it returns, returned in one of the rule's turns."""
    for _ in range(SETTLE):
        call()
    calls, seconds = -(-rule.min_iters // rule.turns), rule.min_time_s / rule.turns
    start = clock_ns()
    values: list[T] = []
    while len(values) < calls or clock_ns() - start < seconds * 1e9:
        values.append(call())
    return values


def _timed(call: Callable[[], object], clock_ns: Callable[[], int]) -> float:
    start = clock_ns()
    call()
    return (clock_ns() - start) / 1e6
