from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture
def script(benchmark_script: Callable[[str], ModuleType]) -> ModuleType:
    return benchmark_script("paired_seeds")


def test_rows_of_a_seed_are_trained_alike(script: ModuleType) -> None:
    study = script.STUDIES[0]
    plan = script.stages(study, data=Path("D"), work=Path("W"))
    rows = [stage for stage in plan if stage.argv[0] == "train" and "-3" in stage.argv[stage.argv.index("--out") + 1]]
    assert len(rows) == len(study.rows)
    without = []
    for row, stage in zip(study.rows, rows, strict=True):
        out = str(script.folder(Path("W"), row, 3))
        without.append(["OUT" if w == out else "NAME" if w == row.name else w for w in stage.argv])
    assert all(words == without[0] for words in without)


def test_recipes_are_not_measured_where_they_may_not_be_chosen(script: ModuleType) -> None:
    study = script.STUDIES[1]
    assert [test.splits for test in study.tests] == [("clinicdb_sequences_01_15.txt",)]


def test_every_row_has_a_folder_of_its_own(script: ModuleType) -> None:
    for study in script.STUDIES:
        folders = [script.folder(Path("W"), row, seed) for row in study.rows for seed in study.seeds]
        assert len(set(folders)) == len(folders)


def test_what_is_done_is_told_by_seed(script: ModuleType, tmp_path: Path) -> None:
    study = dataclasses.replace(
        script.STUDIES[0], rows=(script.Trained("a", ()), script.Trained("b", ("--model", "b"))), seeds=(0, 1, 2)
    )
    for place, seed, dice in ((0, 0, 0.7), (0, 1, 0.8), (0, 2, 0.9), (1, 0, 0.65), (1, 1, 0.73)):
        home = script.folder(tmp_path, study.rows[place], seed)
        home.mkdir()
        (home / "kvasir.json").write_text(json.dumps({"dice": {"mean": dice}}))
    gap = script.compared(study, study.rows[1], study.tests[0], work=tmp_path)
    assert (gap.runs, gap.mean) == (2, pytest.approx(0.06))
    text = script.document(study, work=tmp_path, words="\n## What it says\n\nNothing.\n")
    assert "| a | 0.800 (0.100), 3 seeds | - | - | - |" in text
    assert "| b | 0.690 (0.057), 2 seeds | +6.0 [-6.7, +18.7] | - | - |\n\n## What it says\n\nNothing.\n" in text
