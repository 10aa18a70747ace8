"""Ratios of rows that took turns."""

from __future__ import annotations

import pytest

from lawder_edge.bench.ratios import ratio


def test_a_machine_that_slows_down_for_both_rows_does_not_move_the_ratio() -> None:
    drift = [1.0, 1.3, 2.0, 4.0, 3.0]
    found = ratio("fast", "slow", [10 * d for d in drift], [15 * d for d in drift])
    assert (found.median, found.low, found.high) == pytest.approx((1.5, 1.5, 1.5))


def test_the_interval_holds_the_median_and_widens_with_the_spread() -> None:
    found = ratio("a", "b", [1.0] * 8, [1.0, 1.1, 1.2, 1.5, 1.6, 1.8, 2.0, 2.2])
    assert found.low < found.median < found.high
    assert found.low >= 1.0
    assert found.high <= 2.2
    assert found == ratio("a", "b", [1.0] * 8, [1.0, 1.1, 1.2, 1.5, 1.6, 1.8, 2.0, 2.2])
