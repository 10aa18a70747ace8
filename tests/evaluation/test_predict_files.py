"""Masks written for image files."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from lawder_edge.bundle.processing import Float
from lawder_edge.bundle.runner import Runner
from lawder_edge.errors import BadInput
from lawder_edge.evaluation.predict_files import find_images, predict_file, write_png


class Thirds(Runner):
    """Three classes side by side, whatever the frame."""

    def infer(self, tensor: Float) -> Float:
        columns = np.arange(tensor.shape[3]) * 3 // tensor.shape[3]
        one_hot = (columns[None] == np.arange(3)[:, None]).astype(np.float32)
        return np.broadcast_to(20 * one_hot[None, :, None], (1, 3, *tensor.shape[2:])).copy()


def test_of_several_classes_the_mask_holds_the_index(tmp_path: Path) -> None:
    write_png(tmp_path / "a.png", np.full((48, 96, 3), 90, np.uint8))
    written = predict_file(Thirds(size=(32, 96), classes=3), tmp_path / "a.png", out=tmp_path / "out", threshold=0.5)
    mask = cv2.imread(str(written.mask), cv2.IMREAD_UNCHANGED)
    assert mask.shape == (48, 96)
    assert [int(mask[5, x]) for x in (5, 48, 90)] == [0, 1, 2]
    assert set(np.unique(mask)) == {0, 1, 2}
    assert written.area_fraction == pytest.approx(2 / 3, abs=0.02)
    assert written.overlay is not None
    assert written.overlay.is_file()


def test_hidden_files_are_no_images(tmp_path: Path) -> None:
    for name in ("b.png", "a.png", "._a.png"):
        write_png(tmp_path / name, np.zeros((4, 4, 3), np.uint8))
    assert [p.name for p in find_images(tmp_path)] == ["a.png", "b.png"]


def test_a_folder_without_images_is_told(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no images in this folder"):
        find_images(tmp_path)
