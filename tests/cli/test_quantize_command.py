"""What `quantize` and `qat` say of the pictures that they are given."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from cli_calls import blob, done
from PIL import Image

# Of the float network in pictures of another kind.
FINDS_LITTLE = "warning: the float network finds little in these pictures"
SMALL = ("--model", "order_64", "--size", 64)


@pytest.fixture
def other_kind(pairs: Path) -> Path:
    """Pairs whose foreground is a corner, which no network for polyps outlines."""
    mask = np.zeros_like(blob())
    mask[:6, :6] = 255
    for file in (pairs / "masks").iterdir():
        Image.fromarray(mask).save(file)
    return pairs


def test_quantize_says_that_the_float_network_finds_little_and_where_the_ranges_are(
    other_kind: Path, tmp_path: Path
) -> None:
    listed = tmp_path / "lists" / "mine.txt"
    listed.parent.mkdir()
    listed.write_text("".join(f"polyps/p{i}\n" for i in range(6)))
    out = tmp_path / "out"
    said = done(["quantize", "--data", other_kind, "--split", listed, "--out", out, *SMALL, "--threads", 1])
    assert said.err.count(FINDS_LITTLE) == 1
    assert "learning rate" not in said.err
    report = json.loads((out / "calibration.json").read_text())
    assert report["splits"] == ["mine.txt"]
    assert f"ranges of {len(report['tensors'])} tensors" in said.err
    assert str(out / "calibration.json") in said.err


def test_qat_says_the_same_and_names_only_options_that_it_has(other_kind: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    said = done(["qat", "--data", other_kind, "--out", out, *SMALL, "--passes", 1, "--cpu", "--threads", 1])
    assert said.err.count(FINDS_LITTLE) == 1
    assert "Take --passes 100, or more pictures" in said.err
    assert "--warmup-steps" not in said.err
    report = json.loads((out / "calibration.json").read_text())
    assert report["splits"] == []
    assert f"ranges of {len(report['tensors'])} tensors" in said.err
