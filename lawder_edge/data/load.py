"""An image and its mask as arrays, whatever files they come from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lawder_edge.data.datasets import Sample
from lawder_edge.data.images import read_image, read_mask
from lawder_edge.data.kits19 import read_labels, read_slice
from lawder_edge.errors import BadDataset


@dataclass(frozen=True)
class Pair:
    """An image with its labels at the size of the files.

    Attributes:
        image: (H, W, C) uint8 in [0, 255], RGB or grey.
        labels: (H, W) uint8; 0/1, or class numbers.
        notes: what the mask's reader had to interpret.
    """

    image: NDArray[np.uint8]
    labels: NDArray[np.uint8]
    notes: tuple[str, ...]


def load_image(sample: Sample, *, channels: int = 3) -> NDArray[np.uint8]:
    """The image of a sample: (H, W, channels) uint8.

    Raises:
        BadImage: the file cannot be read.
    """
    if sample.slice_index is None:
        return read_image(sample.image, channels=channels)
    return read_slice(sample.image, sample.slice_index, channels=channels)


def load_pair(sample: Sample, *, channels: int = 3, num_classes: int = 1) -> Pair:
    """Image and labels of a sample, in the size of the files.

    Args:
        sample: one of `find_samples`.
        channels: 3 (RGB) or 1 (grey).
        num_classes: 1 for foreground/background, otherwise the number of classes with the background.

    Raises:
        BadImage: a file cannot be read.
        BadDataset: the sample has no mask, or image and mask differ in size.
    """
    if sample.mask is None:
        raise BadDataset(f"{sample.id}: no mask; put one of the same name into the masks folder")
    image = load_image(sample, channels=channels)
    if sample.slice_index is None:
        mask = read_mask(sample.mask, num_classes=num_classes)
    else:
        mask = read_labels(sample.mask, sample.slice_index, num_classes=num_classes)
    if image.shape[:2] != mask.labels.shape:
        raise BadDataset(size_mismatch(sample, (image.shape[0], image.shape[1]), mask.labels.shape))
    return Pair(image, mask.labels, mask.notes)


def size_mismatch(sample: Sample, image_size: tuple[int, int], mask_size: tuple[int, ...]) -> str:
    """What to tell when image and mask differ in size; both sizes are (H, W)."""
    return (
        f"{sample.id}: the image is {image_size[1]}x{image_size[0]} and its mask {mask_size[1]}x{mask_size[0]} "
        f"(width x height): {sample.image} and {sample.mask}. Scale one to the other's size if they show the same "
        "frame, or leave the pair out with --skip-bad"
    )
