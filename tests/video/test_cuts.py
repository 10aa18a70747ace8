from __future__ import annotations

import itertools

import cv2
import numpy as np
import pytest

from lawder_edge.video.clip import SEGMENT_S, ProceduralClip
from lawder_edge.video.cuts import change, glance, is_cut

SIZE = (120, 160)
FPS = 30.0


@pytest.fixture(scope="module")
def clips() -> list[ProceduralClip]:
    return [ProceduralClip(seed=s, size=SIZE, fps=FPS) for s in (3, 4)]


def test_a_moving_camera_makes_no_cut_not_even_when_it_turns_quickly(clips: list[ProceduralClip]) -> None:
    for clip in clips:
        seen = [glance(clip.picture_of(n)) for n in range(0, round(SEGMENT_S * FPS), 2)]
        assert not any(is_cut(a, b) for a, b in itertools.pairwise(seen))


def test_another_place_is_a_cut(clips: list[ProceduralClip]) -> None:
    segment = round(SEGMENT_S * FPS)
    places = [glance(clip.picture_of(i * segment + at)) for clip in clips for i in range(4) for at in (40, 90)]
    # Two moments of one segment may look alike: only different segments are compared.
    pairs = [(a, b) for i, a in enumerate(places) for j, b in enumerate(places) if i // 2 != j // 2]
    caught = [is_cut(a, b) for a, b in pairs]

    assert np.mean(caught) > 0.95


def test_light_that_changes_is_no_cut(clips: list[ProceduralClip]) -> None:
    image = clips[0].picture_of(80)
    darker = cv2.convertScaleAbs(image, alpha=0.75)

    assert not is_cut(glance(image), glance(darker))
    assert is_cut(glance(image), glance(255 - image))


def test_flat_pictures_are_judged_by_their_colour_alone() -> None:
    rng = np.random.default_rng(0)
    red, red_again, blue = (
        np.clip(np.array(c) + rng.normal(0, 2, (*SIZE, 3)), 0, 255).astype(np.uint8)
        for c in ((190, 80, 60), (190, 80, 60), (60, 80, 190))
    )

    assert change(glance(red), glance(red_again))[0] == 0
    assert not is_cut(glance(red), glance(red_again))
    assert is_cut(glance(red), glance(blue))


def test_pictures_of_other_sizes_can_be_compared(clips: list[ProceduralClip]) -> None:
    image = clips[0].picture_of(50)
    half = cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)

    assert not is_cut(glance(image), glance(half))
