"""`lawder-edge eval` on frames with nothing to find."""

from __future__ import annotations

import json
from pathlib import Path

from cli_calls import done

from lawder_edge.models import create_model
from lawder_edge.training.checkpoint import WeightsRecord, write_weights


def test_frames_without_polyp_made_and_evaluated_tell_false_area(tmp_path: Path) -> None:
    clean, weights, sheet = tmp_path / "clean", tmp_path / "blind.safetensors", tmp_path / "sheet.png"
    # Weights that find polyp everywhere.
    tensors = {name: value * 0 for name, value in create_model("mk_unet_t").state_dict().items()}
    write_weights(weights, tensors, WeightsRecord("mk_unet_t", threshold=0.4, size=32))
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
