"""Corruptions of frames: repeatable, graded, and of the frame's own shape."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from numpy.typing import NDArray

from lawder_edge.data.phantom import make_frame
from lawder_edge.errors import BadInput
from lawder_edge.evaluation.corruptions import CORRUPTIONS, SEVERITIES, corrupt


@pytest.fixture(scope="module")
def frame() -> NDArray[np.uint8]:
    return make_frame(np.random.default_rng(3), size=(192, 256)).image


@pytest.mark.parametrize("kind", CORRUPTIONS)
def test_the_same_seed_gives_the_same_picture_and_leaves_the_frame_alone(kind: str, frame: NDArray[np.uint8]) -> None:
    before = frame.copy()
    for severity in SEVERITIES:
        first, second = (corrupt(frame, kind, severity, np.random.default_rng(7)) for _ in range(2))
        assert first.shape == frame.shape
        assert first.dtype == np.uint8
        assert np.array_equal(first, second)
        assert not np.array_equal(first, frame)
    assert np.array_equal(frame, before)


@pytest.mark.parametrize("kind", CORRUPTIONS)
def test_a_higher_severity_changes_more(kind: str, frame: NDArray[np.uint8]) -> None:
    changed = [
        np.mean([
            np.abs(corrupt(frame, kind, severity, np.random.default_rng(seed)).astype(int) - frame).mean()
            for seed in range(3)
        ])
        for severity in SEVERITIES
    ]  # fmt: skip
    assert all(b > a for a, b in itertools.pairwise(changed)), changed


@pytest.mark.parametrize("kind", ["smoke", "blood", "specular spots", "bubbles"])
def test_the_black_around_the_field_of_view_stays_black(kind: str, frame: NDArray[np.uint8]) -> None:
    framed = frame.copy()
    framed[:, :80] = 0
    assert int(corrupt(framed, kind, 5, np.random.default_rng(0))[:, :60].max()) == 0


def test_a_severity_means_the_same_at_every_resolution() -> None:
    small, large = (make_frame(np.random.default_rng(3), size=size).image for size in ((96, 128), (384, 512)))
    shares = []
    for picture in (small, large):
        white = np.full_like(picture, 0)
        white[picture.shape[0] // 2 :] = 255
        edge = corrupt(white, "defocus", 4, np.random.default_rng(0))
        shares.append(((edge > 0) & (edge < 255)).mean())
    assert shares[0] == pytest.approx(shares[1], rel=0.35)


def test_what_cannot_be_corrupted_is_told_why(frame: NDArray[np.uint8]) -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(BadInput, match="unknown corruption 'rain'; known: motion blur"):
        corrupt(frame, "rain", 1, rng)
    with pytest.raises(BadInput, match="severity 6"):
        corrupt(frame, "smoke", 6, rng)
    with pytest.raises(BadInput, match=r"got .* of float64"):
        corrupt(frame / 255.0, "smoke", 1, rng)  # type: ignore[arg-type]
