from __future__ import annotations

import cv2
import numpy as np
import pytest
from video_parts import wall

from lawder_edge.data.phantom import make_frame
from lawder_edge.video.border import View, whole
from lawder_edge.video.text import TextBlur, find_text

TEXT = "DOE JANE 1961-02-03"


def labelled(height: int, width: int, *, at: tuple[float, float] = (0.1, 0.5)) -> tuple[np.ndarray, np.ndarray]:
    """A procedural frame with a name on it, and without."""
    frame = make_frame(np.random.default_rng(3), size=(240, 320)).image
    plain = cv2.resize(frame, (width, height), interpolation=cv2.INTER_CUBIC)
    image = plain.copy()
    place = int(at[0] * width), int(at[1] * height)
    cv2.putText(image, TEXT, place, cv2.FONT_HERSHEY_SIMPLEX, height / 500, (255, 255, 255), max(1, height // 300))
    return image, plain


@pytest.mark.parametrize("size", [(360, 480), (720, 960), (1080, 1920)])
def test_a_name_over_the_picture_is_found_and_cannot_be_read_afterwards(size: tuple[int, int]) -> None:
    image, plain = labelled(*size)
    letters = (image != plain).any(axis=2)
    covered = np.zeros(size, bool)
    for box in find_text(image):
        box.crop(covered)[:] = True
    assert covered[letters].mean() > 0.98
    blurred = TextBlur().step(image, whole(image), cut=True)
    # What the letters stood out by is gone: within their box nothing is brighter than its surroundings by a stroke.
    strokes = cv2.morphologyEx(cv2.cvtColor(blurred, cv2.COLOR_RGB2GRAY), cv2.MORPH_TOPHAT, np.ones((9, 9), np.uint8))
    assert strokes[letters].max() < 40


def test_text_that_stands_stays_hidden_where_it_cannot_be_found_and_spots_that_move_are_let_go() -> None:
    image, plain = labelled(360, 480)
    place = (image != plain).any(axis=2)
    blur = TextBlur()
    for frame in [image] * 4 + [plain] * 4:
        out = blur.step(frame, whole(frame), cut=False)
    assert (out[place] != plain[place]).any()
    moving = TextBlur()
    for shift in range(8):
        out = moving.step(np.roll(image, 12 * shift, axis=0), whole(image), cut=False)
    np.testing.assert_array_equal(out, np.roll(image, 12 * 7, axis=0))


def test_all_beside_the_picture_is_blurred_and_the_picture_is_not() -> None:
    image = np.zeros((360, 480, 3), np.uint8)
    view = View(20, 340, 140, 460)
    view.crop(image)[:] = cv2.GaussianBlur(wall(size=view.size), (0, 0), 2)
    before = image.copy()
    for row in range(40, 340, 30):
        cv2.putText(image, "ID", (10, row), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (255, 255, 255), 1)
    out = TextBlur().step(image, view, cut=True)
    np.testing.assert_array_equal(view.crop(out), view.crop(before))
    assert out[:, :140].max() < 60
    assert image[:, :140].max() == 255


def test_frames_without_text_are_seldom_touched() -> None:
    frames = [make_frame(np.random.default_rng(i), size=(192, 192)).image for i in range(20)]
    assert sum(bool(find_text(f)) for f in frames) <= 4
