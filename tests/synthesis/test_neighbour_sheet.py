"""The contact sheet of mask, synthetic picture and nearest training picture."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from synth_samples import phantom_data

from lawder_edge.synthesis.score import Neighbour
from lawder_edge.synthesis.sheet import neighbour_sheet, pick_neighbours


def test_the_nearest_come_first_and_the_rest_are_spread_evenly_without_regard_to_distance() -> None:
    distances = np.random.default_rng(0).permutation(20) / 20
    all_of_them = [Neighbour(f"f/{i:02d}", "t/0", float(d), 0.0, "t/0", 0.9) for i, d in enumerate(distances)]
    picked = pick_neighbours(all_of_them, nearest=3, others=5)
    assert [n.distance for n in picked[:3]] == [0.0, 0.05, 0.1]
    rest = [n.id for n in all_of_them if n not in picked[:3]]
    assert [n.id for n in picked[3:]] == [rest[i] for i in (0, 4, 8, 12, 16)]
    assert pick_neighbours(all_of_them[:2], nearest=3, others=5) == tuple(
        sorted(all_of_them[:2], key=lambda n: n.distance)
    )


def test_a_block_shows_the_mask_the_picture_and_its_neighbour_in_this_order() -> None:
    fakes, train = phantom_data(3, seed=1), phantom_data(3, seed=2)
    train = dataclasses.replace(train, ids=("t/a", "t/b", "t/c"))
    sheet = neighbour_sheet([Neighbour(fakes.ids[1], "t/c", 0.25, 9.0, "t/c", 0.9)], fakes, train)
    # 22 px of titles, 8 px of gap; tiles of 256 px with 8 px between; 32 px pictures are drawn 8 times as large.
    tiles = [sheet[30:286, x : x + 256][4::8, 4::8] for x in (8, 272, 536)]
    assert np.array_equal(tiles[0], np.repeat(fakes.labels[1][..., None] * 255, 3, 2))
    assert np.array_equal(tiles[1], fakes.images[1])
    assert np.array_equal(tiles[2], train.images[2])


def test_grey_pictures_are_drawn() -> None:
    grey = phantom_data(2)
    grey = dataclasses.replace(grey, images=grey.images[..., :1])
    sheet = neighbour_sheet([Neighbour(grey.ids[0], grey.ids[1], 0.1, 1.0, grey.ids[1], 0.9)] * 3, grey, grey)
    assert sheet.shape[2] == 3
    with pytest.raises(ValueError, match="at least one"):
        neighbour_sheet([], grey, grey)
