from __future__ import annotations

import json
import subprocess
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lawder_edge.bench.machine import describe_machine
from lawder_edge.bench.rows import BenchReport, BenchSpec, Noise, Row
from lawder_edge.cli import export as command
from lawder_edge.cli import export_table
from lawder_edge.cli.main import run
from lawder_edge.exporting import outcome, picture
from lawder_edge.exporting.outcome import ExportOutcome, export_isolated
from lawder_edge.exporting.request import ExportRequest
from lawder_edge.targets.engine import EngineOptions

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


OFF_DEFAULTS = {
    "model": "unet",
    "size": (64, 96),
    "dynamic_batch": True,
    "precision": "int8",
    "opset": 18,
    "threshold": 0.25,
    "data": Path("polyps"),
    "split": (Path("a.txt"), Path("b.txt")),
    "limit": 7,
    "skip_bad": True,
    "card": Path("card.md"),
    "overwrite": True,
    "output": "mask",
    "io": "uint8",
    "ram_bytes": 262144,
}
ENGINES_OFF_DEFAULTS = (
    EngineOptions(compute=("8.9", "12.0"), profile=(64, 128, 192), workspace_mib=64),
    EngineOptions("classic", timing_cache=Path("timings"), dla_core=1, hardware_compatible=True),
)


@pytest.mark.parametrize("engine", ENGINES_OFF_DEFAULTS)
def test_every_option_of_a_request_comes_back_from_its_arguments(
    engine: EngineOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = ExportRequest(engine=engine, **OFF_DEFAULTS)  # type: ignore[arg-type]
    assert not [f.name for f in fields(request) if getattr(request, f.name) == getattr(ExportRequest(), f.name)]
    asked: list[ExportRequest] = []

    def export(target: str, request: ExportRequest, **options: object) -> ExportOutcome:
        asked.append(request)
        return CERTIFIED

    monkeypatch.setattr(outcome, "export_verified", export)
    for one in (request, ExportRequest()):
        assert run(["export", "-t", "tensorrt", "--out", str(tmp_path / "b"), *one.arguments()]) == 0
    assert asked == [request, ExportRequest()]


def test_every_option_of_an_engine_is_off_its_default_in_one_of_those_requests() -> None:
    plain = EngineOptions()
    changed = {f.name for e in ENGINES_OFF_DEFAULTS for f in fields(e) if getattr(e, f.name) != getattr(plain, f.name)}
    assert changed == {f.name for f in fields(plain)}


@pytest.mark.parametrize("target", ["onnx", "tensorrt", "tflite", "c"])
def test_of_several_targets_each_gets_the_options_that_it_reads(
    target: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    called: list[list[str]] = []

    def end(words: list[str], **options: object) -> subprocess.CompletedProcess[str]:
        called.append(words)
        return subprocess.CompletedProcess((), 0, json.dumps(asdict(CERTIFIED)), "")

    monkeypatch.setattr(subprocess, "run", end)
    export_isolated(target, ExportRequest(opset=18, engine=EngineOptions("classic"), ram_bytes=9), out=tmp_path)
    assert ("--opset" in called[0], "--flavor" in called[0], "--ram" in called[0]) == (
        target in ("onnx", "tensorrt"), target == "tensorrt", target == "c"
    )  # fmt: skip


def test_a_target_that_takes_too_long_is_a_failed_row_of_its_precision(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def hang(words: list[str], *, timeout: float, **options: object) -> None:
        raise subprocess.TimeoutExpired(words, timeout)

    monkeypatch.setattr(subprocess, "run", hang)
    row = export_isolated("onnx", ExportRequest(precision="int8"), out=tmp_path, timeout_s=5)
    assert (row.precision, row.status, row.reason) == ("int8", "failed", "no result after 5 s")


def test_what_a_target_said_of_its_file_is_told() -> None:
    row = replace(CERTIFIED, reason="unverified", remarks=("no package",))
    assert export_table.remarks(row) == ("onnx: unverified", "onnx: no package")


def test_a_row_of_masks_has_no_logit_difference() -> None:
    row = replace(CERTIFIED, mask_dice_mean=1.0, mask_dice_worst=0.99)
    assert export_table.cells(row)[-3:] == ("1.00000", "0.99000", "-")


@pytest.mark.parametrize(("status", "code"), [("failed", 1), ("unavailable", 4)])
def test_a_report_tells_what_could_not_be_measured_and_fails(
    status: Any, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = (Row("order", status, "out of memory", code), Row("b", status, "out of patience", code))
    noise = Noise(busy_percent=1.0, p50_ms=1.0, p95_ms=1.0, count=1, mhz=(), throttled=None)
    report = BenchReport(describe_machine(), BenchSpec(), noise, None, rows, (), ())
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
