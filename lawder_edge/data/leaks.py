"""Finds the same picture on both sides of a split, and twice within a dataset, by perceptual hashes.

A hash is two difference hashes of 512 bits: one of the whole frame, one of the frame without its dark margins. Each
compares horizontal neighbours of a 16x17 and vertical neighbours of a 17x16 reduction of the luma (the dHash of
N. Krawetz, 2013, in both directions). The distance of two images is the smaller of the two Hamming distances.

Measured on CVC-ClinicDB, Kvasir-SEG and 81 KiTS19 slices (1.43 million pairs):

- neighbouring frames of one sequence that make PraNet's ClinicDB split leak lie at 23 to 61 bits;
- 18 frames stand in Kvasir-SEG twice (checked by eye), most of them once with and once without the recorder's margins:
  4 to 69 bits; without the second hash only 5 of them come below 70;
- pairs of different scenes begin at 73 bits (different sequences of ClinicDB; other pairs of Kvasir-SEG 80, different
  patients or datasets above 84); the median is about 200.

Hence 70 bits. No pair found below it was a false alarm.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lawder_edge.data.datasets import Sample

NEAR_DUPLICATE_BITS = 70
HASH_BYTES = 128

_GRID = 16
_BITS = 2 * _GRID * _GRID
# A row or column belongs to the margin while fewer than 20 % of its pixels are brighter than 24 of 255: recorder text
# on black stays below that, the dimmest colon wall does not.
_DARK = 24
_LIT_SHARE = 0.2
# ITU-R BT.601 luma in 1/256 of a grey level, so that no bit is lost to rounding before the comparison.
_LUMA = np.array([19595, 38470, 7471], dtype=np.uint32)


@dataclass(frozen=True)
class Leak:
    """Two pictures of one scene: their places in the two sequences compared, and their distance of 512 bits."""

    first: int
    second: int
    distance_bits: int


def perceptual_hash(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Hash of an image.

    Args:
        image: (H, W, 3) RGB or (H, W, 1) grey uint8, any size. Of a side longer than 16,384 px as few pixels
            are left out, in even steps, as bring it below that.

    Returns:
        (128,) uint8: 512 bits of the whole frame, then 512 bits of the frame without dark margins.
    """
    from lawder_edge.bundle.processing import MAX_SHRINK

    # `resize` shrinks no further; a cell of the grid still averages 500 pixels and more along that side.
    down, across = (-(-side // (MAX_SHRINK * _GRID)) for side in image.shape[:2])
    luma = _luma(image[::down, ::across])
    return np.packbits(np.concatenate([_differences(luma), _differences(_without_margins(luma))]))


def find_leaks(
    hashes_a: NDArray[np.uint8], hashes_b: NDArray[np.uint8], *, max_distance: int = NEAR_DUPLICATE_BITS
) -> tuple[Leak, ...]:
    """Pairs across two sets of hashes that are at most `max_distance` bits apart, nearest first.

    Args:
        hashes_a: (N, 128) uint8, such as the training images.
        hashes_b: (M, 128) uint8, such as the test images.
        max_distance: bits of 512.
    """
    return _near(hashes_a, hashes_b, max_distance)


def find_repeats(hashes: NDArray[np.uint8], *, max_distance: int = NEAR_DUPLICATE_BITS) -> tuple[Leak, ...]:
    """Pairs within one set of hashes (N, 128), `first` < `second`, at most `max_distance` bits apart, nearest first."""
    return tuple(pair for pair in _near(hashes, hashes, max_distance) if pair.first < pair.second)


def shared_groups(samples_a: Sequence[Sample], samples_b: Sequence[Sample]) -> tuple[str, ...]:
    """Sequences and patients that have samples on both sides, sorted."""
    groups_a, groups_b = ({sample.group for sample in side if sample.group} for side in (samples_a, samples_b))
    return tuple(sorted(groups_a & groups_b))


def _luma(image: NDArray[np.uint8]) -> NDArray[np.uint16]:
    """(H, W, C) uint8 to (H, W) uint16 in 1/256 of a grey level."""
    if image.shape[2] == 1:
        return image[:, :, 0].astype(np.uint16) << np.uint16(8)
    return ((image.astype(np.uint32) @ _LUMA) >> 8).astype(np.uint16)


def _without_margins(luma: NDArray[np.uint16]) -> NDArray[np.uint16]:
    lit = luma > (_DARK << 8)
    rows = np.flatnonzero(lit.mean(axis=1) >= _LIT_SHARE)
    columns = np.flatnonzero(lit.mean(axis=0) >= _LIT_SHARE)
    if len(rows) < _GRID or len(columns) < _GRID:
        return luma
    return np.ascontiguousarray(luma[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1])


def _differences(luma: NDArray[np.uint16]) -> NDArray[np.bool_]:
    from lawder_edge.bundle.processing import resize

    across, down = resize(luma, (_GRID, _GRID + 1)), resize(luma, (_GRID + 1, _GRID))
    return np.concatenate([(across[:, 1:] > across[:, :-1]).ravel(), (down[1:] > down[:-1]).ravel()])


def _near(hashes_a: NDArray[np.uint8], hashes_b: NDArray[np.uint8], max_distance: int) -> tuple[Leak, ...]:
    signs_b = _signs(hashes_b)
    found: list[Leak] = []
    # 256 rows at a time: against 10,000 images that is 10 MB of distances.
    for start in range(0, len(hashes_a), 256):
        signs_a = _signs(hashes_a[start : start + 256])
        # Of two vectors of +1 and -1 the dot product is 512 - 2 distance, exact in float32.
        agreement = np.maximum(signs_a[0] @ signs_b[0].T, signs_a[1] @ signs_b[1].T)
        distance = (_BITS - agreement.astype(np.int32)) // 2
        found += [
            Leak(start + int(row), int(column), int(distance[row, column]))
            for row, column in np.argwhere(distance <= max_distance)
        ]
    return tuple(sorted(found, key=lambda pair: (pair.distance_bits, pair.first, pair.second)))


def _signs(hashes: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(N, 128) packed bits to (2, N, 512) of +1 and -1."""
    bits = np.unpackbits(hashes.reshape(len(hashes), 2, HASH_BYTES // 2), axis=2)
    return (bits.transpose(1, 0, 2).astype(np.float32) * 2) - 1
