"""Image and mask together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lawder_edge.data.datasets import find_samples
from lawder_edge.data.load import load_image, load_pair
from lawder_edge.errors import BadDataset

Builder = Callable[..., Path]


def test_a_pair_has_image_labels_and_notes(build_folder: Builder) -> None:
    (sample,) = find_samples(build_folder("polyps", ["a"], mask_suffix=".jpg"))
    pair = load_pair(sample)
    assert (pair.image.shape, pair.labels.shape) == ((40, 48, 3), (40, 48))
    assert int(pair.labels.sum()) == 10 * 18
    assert "thresholded" in pair.notes[0]
    assert load_pair(sample, channels=1).image.shape == (40, 48, 1)
    np.testing.assert_array_equal(load_image(sample), pair.image)


def test_image_and_mask_of_different_size_are_an_error_that_gives_both(build_folder: Builder) -> None:
    folder = build_folder("polyps", ["a"])
    Image.new("L", (30, 20)).save(folder / "masks" / "a.png")
    (sample,) = find_samples(folder)
    with pytest.raises(BadDataset, match=r"polyps/a: the image is 48x40 and its mask 30x20 .*Scale one"):
        load_pair(sample)


def test_a_sample_without_mask_is_an_error(build_folder: Builder) -> None:
    (sample,) = find_samples(build_folder("polyps", ["a"]))
    with pytest.raises(BadDataset, match="polyps/a: no mask"):
        load_pair(replace(sample, mask=None))
