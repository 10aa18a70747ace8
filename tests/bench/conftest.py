"""A runner that costs nothing, and rows made of it."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from lawder_edge.bench.latency import LatencyRule, summarize
from lawder_edge.bench.machine import Machine
from lawder_edge.bench.memory import PeakMemory
from lawder_edge.bench.rows import Artifact, BenchReport, BenchSpec, Measured, Row
from lawder_edge.bundle.runner import Runner

QUICK = BenchSpec(frame=(48, 64), rule=LatencyRule(min_iters=3, min_time_s=0, min_warmup=0, max_warmup=0), timeout_s=60)


class FakeRunner(Runner):
    """Gives zeros, and remembers the shapes that it was called with."""

    def __init__(self, size: tuple[int, int] = (32, 32)) -> None:
        super().__init__(size=size)
        self.shapes: list[tuple[int, ...]] = []

    def infer(self, tensor: NDArray[np.float32]) -> NDArray[np.float32]:
        self.shapes.append(tensor.shape)
        return np.zeros((tensor.shape[0], 1, *tensor.shape[2:]), np.float32)


@pytest.fixture
def runner() -> FakeRunner:
    return FakeRunner()


@pytest.fixture
def quick() -> BenchSpec:
    """The fewest calls that there can be."""
    return QUICK


@pytest.fixture
def artifact() -> Artifact:
    return Artifact("fakert 1.0", "unet", "fp32", "model.fake", "ab" * 32, 1234)


@pytest.fixture
def measured(artifact: Artifact) -> Measured:
    stats = summarize([4.0, 5.0, 6.0], first_ms=50.0, warmup_count=20, steady=True)
    return Measured(
        artifact=artifact,
        size=(256, 256),
        channels=3,
        params=42_016,
        macs=52_940_336,
        load_ms=123.0,
        infer=stats,
        frame=stats,
        memory=PeakMemory(baseline_bytes=30_000_000, peak_bytes=50_000_000),
    )


@pytest.fixture
def bench_report(machine: Machine, measured: Measured) -> BenchReport:
    """One row that was measured, one that crashed."""
    rows = (
        Row("good", "ok", measured=measured),
        Row("bad", "failed", "its process was killed by SIGSEGV", 1, log="Fatal Python error"),
    )
    return BenchReport(machine, QUICK, rows, warnings=("something | doubtful",))
