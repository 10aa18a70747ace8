from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from lawder_edge.errors import BadInput


@pytest.fixture
def law(benchmark_script: Callable[[str], ModuleType]) -> ModuleType:
    return benchmark_script("law")


@pytest.fixture
def report(benchmark_script: Callable[[str], ModuleType]) -> ModuleType:
    return benchmark_script("law_report")


@pytest.fixture
def records(law: ModuleType) -> ModuleType:
    """The module that the scripts share."""
    return sys.modules["law_runs"]


def stages(law: ModuleType, part: Any, *, work: Path = Path("W"), **choice: Any) -> Any:
    """The commands of a part, of all its runs unless `choice` leaves some out."""
    chosen = law.chosen_runs(part, **{"known": (), "only": (), **choice})
    return law.stages(part, law.CPU, data=Path("D"), work=work, chosen=chosen)


def option(argv: tuple[str, ...], name: str) -> str:
    return argv[argv.index(name) + 1]


@pytest.mark.parametrize("place", range(3))
def test_every_stage_reads_what_an_earlier_one_wrote(law: ModuleType, place: int) -> None:
    plan = stages(law, law.PARTS[place])
    assert len({stage.name for stage in plan}) == len(plan)
    written: set[Path] = set()
    for stage in plan:
        read = [Path(a) for a in stage.argv if a.startswith("W/") and a != option((*stage.argv, "--out", ""), "--out")]
        assert all(any(p == out or out in p.parents for out in written) for p in read), stage
        if "--out" in stage.argv:
            written.add(Path(option(stage.argv, "--out")))


@pytest.mark.parametrize("place", range(3))
def test_arms_of_a_seed_differ_in_nothing_but_the_arm(law: ModuleType, place: int) -> None:
    part = law.PARTS[place]
    plan = stages(law, part)
    for seed in law.SEEDS:
        kinds: dict[str, set[str]] = {}
        for arm in part.arms:
            for stage in plan:
                run, _, kind = stage.name.partition(" ")
                if run == f"{arm}-{seed}":
                    named = " ".join(law.ARM_OPTIONS.get(arm, (arm,)))
                    alike = " ".join(stage.argv).replace(run, "RUN").replace(f"--arm {named} ", "--arm ARM ")
                    kinds.setdefault(kind, set()).add(alike)
        assert len(kinds) == 6
        assert all(len(commands) == 1 for commands in kinds.values())


def test_what_the_package_carries_draws_for_the_same_masks_without_a_training(law: ModuleType) -> None:
    part = law.PARTS[1]
    plan = stages(law, part, only=["carried-2", "law-2"])
    alone = stages(law, part, only=["carried-2"])
    assert [stage.name for stage in alone] == [
        f"carried-2 {what}" for what in ("pictures", "score", "ORDER", "test 1", "test 2")
    ]
    carried, law2 = (next(s.argv for s in plan if s.name == f"{arm}-2 pictures") for arm in ("carried", "law"))
    place = law2.index("--model")
    without = law2[:place] + law2[place + 2 :]
    assert carried == tuple(word.replace("law-2", "carried-2") for word in without)


