from __future__ import annotations

import numpy as np
import pytest
from video_parts import found, spotted, truth, wall

from lawder_edge.evaluation.overlay import PREDICTION
from lawder_edge.video.draw import Overlay, add_labels, draw_mask, finding, side_by_side
from lawder_edge.video.frames import Status


def drawn(
    image: np.ndarray, mask: np.ndarray | None = None, overlay: Overlay | None = None, **more: object
) -> np.ndarray:
    segmented = found(image, mask, **more)
    return add_labels(draw_mask(segmented), segmented, overlay or Overlay())


def test_words_say_how_sure_and_how_large_or_that_there_is_nothing() -> None:
    image = spotted(3)
    mask = truth(image)
    assert finding(found(image, mask)) == f"polyp 1.00  {100 * mask.mean():.1f} %"
    assert finding(found(image, mask, alarm=False)).startswith("polyp? ")
    assert finding(found(image)) == "no polyp"
    assert finding(found(image, reason="image unusable: dark")) == "image unusable: dark"


def test_the_outline_is_yellow_once_confirmed_and_white_before() -> None:
    image = spotted(3)
    for alarm, colour in ((True, PREDICTION), (False, (255, 255, 255))):
        out = draw_mask(found(image, truth(image), alarm=alarm))
        on_line = (out == colour).all(axis=2)
        assert on_line.sum() > 20
        assert not on_line[(out == image).all(axis=2)].any()


def test_a_frame_that_is_a_polyp_from_edge_to_edge_is_not_drawn_on_itself() -> None:
    image = wall()
    kept = image.copy()
    out = draw_mask(found(image, np.ones(image.shape[:2], bool)))
    np.testing.assert_array_equal(image, kept)
    assert (out != kept).any()


def test_far_from_the_mask_and_the_words_the_picture_is_untouched_and_the_frame_itself_is_never_drawn_on() -> None:
    image = spotted(0, size=(240, 320))
    kept = image.copy()
    out = drawn(image, truth(image), alarm=False)
    np.testing.assert_array_equal(image, kept)
    np.testing.assert_array_equal(out[60:200, 200:], image[60:200, 200:])


@pytest.mark.parametrize("size", [(96, 128), (640, 360), (2160, 3840)])
def test_every_picture_carries_the_research_mark_at_its_lower_edge(size: tuple[int, int]) -> None:
    image = wall(size=size)
    out = drawn(image)
    changed = (out != image).any(axis=2)
    assert changed[-size[0] // 8 :].any()
    assert changed[: size[0] // 8].any()


def test_warnings_figures_keys_and_the_red_dot_are_drawn_when_asked_for() -> None:
    image = wall(size=(360, 480))
    plain = drawn(image)
    for overlay in (
        Overlay(notes=("camera lost, reconnecting (try 3)",)),
        Overlay(status=Status(fps=25), threshold=0.5),
        Overlay(keys=True),
        Overlay(recording=True),
    ):
        assert (drawn(image, overlay=overlay) != plain).any()


def test_a_warning_that_is_not_ascii_is_drawn_all_the_same() -> None:
    image = wall(size=(360, 480))
    assert (drawn(image, overlay=Overlay(notes=("Kamera gestört — neu",))) != drawn(image)).any()


def test_masks_of_different_frames_never_stand_side_by_side() -> None:
    image = spotted(0)
    with pytest.raises(ValueError, match="frames 1 and 2"):
        side_by_side(found(image, number=1), found(image, number=2), Overlay(), ("a", "b"))
