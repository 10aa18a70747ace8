"""The weights that the package carries, loaded."""

from __future__ import annotations

from pathlib import Path

import pytest

from lawder_edge import weights as room
from lawder_edge.doctor.probe import weights
from lawder_edge.models import create_model
from lawder_edge.training.checkpoint import save_weights
from lawder_edge.training.record import WeightsRecord


def test_whole_weights_have_a_hash_and_damaged_ones_a_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_weights(tmp_path / "unet.safetensors", create_model("unet"), WeightsRecord(model="unet"))
    save_weights(tmp_path / "order.safetensors", create_model("unet"), WeightsRecord(model="order"))
    (tmp_path / "short.safetensors").write_bytes((tmp_path / "unet.safetensors").read_bytes()[:-100])
    monkeypatch.setattr(room, "BUNDLED", tmp_path)
    other, short, whole = weights()
    assert (whole.name, whole.problem, len(whole.sha256)) == ("unet", "", 64)
    assert (short.sha256, other.sha256) == ("", "")
    assert "not a complete safetensors file" in short.problem
    assert "another model" in other.problem
