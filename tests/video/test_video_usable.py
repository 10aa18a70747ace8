from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from video_parts import wall

from lawder_edge.bundle.processing import resize
from lawder_edge.data.images import read_image
from lawder_edge.data.phantom import make_frame
from lawder_edge.video.usable import why_unusable

SHARP = [make_frame(np.random.default_rng(i), size=(256, 256)).image for i in range(4)]


def test_sharp_and_lit_pictures_are_usable() -> None:
    assert [why_unusable(image) for image in [*SHARP, wall()]] == [""] * 5


def test_a_blurred_picture_is_told_though_its_border_is_sharp() -> None:
    for image in SHARP:
        blurred = cv2.GaussianBlur(image, (0, 0), 6)
        blurred[:, :40] = 0
        assert why_unusable(blurred) == "image unusable: blurred"


def test_a_dark_picture_is_told_also_where_nothing_is_to_be_seen() -> None:
    assert why_unusable((SHARP[0] * 0.12).astype(np.uint8)) == "image unusable: dark"
    assert why_unusable(np.zeros((256, 256, 3), np.uint8)) == "image unusable: dark"


def test_what_is_not_red_is_outside_the_body() -> None:
    assert why_unusable(np.ascontiguousarray(SHARP[1][..., ::-1])) == "image unusable: outside the body"


def test_a_grey_picture_such_as_a_ct_is_usable() -> None:
    grey = np.random.default_rng(0).integers(0, 256, (256, 256, 1), dtype=np.uint8)
    assert why_unusable(np.repeat(grey, 3, axis=2)) == ""


@pytest.mark.realdata
def test_real_images_are_usable_and_blurred_or_darkened_ones_are_not(real_data: Path) -> None:
    folders = [real_data / "kvasir-seg" / "images", real_data / "cvc-clinicdb" / "images"]
    images = [resize(read_image(p), (256, 256)) for f in folders for p in sorted(f.iterdir())[::40]]
    assert len(images) >= 40
    assert [why_unusable(i) for i in images] == [""] * len(images)
    assert {why_unusable(cv2.GaussianBlur(i, (0, 0), 3)) for i in images} == {"image unusable: blurred"}
    assert {why_unusable((i * 0.15).astype(np.uint8)) for i in images} == {"image unusable: dark"}
