from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from lawder_edge.errors import BadInput


@pytest.fixture
def script(benchmark_script: Callable[[str], ModuleType]) -> ModuleType:
    return benchmark_script("paired_seeds")


def test_rows_of_a_seed_are_trained_alike(script: ModuleType) -> None:
    study = script.STUDIES[0]
    plan = script.stages(study, data=Path("D"), work=Path("W"), known={})
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


def test_a_network_of_the_benchmarks_is_named_where_its_weights_are_tested(script: ModuleType) -> None:
    plan = script.stages(script.STUDIES[0], data=Path("D"), work=Path("W"), known={})
    tested = {stage.name: stage.argv[2] for stage in plan if stage.argv[0] == "eval"}
    assert tested["variants:NoAdapters 0 on kvasir"] == "variants:NoAdapters=W/variants_NoAdapters-0/best.safetensors"
    assert tested["order 0 on kvasir"] == "W/order-0/best.safetensors"


def test_every_row_has_a_folder_of_its_own(script: ModuleType) -> None:
    for study in script.STUDIES:
        folders = [script.folder(Path("W"), row, seed) for row in study.rows for seed in study.seeds]
        assert len(set(folders)) == len(folders)


def test_what_is_done_is_told_by_seed(script: ModuleType, tmp_path: Path) -> None:
    study = dataclasses.replace(
        script.STUDIES[0], rows=(script.Trained("a"), script.Trained("b", "b")), seeds=(0, 1, 2)
    )
    for place, seed, dice in ((0, 0, 0.7), (0, 1, 0.8), (0, 2, 0.9), (1, 0, 0.65), (1, 1, 0.73)):
        home = script.folder(tmp_path, study.rows[place], seed)
        home.mkdir()
        (home / "kvasir.json").write_text(json.dumps({"dice": {"mean": dice}}))
    dice = script.gathered(study, work=tmp_path, known={})
    gap = script.compared(study, study.rows[1], study.tests[0], dice=dice)
    assert (gap.runs, gap.mean) == (2, pytest.approx(0.06))
    text = script.document(study, dice=dice, words="\n## What it says\n\nNothing.\n")
    assert "| a | 0.800 (0.100), 3 seeds | - | - | - |" in text
    assert "| b | 0.690 (0.057), 2 seeds | +6.0 [-6.7, +18.7] | - | - |\n\n## What it says\n\nNothing.\n" in text


def test_runs_whose_numbers_are_kept_are_not_repeated(script: ModuleType, tmp_path: Path) -> None:
    study = script.STUDIES[0]
    first, second = study.rows[:2]
    dice = {(first.name, 0, test.key): 0.7 for test in study.tests} | {(second.name, 0, "kvasir"): 0.6}
    text = script.to_json(study, dice)
    known = script.from_json(text, study)
    assert known == dice
    whole = script.stages(study, data=Path("D"), work=tmp_path, known={})
    left = script.stages(study, data=Path("D"), work=tmp_path, known=known)
    # The second row lacks a test, for which its training is needed.
    assert [stage.name for stage in whole if stage not in left] == [
        "order 0",
        "order 0 on kvasir",
        "order 0 on clinicdb",
    ]
    assert script.gathered(study, work=tmp_path, known=known) == dice
    with pytest.raises(BadInput, match="another recipe"):
        script.from_json(text, script.STUDIES[1])
