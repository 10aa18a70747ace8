from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from lawder_edge.data.datasets import find_samples, read_split, select
from lawder_edge.data.load import load_pair
from lawder_edge.data.phantom import make_frame
from lawder_edge.errors import BadInput
from lawder_edge.video.frames import Source
from lawder_edge.video.textured import TexturedClip, find_places

SIZE = (96, 96)


def still(seed: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """A phantom with its polyp to the left, as a still from a folder would be."""
    frame = make_frame(np.random.default_rng(seed), size=(320, 400), area=0.04)
    columns = np.flatnonzero(frame.mask.any(0))
    shift = 80 - int(columns.mean())
    return np.roll(frame.image, shift, axis=1), np.roll(frame.mask, shift, axis=1)


def test_the_views_beside_the_polyp_show_none_of_it() -> None:
    image, mask = still()
    places = find_places(image, mask)
    assert places is not None
    x, y = places.free
    half = places.side / 2
    view = mask[int(y - half) : int(y + half), int(x - half) : int(x + half)]

    assert view.shape[0] >= 0.45 * 260
    assert not view.any()


def test_a_still_without_polyp_or_without_room_beside_it_is_refused() -> None:
    image, mask = still()
    everywhere = np.ones_like(mask)

    assert find_places(image, np.zeros_like(mask)) is None
    assert find_places(image, everywhere) is None
    with pytest.raises(BadInput, match="choose another"):
        TexturedClip(image, everywhere, seed=0)


def test_the_same_seed_gives_the_same_clip_and_it_reads_as_a_source() -> None:
    image, mask = still()
    source: Source = TexturedClip(image, mask, seed=1, size=SIZE, frames=2)
    frames = [source.read(), source.read(), source.read()]
    again = TexturedClip(image, mask, seed=1, size=SIZE, frames=2)

    assert frames[0] is not None
    assert frames[1] is not None
    assert frames[2] is None
    assert np.array_equal(again.picture_of(1), frames[1].image)
    assert (frames[0].cut, frames[1].cut) == (True, False)
    assert not np.array_equal(TexturedClip(image, mask, seed=2, size=SIZE, frames=2).picture_of(1), frames[1].image)


def test_the_polyp_comes_and_goes_and_some_of_the_clip_shows_none() -> None:
    image, mask = still()
    for seed in range(4):
        clip = TexturedClip(image, mask, seed=seed, size=SIZE, frames=150)
        shown = np.array([clip.mask_of(n).any() for n in range(0, 150, 5)])
        assert 0.2 < shown.mean() < 0.9
        assert np.abs(np.diff(shown.astype(int))).sum() >= 1


def test_motion_is_exact_under_changing_light_and_compression() -> None:
    image, mask = still()
    clip = TexturedClip(image, mask, seed=3, size=SIZE, frames=150)
    better = []
    for n in range(5, 150, 12):
        motion = clip.came_from(n)
        assert motion is not None
        before = cv2.remap(clip.mask_of(n - 1) * np.uint8(255), *motion, cv2.INTER_LINEAR) >= 128
        now = clip.mask_of(n) > 0
        if now.sum() > 200:
            # What comes in at the border was not there before.
            known = cv2.remap(np.full(SIZE, 255, np.uint8), *motion, cv2.INTER_LINEAR) == 255
            assert ((before & now & known).sum() / ((before | now) & known).sum()) > 0.93
        grey = [cv2.cvtColor(clip.picture_of(k), cv2.COLOR_RGB2GRAY).astype(np.float32) for k in (n - 1, n)]
        moved = cv2.remap(grey[0], *motion, cv2.INTER_LINEAR)
        inner = np.s_[12:-12, 12:-12]
        better.append(np.abs(grey[1] - moved)[inner].mean() < np.abs(grey[1] - grey[0])[inner].mean())
    assert np.mean(better) > 0.7
    assert clip.came_from(0) is None


@pytest.mark.realdata
def test_real_stills_become_clips(real_data: Path) -> None:
    ids = read_split(real_data / "splits" / "pranet_test_kvasir_100.txt")[:25]
    pairs = [load_pair(sample) for sample in select(find_samples(real_data / "kvasir-seg"), ids)]
    usable = [pair for pair in pairs if find_places(pair.image, pair.labels)]
    assert len(usable) >= 5
    for seed, pair in enumerate(usable[:3]):
        clip = TexturedClip(pair.image, pair.labels, seed=seed, frames=150)
        areas = [clip.mask_of(n).mean() for n in range(0, 150, 15)]
        assert max(areas) > 0.02
        assert min(areas) == 0
        assert clip.picture_of(75).std() > 10
