"""What benchmarks/throughput.py makes of the times of steps."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import pytest


@pytest.fixture(scope="module")
def throughput(benchmark_script: Callable[[str], ModuleType]) -> ModuleType:
    return benchmark_script("throughput")


def test_a_checkpoint_that_each_measured_step_writes_counts_by_its_share_of_a_run(throughput: ModuleType) -> None:
    times = throughput.Times(pictures=10, checkpoint_every=50)
    times.add(throughput.Step(whole_s=0.75, data_s=0.05, kept_s=0.5))
    assert times.whole == pytest.approx([(250 + 500 / 50) / 10])
    assert times.network == pytest.approx([(250 - 50) / 10])


def test_a_clocked_function_gives_what_it_gave_and_its_time_once(throughput: ModuleType) -> None:
    clocked = throughput.Clocked(lambda n, *, by: sum(range(n)) * by)
    assert clocked(100_000, by=2) == 2 * sum(range(100_000))
    assert clocked.take() > 0
    assert clocked.take() == 0
