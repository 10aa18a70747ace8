"""Images with nothing to find in them."""

from __future__ import annotations

import numpy as np

from lawder_edge.evaluation.evaluate import EvalPair
from lawder_edge.evaluation.negatives import clear_crop, clear_crops, clear_phantoms


def test_a_crop_shows_the_image_beside_the_polyp_and_keeps_its_name() -> None:
    frame = np.random.default_rng(0).integers(0, 256, (100, 200, 3), dtype=np.uint8)
    labels = np.zeros((100, 200), np.uint8)
    labels[40:60, :40] = 1
    crop = clear_crop(EvalPair("d/1", "d", "s1", frame, labels))
    assert crop is not None
    assert (crop.id, crop.dataset, crop.group) == ("d/1", "d without polyp", "s1")
    # 3 pixels of margin beside the polyp leave columns 43 to 199: 156 of them are twice as many as 78 rows.
    np.testing.assert_array_equal(crop.frame, frame[11:89, 43:199])
    assert crop.labels.shape == crop.frame.shape[:2]
    assert not crop.labels.any()


def test_images_that_polyps_fill_give_no_crop() -> None:
    full = EvalPair("d/1", "d", None, np.zeros((40, 40, 3), np.uint8), np.ones((40, 40), np.uint8))
    clean = EvalPair("d/2", "d", None, np.zeros((40, 40, 3), np.uint8), np.zeros((40, 40), np.uint8))
    assert [crop.id for crop in clear_crops([full, clean])] == ["d/2"]


def test_phantoms_without_a_polyp_are_the_same_whatever_their_number() -> None:
    few, many = (list(clear_phantoms(n, size=(64, 64), seed=1)) for n in (1, 3))
    np.testing.assert_array_equal(few[0].frame, many[0].frame)
    assert len({pair.id for pair in many}) == 3
    assert not any(pair.labels.any() for pair in many)
