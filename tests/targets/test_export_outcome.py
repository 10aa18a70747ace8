from __future__ import annotations

import json
import subprocess
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lawder_edge.bench.machine import describe_machine
from lawder_edge.bench.rows import BenchReport, BenchSpec, Row
from lawder_edge.cli import export as command
from lawder_edge.cli import export_table
from lawder_edge.cli.main import run
from lawder_edge.targets import outcome, picture
from lawder_edge.targets.engine import EngineOptions
from lawder_edge.targets.outcome import ExportOutcome, export_isolated
from lawder_edge.targets.request import ExportRequest

CERTIFIED = ExportOutcome("onnx", "fp32", "certified", bundle="b", file="b.onnx")


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Let the export's process end with this output."""

    def place(stdout: str, *, stderr: str = "", code: int = 0) -> None:
        ended = subprocess.CompletedProcess((), code, stdout, stderr)
        monkeypatch.setattr(subprocess, "run", lambda *args, **options: ended)

    return place


def test_an_answer_after_a_toolchains_chatter_is_found(answers: Any, tmp_path: Path) -> None:
    answers("converting ...\n" + json.dumps(asdict(CERTIFIED)) + "\n")
    assert export_isolated("onnx", ExportRequest(), out=tmp_path) == CERTIFIED


@pytest.mark.parametrize(
    "stdout", ["converting ...\n", "{", "[1]", "3", '{"target": "onnx"}', '{"unknown": 1}', "\n\n"]
)
def test_an_answer_that_is_none_is_a_failed_row(stdout: str, answers: Any, tmp_path: Path) -> None:
    answers(stdout)
    row = export_isolated("onnx", ExportRequest(), out=tmp_path)
    assert (row.status, row.exit_code, row.target) == ("failed", 1, "onnx")
    assert row.reason


def test_a_process_that_fails_after_chatter_tells_its_last_words(answers: Any, tmp_path: Path) -> None:
    answers("converting ...\n", stderr="error: onnx is missing\n", code=4)
    row = export_isolated("onnx", ExportRequest(), out=tmp_path)
    assert (row.status, row.exit_code, row.reason) == ("failed", 4, "onnx is missing")


def test_a_process_without_end_is_a_failed_row_of_its_precision(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def hang(*args: Any, **options: Any) -> None:
        raise subprocess.TimeoutExpired("export", options["timeout"])

    monkeypatch.setattr(subprocess, "run", hang)
    row = export_isolated("onnx", ExportRequest(precision="int8"), out=tmp_path, timeout_s=3)
    assert (row.precision, row.status, row.reason) == ("int8", "failed", "no result after 3 s")


CLASSIC = ExportRequest(
    model="mine.safetensors", size=(64, 96), dynamic_batch=True, precision="int8", opset=19, threshold=0.3,
    data=Path("polyps"), split=(Path("a.txt"), Path("b.txt")), limit=7, skip_bad=True, card=Path("CARD.md"),
    overwrite=True, output="mask", io="uint8",
    engine=EngineOptions(
        flavor="classic", profile=(64, 128, 256), workspace_mib=99, timing_cache=Path("t.bin"),
        dla_core=1, hardware_compatible=True,
    ),
)  # fmt: skip
# What the other flavor of TensorRT has not.
RTX = replace(CLASSIC, engine=EngineOptions(compute=("8.6", "8.9")))


@pytest.mark.parametrize("asked", [CLASSIC, RTX, ExportRequest()], ids=["classic", "rtx", "defaults"])
def test_a_request_comes_through_the_command_line_as_it_was(
    asked: ExportRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    got: list[ExportRequest] = []
    monkeypatch.setattr(outcome, "export_verified", lambda name, request, **options: got.append(request) or CERTIFIED)
    assert run(["export", "--target", "onnx", "--out", str(tmp_path / "b"), *asked.arguments()]) == 0
    assert got == [asked]


def test_the_requests_that_are_sent_through_differ_from_the_defaults_in_every_field() -> None:
    for usual, sent in ((ExportRequest(), (CLASSIC,)), (EngineOptions(), (CLASSIC.engine, RTX.engine))):
        for field in fields(usual):
            assert any(getattr(s, field.name) != getattr(usual, field.name) for s in sent), field.name


def test_a_row_of_masks_has_no_logit_difference() -> None:
    row = replace(CERTIFIED, mask_dice_mean=1.0, mask_dice_worst=0.99)
    assert export_table.cells(row)[-3:] == ("1.00000", "0.99000", "-")


@pytest.mark.parametrize(("status", "code"), [("failed", 1), ("unavailable", 4)])
def test_a_report_tells_what_could_not_be_measured_and_fails(
    status: Any, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = (Row("order", status, "out of memory", code), Row("b", status, "out of patience", code))
    report = BenchReport(describe_machine(), BenchSpec(), rows, ())
    monkeypatch.setattr("lawder_edge.bench.run.bench", lambda *args, **options: report)
    monkeypatch.setattr(outcome, "export_verified", lambda *args, **options: CERTIFIED)
    monkeypatch.setattr(picture, "masks_of_bundle", lambda *args, **options: np.zeros((4, 4, 3), np.uint8))
    assert run(["export", "-t", "onnx", "--out", str(tmp_path / "b"), "--report"]) == code
    said = capsys.readouterr().out
    assert f"order: not measured ({status}): out of memory" in said
    assert f"b: not measured ({status}): out of patience" in said


def test_an_export_that_failed_is_not_hidden_by_its_measurement(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = ExportOutcome("onnx", "fp32", "rejected", reason="other masks", exit_code=3)
    monkeypatch.setattr(outcome, "export_isolated", lambda *args, **options: failed)
    monkeypatch.setattr(command, "_report", lambda *args: 1)
    assert run(["export", "-t", "all", "--out", str(tmp_path / "b"), "--report"]) == 3
