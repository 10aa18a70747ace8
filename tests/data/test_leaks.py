"""Perceptual hashes and what they find."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lawder_edge.data.datasets import Sample
from lawder_edge.data.leaks import (
    NEAR_DUPLICATE_BITS,
    find_leaks,
    find_repeats,
    perceptual_hash,
    shared_groups,
)


def picture(seed: int) -> np.ndarray:
    """Smooth and in colour, (96, 128, 3), different scenes for different seeds."""
    coarse = np.random.default_rng(seed).integers(40, 256, (8, 10, 3), dtype=np.uint8)
    return np.array(Image.fromarray(coarse).resize((128, 96), Image.Resampling.BICUBIC))


def recompressed(image: np.ndarray, quality: int) -> np.ndarray:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=quality)
    return np.array(Image.open(buffer))


def distance(first: np.ndarray, second: np.ndarray) -> int:
    (leak,) = find_leaks(perceptual_hash(first)[None], perceptual_hash(second)[None], max_distance=512)
    return leak.distance_bits


def test_the_same_image_recompressed_scaled_or_brightened_is_near() -> None:
    image = picture(0)
    assert distance(image, image) == 0
    assert distance(image, recompressed(image, 60)) < NEAR_DUPLICATE_BITS // 2
    assert distance(image, np.array(Image.fromarray(image).resize((200, 200)))) < NEAR_DUPLICATE_BITS // 2
    assert distance(image, (image * 0.8 + 10).astype(np.uint8)) < NEAR_DUPLICATE_BITS // 2


def test_the_same_image_with_dark_margins_is_near() -> None:
    image = picture(0)
    framed = np.zeros((150, 180, 3), np.uint8)
    framed[20:116, 40:168] = image
    assert distance(image, framed) < NEAR_DUPLICATE_BITS


def test_different_images_are_far_apart() -> None:
    hashes = np.stack([perceptual_hash(picture(seed)) for seed in range(20)])
    assert find_repeats(hashes, max_distance=2 * NEAR_DUPLICATE_BITS) == ()


def test_grey_and_colour_of_one_image_have_the_same_hash() -> None:
    grey = picture(0)[:, :, :1]
    np.testing.assert_array_equal(perceptual_hash(grey), perceptual_hash(np.repeat(grey, 3, axis=2)))


@pytest.mark.parametrize("level", [0, 255])
def test_a_flat_image_has_a_hash(level: int) -> None:
    assert perceptual_hash(np.full((9, 9, 3), level, np.uint8)).shape == (128,)


@pytest.mark.parametrize("factors", [(1, 150), (200, 1)], ids=["wide", "high"])
def test_a_picture_too_large_to_be_shrunk_at_once_is_near_its_small_self(factors: tuple[int, int]) -> None:
    image = picture(0)
    large = image.repeat(factors[0], axis=0).repeat(factors[1], axis=1)
    assert max(large.shape) > 16_384 + 1024
    assert distance(image, large) < NEAR_DUPLICATE_BITS // 2
    assert perceptual_hash(large[:, :, :1]).shape == (128,)


def test_leaks_are_places_and_distances_nearest_first() -> None:
    images = [picture(seed) for seed in range(300)]
    hashes = np.stack([perceptual_hash(image) for image in images])
    copies = np.stack([hashes[280], perceptual_hash(recompressed(images[7], 30)), perceptual_hash(picture(999))])
    leaks = find_leaks(hashes, copies)
    assert [(leak.first, leak.second) for leak in leaks] == [(280, 0), (7, 1)]
    assert leaks[0].distance_bits == 0 < leaks[1].distance_bits


def test_the_distance_is_the_smaller_hamming_distance_of_both_halves() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.integers(0, 256, (2, 5, 128), dtype=np.uint8)
    found = {(leak.first, leak.second): leak.distance_bits for leak in find_leaks(first, second, max_distance=512)}
    for (a, b), bits in found.items():
        halves = np.unpackbits(first[a] ^ second[b]).reshape(2, 512).sum(axis=1)
        assert bits == halves.min()
    assert len(found) == 25


def test_repeats_are_told_once_and_never_with_themselves() -> None:
    hashes = np.stack([perceptual_hash(picture(seed)) for seed in (1, 2, 1)])
    assert [(pair.first, pair.second) for pair in find_repeats(hashes)] == [(0, 2)]


def test_empty_sets_have_no_leaks() -> None:
    none = np.empty((0, 128), np.uint8)
    assert find_leaks(none, none) == ()
    assert find_repeats(none) == ()


def test_shared_groups_are_named_and_unknown_groups_are_not_shared() -> None:
    def side(*groups: str | None) -> list[Sample]:
        return [Sample(f"x/{n}", Path("x"), None, "x", group) for n, group in enumerate(groups)]

    assert shared_groups(side("b", "a", None), side("a", "c", "b", None)) == ("a", "b")
