"""The delta map over training."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from synth_samples import TINY

from lawder_edge.errors import BadInput
from lawder_edge.synthesis import train as train_module
from lawder_edge.synthesis.delta_figure import delta_files
from lawder_edge.synthesis.train import train
from lawder_edge.training.batches import TrainData


def _grey(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture)


def test_delta_is_zero_at_first_and_has_moved_in_the_end_and_both_are_drawn(
    tmp_path: Path, pictures: TrainData
) -> None:
    train(dataclasses.replace(TINY, steps=12, learning_rate=5e-3), pictures, out=tmp_path, cpu=True)
    files = delta_files(tmp_path)
    assert list(files) == [0, 12]
    first, last = map(_grey, files.values())
    assert first.shape == (32, 4 * 32)
    assert (first == 128).all()
    assert (last != 128).mean() > 0.5
    # Of mean 0 in each picture, but for the limit and the rounding.
    assert all(abs(tile.mean() - 128) < 4 for tile in np.split(last.astype(float), 4, axis=1))
    # A row of masks and one for each step, 160 px each.
    assert _grey(tmp_path / "figure8.png").shape[0] == 3 * 160


def test_a_run_that_goes_on_keeps_the_maps_of_before(
    tmp_path: Path, pictures: TrainData, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train_module, "STEPS", (0, 2))
    train(dataclasses.replace(TINY, steps=3), pictures, out=tmp_path, cpu=True)
    before = {step: file.read_bytes() for step, file in delta_files(tmp_path).items()}
    train(dataclasses.replace(TINY, steps=4), pictures, out=tmp_path, cpu=True, resume=True)
    after = {step: file.read_bytes() for step, file in delta_files(tmp_path).items()}
    assert list(after) == [0, 2, 3, 4]
    assert before.items() <= after.items()


def test_damaged_maps_are_told_and_the_figure_is_drawn_once_they_are_gone(tmp_path: Path, pictures: TrainData) -> None:
    config = dataclasses.replace(TINY, steps=1)
    train(config, pictures, out=tmp_path, cpu=True)
    (tmp_path / "figure8.png").unlink()
    (tmp_path / "delta-000000.png").write_bytes(b"cut")
    with pytest.raises(BadInput, match=r"delta-000000\.png: not a readable PNG"):
        train(config, pictures, out=tmp_path, cpu=True, resume=True)
    (tmp_path / "delta-000000.png").unlink()
    train(config, pictures, out=tmp_path, cpu=True, resume=True)
    assert _grey(tmp_path / "figure8.png").shape[0] == 2 * 160
