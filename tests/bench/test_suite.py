"""The suite of baselines names what exists, and every target."""

from __future__ import annotations

import dataclasses
import importlib.util
import tomllib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from lawder_edge.bench.flops import count
from lawder_edge.bench.rows import Measured, Row
from lawder_edge.models import MODELS
from lawder_edge.targets.registry import targets


@pytest.fixture(scope="module")
def baselines(benchmark_script: Callable[[str], ModuleType]) -> ModuleType:
    return benchmark_script("baselines")


def test_every_row_names_a_network_weights_and_a_way_that_exist(baselines: ModuleType) -> None:
    suite = tomllib.loads((baselines.HERE / "suites" / "baselines.toml").read_text())
    rows = [baselines.SuiteRow(**row) for row in suite["row"]]
    assert len({row.name for row in rows}) == len(rows)
    for row in rows:
        assert row.model in {*MODELS, "nnunet"}
        assert row.how in {*targets(), "usual", "pytorch"}
        assert not row.weights or (baselines.HERE / row.weights).is_file()
        assert row.how in ("usual", "pytorch") or row.precision in targets()[row.how].precisions
    assert {row.how for row in rows} == {*targets(), "usual", "pytorch"}


def test_the_usual_export_is_opened_in_a_default_session_and_measured(baselines: ModuleType, tmp_path: Path) -> None:
    from lawder_edge.bench.latency import LatencyRule
    from lawder_edge.bench.rows import Answer, BenchSpec
    from lawder_edge.bench.worker import Task, run_task

    file = tmp_path / "unet-usual.onnx"
    baselines.export_usual(baselines.SuiteRow("unet-usual", "unet", "usual"), file, (64, 96))
    rule = LatencyRule(min_iters=2, min_time_s=0, turns=1, min_warmup=0, max_warmup=0)
    said: list[Answer] = []
    task = Task(str(file), BenchSpec(frame=(48, 64), rule=rule))
    run_task(task, ["turn", "end"], said.append, baselines.load_baseline)
    assert said[-1].row is not None
    measured = said[-1].row.measured
    assert measured is not None, said[-1].row.reason
    assert measured.size == (64, 96)
    assert measured.artifact.model == "unet"


def test_a_network_that_the_bench_does_not_know_is_counted_from_the_module_that_was_exported(
    baselines: ModuleType, measured: Measured
) -> None:
    made = baselines.SuiteRow("net-usual", "unet", "usual")
    counted = Row("known", "ok", measured=measured)
    assert baselines.counted(counted, made) == counted
    row = Row("unknown", "ok", measured=dataclasses.replace(measured, static=None, size=(64, 64)))
    found = baselines.counted(row, made).measured
    assert found.static == count(baselines.module_of(made), (64, 64)).static
    assert found.static.params == MODELS["unet"].params


def test_a_network_whose_package_is_not_here_is_told_how_to_get(
    baselines: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lawder_edge.errors import Unavailable

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(Unavailable, match="pip install --no-deps dynamic-network-architectures"):
        baselines.nnunet()
