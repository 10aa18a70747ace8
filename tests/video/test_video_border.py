from __future__ import annotations

import cv2
import numpy as np
from video_parts import wall

from lawder_edge.video.border import View, ViewFinder, find_view, whole


def bordered(top: int, bottom: int, left: int, right: int, *, size: tuple[int, int] = (540, 720)) -> np.ndarray:
    """A wall within a black border, with the noise of a sensor in it."""
    image = np.random.default_rng(1).integers(0, 12, (*size, 3), dtype=np.uint8)
    image[top:bottom, left:right] = wall(size=(bottom - top, right - left))
    return image


def close(a: View | None, b: View, *, px: int = 3) -> bool:
    return a is not None and np.abs(np.subtract(tuple(vars(a).values()), tuple(vars(b).values()))).max() <= px


def test_the_picture_within_a_black_border_is_found_to_the_grid() -> None:
    assert close(find_view(bordered(40, 500, 230, 690)), View(40, 500, 230, 690))


def test_a_picture_without_a_border_is_taken_whole() -> None:
    image = wall(size=(540, 720))
    assert find_view(image) == whole(image)
    assert find_view(bordered(4, 536, 6, 714)) == View(0, 540, 0, 720)


def test_an_octagon_is_cut_to_its_box() -> None:
    image = bordered(40, 500, 200, 660)
    corner = np.array([[200, 40], [300, 40], [200, 140]], np.int32)
    cv2.fillPoly(image, [corner], (0, 0, 0))
    assert close(find_view(image), View(40, 500, 200, 660))


def test_text_beside_the_picture_is_not_part_of_it() -> None:
    image = bordered(40, 500, 230, 690)
    for row in range(60, 460, 40):
        cv2.putText(image, "NAME 01/02", (10, row), cv2.FONT_HERSHEY_SIMPLEX, 0.9, (255, 255, 255), 2)
    assert close(find_view(image), View(40, 500, 230, 690))


def test_of_two_pictures_the_larger_one_is_taken() -> None:
    image = bordered(40, 500, 230, 690)
    image[380:500, 20:170] = wall(size=(120, 150))
    assert close(find_view(image), View(40, 500, 230, 690))


def test_nothing_is_found_in_the_dark() -> None:
    assert find_view(np.zeros((240, 320, 3), np.uint8)) is None


def test_a_dark_moment_does_not_shrink_the_view_and_a_cut_renews_it() -> None:
    finder = ViewFinder()
    first = finder.step(bordered(40, 500, 230, 690), cut=True)
    assert finder.step(bordered(140, 400, 330, 590), cut=False) == first
    assert finder.step(np.zeros((540, 720, 3), np.uint8), cut=False) == first
    assert close(finder.step(bordered(140, 400, 330, 690), cut=True), View(140, 400, 330, 690))


def test_another_size_renews_the_view() -> None:
    finder = ViewFinder()
    finder.step(bordered(40, 500, 230, 690), cut=True)
    small = wall(size=(96, 128))
    assert finder.step(small, cut=False) == whole(small)


def test_what_is_written_into_a_view_stands_in_the_frame_where_it_was_cut_from() -> None:
    view = View(40, 500, 230, 690)
    frame = np.zeros((540, 720), np.uint8)
    view.crop(frame)[:] = 1
    assert frame[40:500, 230:690].all()
    assert frame.sum() == view.size[0] * view.size[1]
