"""`lawder-edge eval` on frames with nothing to find."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from cli_calls import call_cli, done, refused

from lawder_edge.models import create_model
from lawder_edge.training.checkpoint import WeightsRecord, write_weights


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """That find polyp everywhere."""
    tensors = {name: value * 0 for name, value in create_model("mk_unet_t").state_dict().items()}
    write_weights(tmp_path / "blind.safetensors", tensors, WeightsRecord("mk_unet_t", threshold=0.4, size=32))
    return tmp_path / "blind.safetensors"


def test_frames_without_polyp_made_and_evaluated_tell_false_area(tmp_path: Path, weights: Path) -> None:
    clean, sheet = tmp_path / "clean", tmp_path / "sheet.png"
    done(["data", "phantom", "--out", clean, "-n", 3, "--size", 48, 64, "--no-polyp"])
    asked = ["eval", "--model", weights, "--data", clean, "--threads", 1]
    said = done([*asked, "--sheet", sheet]).out
    assert "Dice" not in said
    assert "false area" in said
    assert "Every mask is empty" in said
    assert sheet.is_file()
    found = json.loads(done([*asked, "--format", "json"]).out)
    assert (found["n_empty"], found["false_positives"]["area"]["mean"]) == (3, 1.0)
    assert found["false_positives"]["above"][1]["images"]["mean"] == 1.0


def test_frames_with_nothing_to_find_need_no_masks(pairs: Path, tmp_path: Path, weights: Path) -> None:
    shutil.rmtree(pairs / "masks")
    sheet = tmp_path / "sheet.png"
    asked = ["eval", "--model", weights, "--data", pairs, "--threads", 1]
    refused(call_cli(asked), "8 images but no masks")
    found = json.loads(done([*asked, "--nothing-to-find", "--sheet", sheet, "--format", "json"]).out)
    assert (found["n"], found["n_empty"], found["false_positives"]["worst"]) == (8, 8, 1.0)
    assert sheet.is_file()


def test_masks_are_not_read_where_nothing_is_to_be_found(pairs: Path, weights: Path) -> None:
    asked = ["eval", "--model", weights, "--data", pairs, "--threads", 1, "--nothing-to-find"]
    assert json.loads(done([*asked, "--format", "json"]).out)["n_empty"] == 8
    refused(call_cli([*asked, "--corruptions"]), "--nothing-to-find")
