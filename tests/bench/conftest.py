"""A runner that costs nothing, and rows made of it."""

from __future__ import annotations

import dataclasses
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from numpy.typing import NDArray

from lawder_edge.bench.latency import LatencyRule, WarmUp, summarize
from lawder_edge.bench.machine import Machine
from lawder_edge.bench.memory import PeakMemory
from lawder_edge.bench.rows import (
    Accuracy,
    Artifact,
    BenchReport,
    BenchSpec,
    Measured,
    Noise,
    Ratio,
    Roof,
    Row,
    Static,
)
from lawder_edge.bundle.runner import Runner

QUICK = BenchSpec(
    frame=(48, 64), rule=LatencyRule(min_iters=3, min_time_s=0, turns=1, min_warmup=0, max_warmup=0), timeout_s=60
)


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
    accuracy = Accuracy("certified", "8 phantom frames", 0.81, 0.01, 0.99, 0.97)
    return Artifact("fakert 1.0", "unet", "fp32", "model.fake", "ab" * 32, 1234, accuracy)


@pytest.fixture
def measured(artifact: Artifact) -> Measured:
    stats = summarize([[4.0, 5.0], [6.0]], WarmUp(first_ms=50.0, count=20, steady=True))
    return Measured(
        artifact=artifact,
        size=(256, 256),
        channels=3,
        classes=1,
        static=Static(params=42_016, macs=52_940_336, activations=1_000_000, moved=2_000_000, peak_activations=500_000),
        load_ms=123.0,
        infer=stats,
        cpu=stats,
        pre=stats,
        post=stats,
        frame=stats,
        memory=PeakMemory(baseline_bytes=30_000_000, peak_bytes=50_000_000),
    )


QUIET = Noise(busy_percent=2.0, p50_ms=1.0, p95_ms=1.04, count=50, mhz=(2400.0, 2600.0), throttled=0)


@pytest.fixture
def quiet() -> Noise:
    return QUIET


@pytest.fixture
def bench_report(machine: Machine, measured: Measured) -> BenchReport:
    """One row that was measured, a faster one of less accuracy, one that crashed."""
    stats = summarize([[2.0, 2.5], [3.0]], WarmUp(first_ms=20.0, count=20, steady=True))
    worse = dataclasses.replace(
        measured.artifact, accuracy=Accuracy("certified", "8 phantom frames", 0.7, 0.1, 0.9, 0.8)
    )
    fast = dataclasses.replace(measured, artifact=worse, infer=stats, frame=stats)
    rows = (
        Row("good", "ok", measured=measured),
        Row("fast", "ok", measured=fast),
        Row("bad", "failed", "its process was killed by SIGSEGV", 1, log="Fatal Python error"),
    )
    ratios = (Ratio("fast", "good", "infer", 2.0, 1.9, 2.1), Ratio("fast", "good", "cpu", 2.5, 2.4, 2.6))
    return BenchReport(machine, QUICK, QUIET, Roof(100.0, 10.0), rows, ratios, warnings=("something | doubtful",))


@pytest.fixture(scope="session")
def benchmark_script(project_root: Path) -> Callable[[str], ModuleType]:
    """A script of benchmarks/ as a module, by its name. It finds its neighbours, as where it is called."""

    def load(name: str) -> ModuleType:
        spec = importlib.util.spec_from_file_location(name, project_root / "benchmarks" / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module  # dataclasses look their module up
        with pytest.MonkeyPatch.context() as patch:
            patch.syspath_prepend(project_root / "benchmarks")
            spec.loader.exec_module(module)
        return module

    return load
