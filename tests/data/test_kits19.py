"""CT volumes read slice by slice."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from lawder_edge.data.datasets import find_samples
from lawder_edge.data.kits19 import Window, choose_slices, read_labels, read_slice, volume_shape
from lawder_edge.data.load import load_pair
from lawder_edge.errors import BadImage, BadInput, Unavailable

nibabel = pytest.importorskip("nibabel")
Builder = Callable[..., Path]


@pytest.fixture
def case(build_case: Builder, tmp_path: Path) -> Path:
    return build_case(tmp_path / "kits19", 7)


def save(path: Path, values: np.ndarray) -> Path:
    nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), path)
    return path


def test_a_slice_is_windowed_to_eight_bits(case: Path) -> None:
    image = read_slice(case / "imaging.nii.gz", 3, window=Window(0.0, 400.0))
    assert (image.shape, image.dtype) == ((8, 10, 3), np.uint8)
    assert (image == image[:, :, :1]).all()
    # 200 HU lie in the middle of 0 to 400: 127.5 rounds up; -1000 HU around it are clipped.
    assert np.unique(image[2:6, 2:8]).tolist() == [128]
    assert image[0, 0].tolist() == [0, 0, 0]


def test_the_default_window_is_soft_tissue(case: Path) -> None:
    grey = [read_slice(case / "imaging.nii.gz", index, channels=1)[3, 3, 0] for index in range(6)]
    expected = np.clip((np.arange(-100, 500, 100) + 79) / 383 * 255, 0, 255)
    np.testing.assert_allclose(grey, expected, atol=0.5)
    assert read_slice(case / "imaging.nii.gz", 0, channels=1).shape == (8, 10, 1)


def test_scaled_integers_are_read_in_hounsfield_units(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(np.full((2, 4, 4), 1000, np.int16), np.eye(4))
    image.header.set_slope_inter(0.5, -400)
    nibabel.save(image, tmp_path / "imaging.nii.gz")
    units = nibabel.load(tmp_path / "imaging.nii.gz").get_fdata()[0, 0, 0]
    read = read_slice(tmp_path / "imaging.nii.gz", 0, window=Window(units - 100, units + 100), channels=1)
    assert np.unique(read).tolist() == [128]


def test_labels_are_class_numbers_or_any_class_as_foreground(case: Path) -> None:
    path = case / "segmentation.nii.gz"
    assert np.unique(read_labels(path, 3, num_classes=3).labels).tolist() == [0, 1, 2]
    binary = read_labels(path, 3).labels
    assert (binary.dtype, int(binary.sum())) == (np.uint8, 6)
    with pytest.raises(BadImage, match="slice 3: label 2, but 2 classes"):
        read_labels(path, 3, num_classes=2)


def test_slices_are_chosen_by_foreground(case: Path) -> None:
    volumes = case / "imaging.nii.gz", case / "segmentation.nii.gz"
    assert choose_slices(*volumes) == (2, 3, 4)
    assert choose_slices(volumes[0], None) == (0, 1, 2, 3, 4, 5)


def test_a_case_is_loaded_as_a_pair(case: Path) -> None:
    sample = find_samples(case.parent)[1]
    pair = load_pair(sample, num_classes=3)
    assert (pair.image.shape, pair.labels.shape) == ((8, 10, 3), (8, 10))
    assert pair.labels[3, 3] == 2


def test_a_volume_that_changed_on_disk_is_read_anew(case: Path) -> None:
    path = case / "imaging.nii.gz"
    before = read_slice(path, 0, channels=1)
    save(path, np.full((6, 8, 10), 304, np.float32))
    os.utime(path, ns=(1, 1))
    assert before.max() == 0
    assert read_slice(path, 0, channels=1).min() == 255


def test_not_a_number_counts_as_air(tmp_path: Path) -> None:
    path = save(tmp_path / "imaging.nii.gz", np.full((2, 4, 4), np.nan, np.float32))
    assert not read_slice(path, 0).any()


def test_damaged_volumes_are_named_in_the_error(case: Path) -> None:
    path = case / "imaging.nii.gz"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) * 2 // 3])
    with pytest.raises(BadImage, match=r"case_00007.imaging\.nii\.gz: truncated or damaged NIfTI volume"):
        read_slice(path, 0)
    path.write_bytes(b"")
    with pytest.raises(BadImage, match=r"imaging\.nii\.gz: the file is empty"):
        volume_shape(path)
    path.write_bytes(b"no volume at all")
    with pytest.raises(BadImage, match="truncated or damaged"):
        volume_shape(path)
    path.unlink()
    with pytest.raises(BadImage, match=r"cannot be opened \(No such file"):
        read_slice(path, 0)


def test_volumes_of_other_shapes_and_values_are_refused(case: Path) -> None:
    with pytest.raises(BadImage, match="no slice 6; the volume has slices 0 to 5"):
        read_slice(case / "imaging.nii.gz", 6)
    save(case / "segmentation.nii.gz", np.zeros((5, 8, 10), np.uint8))
    with pytest.raises(BadImage, match=r"5 x 8 x 10 .* but imaging\.nii\.gz beside it has 6 x 8 x 10"):
        find_samples(case.parent)
    save(case / "segmentation.nii.gz", np.full((6, 8, 10), 0.5, np.float32))
    with pytest.raises(BadImage, match="no class numbers"):
        read_labels(case / "segmentation.nii.gz", 0)
    save(case / "imaging.nii.gz", np.zeros((6, 8, 10, 2), np.float32))
    with pytest.raises(BadImage, match="6 x 8 x 10 x 2; wanted three axes"):
        volume_shape(case / "imaging.nii.gz")


def test_a_window_without_width_and_two_channels_are_refused(case: Path) -> None:
    with pytest.raises(BadInput, match="asked for 2 channels"):
        read_slice(case / "imaging.nii.gz", 0, channels=2)
    with pytest.raises(BadInput, match="window from 40 to 40 HU"):
        read_slice(case / "imaging.nii.gz", 0, window=Window(40, 40))


def test_without_nibabel_the_error_says_what_to_install(case: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nibabel", None)
    with pytest.raises(Unavailable, match=r"pip install 'lawder-edge\[kits19\]'"):
        volume_shape(case / "imaging.nii.gz")