def test_orders_trainings_with_and_without_synthetic_pictures_are_equal_in_steps(law: ModuleType) -> None:
    # A tenth is held out for validation, by whole sequences where they are known; an incomplete batch is left out.
    for part, real in zip(law.PARTS, (1301, 90, 90), strict=True):
        alone, mixed = (passes * (n // 12) for passes, n in zip(part.passes, (real, real + part.per_pass), strict=True))
        assert mixed == pytest.approx(alone, rel=0.03)


def test_the_lists_of_100_are_disjoint(project_root: Path) -> None:
    lists = [(project_root / "benchmarks" / "splits" / f"kvasir_100_{x}.txt").read_text().split() for x in "ab"]
    assert [len(set(found)) for found in lists] == [100, 100]
    assert not set(lists[0]) & set(lists[1])


def few(records: ModuleType, name: str, *, size: int = 128, judge: str = "order (0123)") -> Any:
    """Two seeds of three arms; the second list is not measured. Dice depends on the part too."""

    def score(value: float) -> Any:
        return records.Score(
            "Some-Net", judge, *[value] * 6, fidelity=0.7 + value, fidelity_real=0.9, memorised=2, pictures=400
        )

    level = 0.6 + 0.1 * (name == "few-b")
    runs = [
        records.Run(name, arm, seed, (level + gain + 0.01 * seed, None), None if kid is None else score(kid))
        for arm, gain, kid in (("real", 0.0, None), ("uniform", 0.02, 0.02), ("law", 0.05, 0.01))
        for seed in (1, 2)
    ]
    scale = records.Scale(size, 4000, 2000, 1250, 1000, 400, 15, ("--threads", "1"))
    return records.PartRuns(name, scale, ("near", "far"), tuple(runs))


def test_a_part_is_read_as_it_was_written(records: ModuleType) -> None:
    part = few(records, "few-a")
    assert records.PartRuns.from_json(part.to_json()) == part


def test_differences_are_paired_by_part_and_seed(report: ModuleType, records: ModuleType) -> None:
    runs = [r for name in ("few-a", "few-b") for r in few(records, name).runs]
    found = report.difference(runs, "law", "uniform", report.dice_on(0))
    assert found.runs == 4
    assert found.mean == pytest.approx(0.03)
    assert found.sd == pytest.approx(0, abs=1e-12)
    assert report.difference(runs, "law", "uniform", report.dice_on(1)) is None
    assert report.difference(runs, "law", "ratio", report.dice_on(0)) is None
    assert "+3.0 in few-a, +3.0 in few-b" in report.endpoint(runs)
    assert "over 4 pairs" in report.endpoint(runs)


def test_arms_without_two_pairs_have_no_row_among_the_differences(report: ModuleType, records: ModuleType) -> None:
    runs = few(records, "few-a").runs
    found = report.differences(runs, ("here", "elsewhere"))
    pairs = [line.split(" |")[0] for line in found.splitlines()[2:]]
    assert pairs == ["| law less uniform", "| uniform less real", "| law less real"]
    assert report.differences(runs[:1], ("here", "elsewhere")) == "Of no two arms are there two pairs yet.\n"


def test_parts_of_several_scales_are_no_table(report: ModuleType, records: ModuleType) -> None:
    with pytest.raises(BadInput, match="2 scales"):
        report.document([few(records, "few-a"), few(records, "few-b", size=256)], words="")


def test_scores_of_several_judges_are_no_table(report: ModuleType, records: ModuleType) -> None:
    with pytest.raises(BadInput, match=r"order \(0123\) and by Some-Net, order \(4567\)"):
        report.document([few(records, "few-a"), few(records, "few-b", judge="order (4567)")], words="")
    assert "order (0123)" in report.document([few(records, "few-a"), few(records, "few-b")], words="")


def test_numbers_are_gathered_from_the_files_that_the_stages_write(law: ModuleType, tmp_path: Path) -> None:
    part = law.PARTS[1]
    score = {
        "features": "Some-Net",
        "distances": [
            {"view": view, "to_held": {"mean": 0.2}, "floor": {"mean": 0.1}, "frechet_to_held": 3.0}
            for view in ("frame", "lesion crop")
        ],
        "fidelity": {"judge": "order (0123)", "synthetic": {"mean": 0.7}, "held_out": {"mean": 0.8}},
        "memorised": {"flagged": [1, 2]},
        "synthetic": 400,
    }
    for number, stage in enumerate(stages(law, part, work=tmp_path)):
        if stage.file is not None:
            stage.file.parent.mkdir(parents=True, exist_ok=True)
            found = score if "score" in stage.argv else {"dice": {"mean": number / 1000}}
            stage.file.write_text(json.dumps(found))
    runs = law.gathered(part, law.CPU, work=tmp_path).runs
    assert len({(run.arm, run.seed) for run in runs}) == len(runs) == 3 + 15 + 3
    assert len({dice for run in runs for dice in run.dice}) == 2 * len(runs)
    assert all((run.score is None) == (run.arm == "real") for run in runs)


def test_complete_runs_of_the_report_are_not_repeated(law: ModuleType, records: ModuleType, tmp_path: Path) -> None:
    part = law.PARTS[1]
    runs = [
        records.Run(r.part, r.arm, r.seed, (0.5, None if (r.arm, r.seed) == ("law", 2) else 0.5), r.score)
        for r in few(records, part.name).runs
    ]
    before = records.PartRuns(part.name, law.CPU, ("near", "far"), tuple(runs))
    text = records.parts_to_json([before])
    known = law.complete_runs(text, part, law.CPU)
    assert {(r.arm, r.seed) for r in known} == {(a, s) for a in ("real", "uniform", "law") for s in (1, 2)} - {
        ("law", 2)
    }
    plan = stages(law, part, known={(r.arm, r.seed) for r in known})
    whole = stages(law, part)
    of = {f"{r.arm}-{r.seed}" for r in known}
    assert [s for s in whole if s.name.split()[0] not in of] == plan
    assert "base generator" in {s.name for s in plan}
    found = law.gathered(part, law.CPU, work=tmp_path, known=known).runs
    assert {r for r in found if r.begun} == set(known)
    everything = {("real", s) for s in law.SEEDS} | set(part.runs())
    assert stages(law, part, known=everything) == []
    with pytest.raises(BadInput, match="another scale"):
        law.complete_runs(text, part, law.GPU)


def test_single_runs_are_the_stages_that_the_whole_part_has_for_them(law: ModuleType) -> None:
    part = law.PARTS[2]
    plan = stages(law, part, only=("law-2", "real-1"))
    whole = [s for s in stages(law, part) if s.name.split()[0] in ("base", "law-2", "real-1")]
    assert sorted(plan, key=lambda s: s.name) == sorted(whole, key=lambda s: s.name)
    assert "base generator" not in {s.name for s in stages(law, part, only=("real-1",))}
    assert stages(law, part, only=("law-2",), known={("law", 2)}) == []
    with pytest.raises(BadInput, match=r"no run lw-2; wanted of real-1, .*law-2"):
        stages(law, part, only=("lw-2",))


def test_parts_of_two_precisions_stand_in_one_table_that_tells_them(report: ModuleType, records: ModuleType) -> None:
    parts = [few(records, "few-a"), few(records, "few-b")]
    options = ("--threads", "1", "--mixed-precision", "bf16")
    parts[0] = dataclasses.replace(parts[0], scale=dataclasses.replace(parts[0].scale, options=options))
    assert "Trainings were of `few-a` in bfloat16, `few-b` in float32" in report.document(parts, words="")


def test_the_report_has_a_row_an_arm_and_keeps_the_words_below(
    report: ModuleType, records: ModuleType, tmp_path: Path
) -> None:
    file = tmp_path / "few-a.json"
    file.write_text(few(records, "few-a").to_json())
    report.main([str(file), "--out", str(tmp_path)])
    text = (tmp_path / "law.md").read_text()
    (tmp_path / "law.md").write_text(text + "\n## What it says\n\nNothing yet.\n")
    report.main([str(file), "--out", str(tmp_path)])
    again = (tmp_path / "law.md").read_text()
    assert again == text + "\n## What it says\n\nNothing yet.\n"
    assert "| law | 2 | 10.0 (0.0) | 10.0 (0.0) | 0.0 (0.0) | 0.710 (0.000) | 0.5 (0.0) | 0.665 (0.007) | - |" in text
    kid = "-10.0 [-10.0, -10.0] (2)"
    changes = f"+3.0 [+3.0, +3.0] (2) | - | {kid} | {kid} | -50 [-50, -50] (2) | -1.0 [-1.0, -1.0] (2)"
    assert f"| law less uniform | {changes} |" in text
    assert "a base of 4,000 steps" in text
    assert (tmp_path / "law.svg").read_text().count("<circle") == 4
