"""Small datasets on disk, built from arrays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

Builder = Callable[..., Path]


def scene(seed: int, *, height: int = 40, width: int = 48) -> np.ndarray:
    """A smooth colour picture of its own, (H, W, 3) uint8."""
    coarse = np.random.default_rng(seed).integers(40, 256, (6, 7, 3), dtype=np.uint8)
    return np.array(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


def blob(*, height: int = 40, width: int = 48) -> np.ndarray:
    """A 0/255 mask (H, W) with a rectangle of foreground."""
    mask = np.zeros((height, width), np.uint8)
    mask[10:20, 12:30] = 255
    return mask


@pytest.fixture
def build_folder(tmp_path: Path) -> Builder:
    """Write pairs of images and masks into two folders below `tmp_path`."""

    def build(
        name: str,
        stems: Sequence[str],
        *,
        images: str = "images",
        masks: str | None = "masks",
        suffix: str = ".png",
        mask_suffix: str = ".png",
        seed: int = 0,
    ) -> Path:
        folder = tmp_path / name
        (folder / images).mkdir(parents=True, exist_ok=True)
        for number, stem in enumerate(stems):
            Image.fromarray(scene(seed + number)).save(folder / images / f"{stem}{suffix}")
        if masks is not None:
            (folder / masks).mkdir(parents=True, exist_ok=True)
            for stem in stems:
                Image.fromarray(blob()).save(folder / masks / f"{stem}{mask_suffix}")
        return folder

    return build


@pytest.fixture
def build_case(tmp_path: Path) -> Builder:
    """Write one KiTS19 case of 6 slices of 8x10 below a folder; kidney in slices 2 and 3, tumour in 3 and 4."""

    def build(root: Path, number: int, *, imaging: bool = True, segmentation: bool = True) -> Path:
        nibabel = pytest.importorskip("nibabel")
        case = root / f"case_{number:05d}"
        case.mkdir(parents=True)
        hounsfield = np.full((6, 8, 10), -1000, np.float32)
        hounsfield[:, 2:6, 2:8] = np.arange(6, dtype=np.float32)[:, None, None] * 100 - 100
        labels = np.zeros((6, 8, 10), np.uint8)
        labels[2:4, 3:5, 3:6] = 1
        labels[3:5, 3, 3] = 2
        affine = np.diag([3.0, 0.8, 0.8, 1.0])
        if imaging:
            nibabel.save(nibabel.Nifti1Image(hounsfield, affine), case / "imaging.nii.gz")
        if segmentation:
            nibabel.save(nibabel.Nifti1Image(labels, affine), case / "segmentation.nii.gz")
        return case

    return build
