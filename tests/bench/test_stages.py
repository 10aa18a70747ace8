from __future__ import annotations

import subprocess
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from lawder_edge.bench.stages import OtherExperiment, Stage, StageFailed, run_stages, split_file


def test_a_call_goes_on_after_the_stage_that_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[list[str]] = []
    codes = [0, 3, 0, 0]

    def run(argv: list[str], **_: Any) -> CompletedProcess[bytes]:
        calls.append(argv[3:])
        return CompletedProcess(argv, codes[len(calls) - 1], stdout=b"{}")

    monkeypatch.setattr(subprocess, "run", run)
    out = tmp_path / "second"
    plan = [
        Stage("first", ("one",)),
        Stage("second", ("two", "--out", str(out))),
        Stage("third", ("three",), tmp_path / "third.json"),
    ]
    with pytest.raises(StageFailed, match="second: exit 3"):
        run_stages(plan, tmp_path / "done.txt")
    out.mkdir()
    (out / "last.safetensors").touch()
    run_stages(plan, tmp_path / "done.txt")
    assert calls == [["one"], ["two", "--out", str(out)], ["two", "--out", str(out), "--resume"], ["three"]]
    assert (tmp_path / "third.json").read_bytes() == b"{}"
    run_stages(plan, tmp_path / "done.txt")
    assert len(calls) == 4
    with pytest.raises(OtherExperiment, match="third was done by another command than lawder-edge three more"):
        run_stages([*plan[:2], Stage("third", ("three", "more"), tmp_path / "third.json")], tmp_path / "done.txt")
    assert len(calls) == 4


def test_a_list_of_the_repository_stands_before_one_of_the_data(tmp_path: Path) -> None:
    (tmp_path / "splits").mkdir()
    (tmp_path / "splits" / "ours.txt").touch()
    assert split_file("ours.txt", home=tmp_path, data=Path("data")) == tmp_path / "splits" / "ours.txt"
    assert split_file("theirs.txt", home=tmp_path, data=Path("data")) == Path("data/splits/theirs.txt")
