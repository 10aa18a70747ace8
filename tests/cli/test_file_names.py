"""File names that are not UTF-8, as a process meets them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from cli_calls import BRIEF, call_cli, process_environment, refused
from PIL import Image

from lawder_edge.models import create_model
from lawder_edge.training.checkpoint import WeightsRecord, write_weights

STRANGE = b"p\xff"


@pytest.fixture
def strange(pairs: Path) -> Path:
    """The folder `polyps`, one picture of which has a name that is not UTF-8."""
    try:
        for kind in ("images", "masks"):
            (pairs / kind / "p0.png").rename(pairs / kind / f"{os.fsdecode(STRANGE)}.png")
    except OSError as error:
        pytest.skip(f"no file of such a name here: {error}")
    return pairs


def call_strictly(arguments: Sequence[object]) -> subprocess.CompletedProcess[bytes]:
    """`lawder-edge` where stdout takes UTF-8 alone."""
    return subprocess.run(
        [sys.executable, "-m", "lawder_edge", *map(str, arguments)],
        capture_output=True,
        env=process_environment() | {"PYTHONIOENCODING": "utf-8:strict"},
        check=False,
    )


def test_a_training_refuses_a_name_that_is_not_utf8(strange: Path, tmp_path: Path) -> None:
    said = call_cli(["train", "--data", strange, "--out", tmp_path / "run", *BRIEF])
    refused(said, "a split list cannot hold", r"images/p\udcff.png", "rename")


@pytest.mark.parametrize(("folder", "told"), [(b"polyps", rb"images/p\udcff.png"), (b"set\xff", rb"set\udcff")])
@pytest.mark.parametrize("form", ["table", "json"])
def test_the_check_tells_a_name_that_is_not_utf8(form: str, folder: bytes, told: bytes, strange: Path) -> None:
    root = strange.rename(strange.with_name(os.fsdecode(folder)))
    said = call_strictly(["data", "check", root, "--format", form])
    assert (said.returncode, said.stderr) == (2, b"")
    # JSON writes a backslash as two.
    assert told in said.stdout.replace(b"\\\\", b"\\")


def test_a_picture_whose_name_is_not_utf8_is_predicted_and_told(strange: Path, tmp_path: Path) -> None:
    tensors = {name: value * 0 for name, value in create_model("mk_unet_t").state_dict().items()}
    write_weights(tmp_path / "blind.safetensors", tensors, WeightsRecord("mk_unet_t", threshold=0.9, size=32))
    out = tmp_path / "out"
    said = call_strictly(["predict", strange / "images", "-m", tmp_path / "blind.safetensors", "--out", out])
    assert (said.returncode, said.stderr) == (0, b"")
    assert rb"out/p\udcff_mask.png: nothing" in said.stdout
    assert Image.open(out / f"{os.fsdecode(STRANGE)}_mask.png").size == (48, 40)
