from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture
def script(benchmark_script: Callable[[str], ModuleType]) -> ModuleType:
    return benchmark_script("paired_seeds")


def test_networks_of_a_seed_are_trained_alike(script: ModuleType) -> None:
    plan = script.stages(("a", "b"), (0, 1), data=Path("D"), work=Path("W"))
    assert [stage.name for stage in plan[:6]] == [
        *("a 0", "a 0 on kvasir", "a 0 on clinicdb"),
        *("b 0", "b 0 on kvasir", "b 0 on clinicdb"),
    ]
    first, second = ([w.replace(f"W/{n}-0", "OUT") for w in plan[i].argv] for n, i in (("a", 0), ("b", 3)))
    assert [pair for pair in zip(first, second, strict=True) if pair[0] != pair[1]] == [("a", "b")]


def test_what_is_done_is_told_by_seed(script: ModuleType, tmp_path: Path) -> None:
    for network, seed, dice in (("a", 0, 0.7), ("a", 1, 0.8), ("a", 2, 0.9), ("b", 0, 0.65), ("b", 1, 0.73)):
        home = script.folder(tmp_path, network, seed)
        home.mkdir()
        (home / "kvasir.json").write_text(json.dumps({"dice": {"mean": dice}}))
    found = script.found_in(tmp_path, ("a", "b"), (0, 1, 2))
    gap = script.compared(found, "a", "b", "kvasir", seeds=(0, 1, 2))
    assert (gap.runs, gap.mean) == (2, pytest.approx(0.06))
    text = script.table(found, ("a", "b"), (0, 1, 2))
    assert "| a | 0.800 (0.100), 3 seeds | - | - | - |" in text
    assert "| b | 0.690 (0.057), 2 seeds | +6.0 [-6.7, +18.7] | - | - |" in text
