"""Latency with a clock that the test turns by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest

from lawder_edge.bench.latency import SETTLE, LatencyRule, WarmUp, is_steady, percentile, summarize, take_turn, warm_up
from lawder_edge.errors import BadInput


class Scripted:
    """A call whose duration in milliseconds is the next of a list, and the clock that shows it."""

    def __init__(self, durations: Callable[[int], float]) -> None:
        self.durations = durations
        self.calls = 0
        self.now_ns = 0

    def __call__(self) -> None:
        self.now_ns += int(self.durations(self.calls) * 1e6)
        self.calls += 1

    def clock(self) -> int:
        return self.now_ns


def test_the_first_call_is_told_apart() -> None:
    call = Scripted(lambda i: 900.0 if i == 0 else 5.0)
    assert warm_up(call, LatencyRule(), clock_ns=call.clock) == WarmUp(first_ms=900.0, count=20, steady=True)


def test_warm_up_goes_on_until_latency_has_settled() -> None:
    call = Scripted(lambda i: max(100.0 - i, 10.0))
    warm = warm_up(call, LatencyRule(), clock_ns=call.clock)
    assert warm.steady
    assert warm.count >= 90


def test_warm_up_that_never_settles_ends_and_says_so() -> None:
    call = Scripted(lambda i: 1.0 * 1.1**i)
    warm = warm_up(call, LatencyRule(max_warmup=40), clock_ns=call.clock)
    assert (warm.count, warm.steady) == (40, False)


def test_warm_up_of_a_slow_call_ends_by_time() -> None:
    call = Scripted(lambda i: 6000.0)
    warm = warm_up(call, LatencyRule(max_warmup_s=20), clock_ns=call.clock)
    assert (warm.count, warm.steady) == (4, False)


@pytest.mark.parametrize(
    ("min_iters", "min_time_s", "turns", "count"), [(7, 0.0, 1, 7), (7, 0.0, 3, 3), (3, 0.1, 1, 20), (3, 0.1, 2, 10)]
)
def test_a_turn_is_its_share_of_the_least_count_and_of_the_least_time(
    min_iters: int, min_time_s: float, turns: int, count: int
) -> None:
    call = Scripted(lambda i: 5.0)
    rule = LatencyRule(min_iters=min_iters, min_time_s=min_time_s, turns=turns)
    assert len(take_turn(call, rule, clock_ns=call.clock)) == count
    assert call.calls == count + SETTLE


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ({"min_iters": 0}, "0 calls measure nothing"),
        ({"turns": 0}, "0 turns measure nothing"),
        ({"min_time_s": -1.0}, "-1 s"),
        ({"min_time_s": float("nan")}, "nan s"),
    ],
)
def test_a_rule_that_measures_nothing_is_refused(rule: dict[str, float], said: str) -> None:
    with pytest.raises(BadInput, match=said):
        LatencyRule(**rule)  # type: ignore[arg-type]


def test_jitter_is_the_mean_step_between_calls_of_a_turn() -> None:
    stats = summarize([[10.0, 12.0, 11.0], [50.0, 50.0]], WarmUp(1.0, 0, True))
    assert stats.jitter_ms == pytest.approx((2 + 1 + 0) / 3)
    assert stats.turns_ms == (11.0, 50.0)


def test_outliers_stay_in_every_number() -> None:
    values = [10.0] * 98 + [1000.0, 2000.0]
    stats = summarize([values[:50], values[50:]], WarmUp(1.0, 0, True))
    assert stats.values_ms == tuple(values)
    assert stats.mean_ms == pytest.approx(np.mean(values))
    assert stats.stdev_ms == pytest.approx(np.std(values, ddof=1))
    assert stats.fps == pytest.approx(1000 / np.mean(values))
    assert stats.p50_ms == 10.0
    assert stats.p99_ms > 1000.0


@pytest.mark.parametrize("q", [0, 50, 90, 95, 99, 100])
def test_percentiles_are_those_of_numpy(q: float) -> None:
    values = sorted(np.random.default_rng(1).exponential(size=37))
    assert percentile(values, q) == pytest.approx(np.percentile(values, q))


def test_a_single_value_has_no_spread() -> None:
    stats = summarize([[4.0]], WarmUp(9.0, 0, False))
    assert (stats.stdev_ms, stats.p50_ms, stats.p99_ms) == (0.0, 4.0, 4.0)


def test_too_few_calls_are_never_steady() -> None:
    assert not is_steady([5.0] * 19)
    assert is_steady([5.0] * 20)


def _noisy() -> Iterator[float]:
    rng = np.random.default_rng(0)
    while True:
        yield 10 * (1 + 0.01 * rng.standard_normal())


def test_small_noise_counts_as_steady() -> None:
    noise = _noisy()
    assert is_steady([next(noise) for _ in range(20)])
