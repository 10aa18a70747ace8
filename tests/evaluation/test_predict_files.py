"""Masks written for image files."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from lawder_edge.bundle.processing import Float
from lawder_edge.bundle.runner import Runner
from lawder_edge.errors import BadInput
from lawder_edge.evaluation.predict_files import find_images, predict_file
from lawder_edge.files import write_png
from lawder_edge.loading import Predictor


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


class ThirdsAsMask(Thirds):
    """The same as class numbers."""

    def infer(self, tensor: Float) -> NDArray[np.uint8]:
        return super().infer(tensor).argmax(1, keepdims=True).astype(np.uint8)


def test_a_network_that_gives_masks_writes_what_its_logits_would(tmp_path: Path) -> None:
    write_png(tmp_path / "a.png", np.full((32, 96, 3), 90, np.uint8))
    written = [
        predict_file(runner, tmp_path / "a.png", out=tmp_path / runner.kind, threshold=0.5)
        for runner in (Thirds(size=(32, 96), classes=3), ThirdsAsMask(size=(32, 96), classes=3, kind="mask"))
    ]
    masks = [cv2.imread(str(w.mask), cv2.IMREAD_UNCHANGED) for w in written]
    np.testing.assert_array_equal(masks[0], masks[1])
    assert written[1].overlay is not None
    assert (cv2.imread(str(written[1].overlay)) != 90).any()


def test_a_mask_that_is_in_the_file_cannot_be_cut_elsewhere() -> None:
    predictor = Predictor(ThirdsAsMask(size=(32, 96), kind="mask"), "thirds", "thirds", "fp32", 0.4)
    assert predictor.cut() == predictor.cut(0.4) == 0.4
    with pytest.raises(BadInput, match=r"cut at 0\.4 inside the file"):
        predictor.cut(0.5)


def test_several_classes_are_not_cut() -> None:
    predictor = Predictor(ThirdsAsMask(size=(32, 96), classes=3), "thirds", "thirds", "fp32", 0.4)
    assert predictor.cut() == 0.4
    with pytest.raises(BadInput, match="3 classes, of which the most probable"):
        predictor.cut(0.5)


def test_hidden_files_are_no_images(tmp_path: Path) -> None:
    for name in ("b.png", "a.png", "._a.png"):
        write_png(tmp_path / name, np.zeros((4, 4, 3), np.uint8))
    assert [p.name for p in find_images(tmp_path)] == ["a.png", "b.png"]


def test_a_folder_without_images_is_told(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no images in this folder"):
        find_images(tmp_path)
