"""Which precision an export has where none is asked for, and which targets `all` are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from cli_calls import call_cli, done

from lawder_edge.exporting import isolated, outcome
from lawder_edge.exporting.outcome import ExportOutcome
from lawder_edge.exporting.request import ExportRequest

Asked = list[tuple[str, str]]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    """Target and precision of each export, of which none is made."""
    calls: Asked = []

    def note(target: str, request: ExportRequest, **options: Any) -> ExportOutcome:
        calls.append((target, request.precision))
        return ExportOutcome(target, request.precision, "certified")

    monkeypatch.setattr(isolated, "export_isolated", lambda task, **options: note(task.target, task.request))
    monkeypatch.setattr(outcome, "export_verified", note)
    return calls


def test_all_targets_are_those_that_have_the_precision(asked: Asked, tmp_path: Path) -> None:
    said = done(["export", "--target", "all", "--out", tmp_path / "made"])
    assert sorted(asked) == [(name, "fp32") for name in ("onnx", "openvino", "tensorrt", "tflite")]
    assert "left out c: target 'c' has no precision 'fp32'; it has: int8." in said.err
    asked.clear()
    said = done(["export", "--target", "all", "--precision", "int8", "--out", tmp_path / "made"])
    assert ("c", "int8") in asked
    assert "left out" not in said.err


def test_json_of_all_targets_holds_those_that_were_left_out_and_why(asked: Asked, tmp_path: Path) -> None:
    said = done(["export", "-t", "all", "--precision", "all", "--format", "json", "--out", tmp_path / "made"])
    rows = [(row["target"], row["precision"], row["status"]) for row in json.loads(said.out)]
    assert sorted(asked) == sorted((target, precision) for target, precision, status in rows if status == "certified")
    assert rows[-1] == ("c", "fp32", "left-out")
    assert json.loads(said.out)[-1]["reason"] == "target 'c' has no precision 'fp32'; it has: int8."


def test_a_target_that_cannot_give_what_all_are_asked_for_is_left_out_with_its_reason(
    asked: Asked, tmp_path: Path
) -> None:
    said = done(["export", "-t", "all", "--output", "mask", "--precision", "all", "--out", tmp_path / "made"])
    made = {"fp32": ("onnx", "openvino", "tflite"), "int8": ("onnx", "openvino")}
    assert sorted(asked) == sorted((name, precision) for precision, names in made.items() for name in names)
    assert "left out tensorrt: target 'tensorrt' at fp32 has no --output mask. It has: --output logits" in said.err
    assert "left out tflite: target 'tflite' at int8 has no --output mask: TFLite Micro casts" in said.err


def test_what_no_target_can_give_is_an_error(asked: Asked, tmp_path: Path) -> None:
    said = call_cli(["export", "-t", "all", "--precision", "fp64", "--out", tmp_path / "made"])
    assert (said.code, asked) == (2, [])
    assert "no target can give what is asked for" in said.err


@pytest.mark.parametrize(("target", "precision"), [("c", "int8"), ("onnx", "fp32"), ("tensorrt", "fp16")])
def test_a_target_has_its_usual_precision_where_none_is_asked_for(
    target: str, precision: str, asked: Asked, tmp_path: Path
) -> None:
    done(["export", "--target", target, "--out", tmp_path / "made"])
    assert asked == [(target, precision)]


def test_a_precision_that_a_target_lacks_is_an_error(tmp_path: Path) -> None:
    said = call_cli(["export", "--target", "c", "--precision", "fp32", "--out", tmp_path / "made"])
    assert said.code == 2
    assert "target 'c' has no precision 'fp32'; it has: int8." in said.err
