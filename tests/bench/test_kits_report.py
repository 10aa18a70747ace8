"""Folds by patient, and the report on slices that are drawn here in the place of patients'."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from lawder_edge.data.datasets import find_samples
from lawder_edge.files import write_png


@pytest.fixture
def kits(benchmark_script: Callable[[str], ModuleType]) -> ModuleType:
    return benchmark_script("kits")


@pytest.fixture
def slices(tmp_path: Path) -> Path:
    """Two slices of each of eight patients, a kidney in each and a tumour in the first, in KiTS19's names."""
    folder = tmp_path / "kits19"
    for kind in ("images", "masks"):
        (folder / kind).mkdir(parents=True)
    for i in range(16):
        rng = np.random.default_rng(i)
        labels = np.zeros((48, 64), np.uint8)
        labels[8:24, 8:28] = 1
        if i % 2 == 0:
            labels[12:20, 12:20] = 2
        image = (labels * 80 + rng.integers(0, 40, labels.shape)).astype(np.uint8)
        name = f"case_{i // 2:05d}_slice{i % 2:03d}.png"
        write_png(folder / "images" / name, image)
        write_png(folder / "masks" / name, labels)
    return folder


def test_each_patient_is_tested_once_by_weights_that_never_saw_it(kits: ModuleType, slices: Path) -> None:
    folds = kits.folds_of(find_samples(slices), count=3, seed=0)
    assert sorted(s.id for _, test in folds for s in test) == [s.id for s in find_samples(slices)]
    for fit, test in folds:
        assert len(fit) + len(test) == 16
        assert not {s.group for s in fit} & {s.group for s in test}


def test_a_class_is_scored_where_it_is_there_and_told_where_it_is_claimed_all_the_same(kits: ModuleType) -> None:
    truth = np.zeros((4, 4), np.uint8)
    truth[:2] = 1
    predicted = truth.copy()
    predicted[0] = 2
    found = kits.score(0, "case_1", predicted, truth)
    assert found.dice == (1.0, pytest.approx(2 * 4 / (4 + 8)), None)
    assert found.false == (False, False, True)
    nothing = kits.score(1, "case_2", np.zeros_like(truth), truth)
    text = kits.document([found, nothing], kits.RECIPE, words="")
    assert "| 1 | 1 | 1 | 1 | 1.0000 [1.0000, 1.0000] | 1 | 0.6667 [0.6667, 0.6667] | 0 | - |" in text
    assert "| all | 2 | 2 | 2 | 0.5000 [0.0000, 1.0000] | 2 | 0.3333 [0.0000, 0.6667] | 0 | - |" in text
    assert "Claimed on slices that hold none: tumour on 1 of 2." in text


def test_a_finished_fold_is_not_trained_again_and_words_stay(kits: ModuleType, slices: Path, tmp_path: Path) -> None:
    out = tmp_path / "kits.md"
    given = ["--data", str(slices), "--work", str(tmp_path / "work"), "--out", str(out), "--folds", "2"]
    given += ["--schedule", "32x1", "--model", "mk_unet_t", "--threads", "1"]
    kits.main(given)
    first = out.read_text()
    assert [line.split(" | ")[1:3] for line in first.splitlines() if line[:3] in ("| 1", "| 2", "| a")] == [
        ["4", "8"], ["4", "8"], ["8", "16"]
    ]  # fmt: skip
    runs = [tmp_path / "work" / f"fold_{k}" / "last.safetensors" for k in (1, 2)]
    before = [run.read_bytes() for run in runs]
    out.write_text(first + "\n## What it says\n\nMine.\n")
    kits.main(given)
    assert [run.read_bytes() for run in runs] == before
    assert out.read_text() == first + "\n## What it says\n\nMine.\n"
