"""What one sample's files hold, with problems as values: the part of the folder check that reads pixels."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lawder_edge.data.datasets import Sample
from lawder_edge.data.images import bit_depth_hint, read_mask
from lawder_edge.data.kits19 import read_labels
from lawder_edge.data.leaks import perceptual_hash
from lawder_edge.data.load import load_image
from lawder_edge.errors import BadInput

_WIDE_SUFFIXES = (".png", ".tif", ".tiff")


@dataclass(frozen=True)
class Look:
    """One sample looked at.

    Attributes:
        sample: the sample.
        image_error: why the image cannot be read, or None.
        mask_error: why the mask cannot be read, or None.
        image_size: (H, W), None if unreadable.
        mask_size: (H, W), None if unreadable or absent.
        foreground: share of the mask's pixels that are not background, 0 to 1; None as above.
        notes: what the mask reader had to interpret.
        flat: the image has a single grey level or colour.
        bit_depth: bits in use of a 16-bit image, else None.
        pixels_sha256: hash of the decoded image with its size; None if unreadable.
        perceptual: (128,) uint8, see `leaks`; None if unreadable or not asked for.
    """

    sample: Sample
    image_error: str | None = None
    mask_error: str | None = None
    image_size: tuple[int, int] | None = None
    mask_size: tuple[int, int] | None = None
    foreground: float | None = None
    notes: tuple[str, ...] = ()
    flat: bool = False
    bit_depth: int | None = None
    pixels_sha256: str | None = None
    perceptual: NDArray[np.uint8] | None = None


def look_at(sample: Sample, *, num_classes: int, hashed: bool) -> Look:
    """Read a sample's image and mask; nothing is raised for a bad file.

    Args:
        sample: to look at.
        num_classes: as in `images.read_mask`.
        hashed: whether to compute the perceptual hash (about 4 ms at 256x256).
    """
    image = image_error = labels = mask_error = None
    notes: tuple[str, ...] = ()
    bit_depth = None
    try:
        image = load_image(sample)
        if sample.slice_index is None and sample.image.suffix.lower() in _WIDE_SUFFIXES:
            bit_depth = bit_depth_hint(sample.image)
    except BadInput as error:
        image_error = str(error)
    if sample.mask is not None:
        try:
            if sample.slice_index is None:
                mask = read_mask(sample.mask, num_classes=num_classes)
            else:
                mask = read_labels(sample.mask, sample.slice_index, num_classes=num_classes)
            labels, notes = mask.labels, mask.notes
        except BadInput as error:
            mask_error = str(error)
    return Look(
        sample,
        image_error,
        mask_error,
        None if image is None else (image.shape[0], image.shape[1]),
        None if labels is None else (labels.shape[0], labels.shape[1]),
        None if labels is None else float(np.count_nonzero(labels)) / labels.size,
        notes,
        image is not None and bool((image == image[:1, :1]).all()),
        bit_depth,
        None if image is None else _sha256(image),
        perceptual_hash(image) if image is not None and hashed else None,
    )


def _sha256(image: NDArray[np.uint8]) -> str:
    return hashlib.sha256(repr(image.shape).encode() + image.tobytes()).hexdigest()
