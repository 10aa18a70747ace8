"""Augmentation."""

from __future__ import annotations

import numpy as np
import pytest

from lawder_edge.data.augment import (
    AugmentConfig,
    Example,
    augment,
    black_corners,
    blur,
    exchange_colour,
    geometry,
    jpeg,
    specular,
    tone,
    vignette,
)
from lawder_edge.data.phantom import make_frame

ALWAYS = AugmentConfig(
    p_exchange=1, p_tone=1, p_vignette=1, p_specular=1, p_blur=1, p_noise=1, p_corners=1, p_jpeg=1, p_rotate=1
)
STILL = AugmentConfig(p_flip=0, p_rotate=0, scale=(1, 1), anisotropy=(1, 1), shift=0)


@pytest.fixture(scope="module")
def pair() -> tuple[np.ndarray, np.ndarray]:
    made = make_frame(np.random.default_rng(0), size=(96, 128), area=0.1)
    return made.image, made.mask


def _rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_the_same_generator_gives_the_same_picture(pair: tuple[np.ndarray, np.ndarray]) -> None:
    first, second, other = (augment(*pair, ALWAYS, size=(64, 64), rng=_rng(s), other=pair[0][::-1]) for s in (3, 3, 4))
    assert np.array_equal(first[0], second[0])
    assert np.array_equal(first[1], second[1])
    assert not np.array_equal(first[0], other[0])


@pytest.mark.parametrize("size", [(64, 64), (96, 128), (160, 96)])
@pytest.mark.parametrize("channels", [1, 3])
def test_frames_keep_their_channels_and_take_the_size_asked_for(
    pair: tuple[np.ndarray, np.ndarray], size: tuple[int, int], channels: int
) -> None:
    frame, labels, _ = augment(pair[0][..., :channels], pair[1], ALWAYS, size=size, rng=_rng(), other=pair[0])
    assert (frame.shape, frame.dtype) == ((*size, channels), np.uint8)
    assert (labels.shape, labels.dtype) == (size, np.uint8)
    assert set(np.unique(labels)) <= {0, 1}


def test_a_geometry_that_does_nothing_gives_the_frame_back(pair: tuple[np.ndarray, np.ndarray]) -> None:
    frame, labels, _ = geometry(*pair, STILL, size=pair[1].shape, rng=_rng())
    assert np.array_equal(frame, pair[0])
    assert np.array_equal(labels, pair[1])


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("size", [(48, 48), (96, 128)])
def test_the_mask_moves_with_the_frame(seed: int, size: tuple[int, int]) -> None:
    """A frame that is its own mask stays so, shrunk or not, mirrored or not."""
    labels = np.zeros((96, 128), np.uint8)
    labels[20:60, 30:90] = 1
    frame, moved, taught = geometry(
        labels[..., None] * 255, labels, AugmentConfig(), size=size, rng=_rng(seed), taught=labels * 255
    )
    differs = (frame[..., 0] > 127) != (moved > 0)
    assert moved.any()
    assert differs.mean() < 0.02
    assert taught is not None
    assert ((taught > 127) != (moved > 0)).mean() < 0.02


def test_what_a_teacher_said_is_not_touched_by_colour_and_hidden_with_the_picture() -> None:
    frame, labels = np.full((64, 64, 3), 90, np.uint8), np.ones((64, 64), np.uint8)
    still = AugmentConfig(
        p_flip=0, p_rotate=0, scale=(1, 1), anisotropy=(1, 1), shift=0, p_tone=1, p_noise=1, p_corners=1, p_jpeg=1
    )
    shown = augment(frame, labels, still, size=(64, 64), rng=_rng(1), taught=labels * 200)
    assert shown.taught is not None
    np.testing.assert_array_equal(shown.taught, shown.labels * 200)
    assert set(np.unique(shown.labels)) == {0, 1}


def test_black_stays_black_under_a_change_of_tone() -> None:
    frame = np.zeros((8, 8, 3), np.uint8)
    for seed in range(20):
        assert tone(frame, AugmentConfig(), rng=_rng(seed)).max() == 0


def test_colour_exchange_brings_the_mean_nearer_to_the_lenders(pair: tuple[np.ndarray, np.ndarray]) -> None:
    lender = np.clip(pair[0].astype(int) * [0.6, 1.0, 1.3] + [0, 20, 30], 0, 255).astype(np.uint8)
    lit = pair[0].sum(2) > 120
    before = np.abs(pair[0][lit].mean(0) - lender[lit].mean(0)).sum()
    after = np.abs(exchange_colour(pair[0], lender, rng=_rng())[lit].mean(0) - lender[lit].mean(0)).sum()
    assert after < 0.9 * before


def test_a_lender_without_tissue_changes_nothing(pair: tuple[np.ndarray, np.ndarray]) -> None:
    assert np.array_equal(exchange_colour(pair[0], np.zeros_like(pair[0]), rng=_rng()), pair[0])


def test_a_vignette_only_darkens_and_highlights_only_brighten(pair: tuple[np.ndarray, np.ndarray]) -> None:
    assert (vignette(pair[0], rng=_rng()) <= pair[0]).all()
    assert (specular(pair[0], rng=_rng()) >= pair[0]).all()
    assert specular(pair[0], rng=_rng()).max() > 200


@pytest.mark.parametrize("seed", range(6))
def test_blur_takes_detail_away_and_keeps_the_brightness(pair: tuple[np.ndarray, np.ndarray], seed: int) -> None:
    rough = _rng(9).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    soft = blur(rough, AugmentConfig(blur_sigma_px=8), rng=_rng(seed))
    assert soft.std() < 0.8 * rough.std()
    assert abs(soft.mean() - rough.mean()) < 3


def test_what_the_scopes_border_hides_leaves_the_mask() -> None:
    labels = np.ones((64, 64), np.uint8)
    for seed in range(8):
        frame, left, _ = black_corners(Example(np.full((64, 64, 3), 200, np.uint8), labels), rng=_rng(seed))
        assert np.array_equal(frame[..., 0] > 0, left > 0)
        assert 0.5 < left.mean() < 1


def test_compression_keeps_colours_in_their_channels(pair: tuple[np.ndarray, np.ndarray]) -> None:
    frame = np.full((32, 32, 3), (200, 90, 40), np.uint8)
    assert np.abs(jpeg(frame, AugmentConfig(), rng=_rng()).astype(int).mean((0, 1)) - [200, 90, 40]).max() < 8
