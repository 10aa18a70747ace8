"""What `lawder-edge predict` says."""

from __future__ import annotations

from pathlib import Path

from cli_calls import done, scene
from PIL import Image

from lawder_edge.models import create_model
from lawder_edge.training.checkpoint import WeightsRecord, write_weights


def test_a_frame_without_foreground_is_told_as_nothing_whatever_the_network_looks_for(tmp_path: Path) -> None:
    tensors = {name: value * 0 for name, value in create_model("mk_unet_t").state_dict().items()}
    write_weights(tmp_path / "blind.safetensors", tensors, WeightsRecord("mk_unet_t", threshold=0.9, size=32))
    Image.fromarray(scene(0)).save(tmp_path / "a.png")
    said = done(["predict", tmp_path / "a.png", "-m", tmp_path / "blind.safetensors", "--out", tmp_path / "out"])
    assert said.out == f"{tmp_path / 'out' / 'a_mask.png'}: nothing\n"
