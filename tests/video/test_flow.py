from __future__ import annotations

import cv2
import numpy as np
import pytest

from lawder_edge.video.flow import Follower

SIZE = (128, 160)
INNER = np.s_[24:-24, 24:-24]


def texture(seed: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    noise = np.random.default_rng(seed).integers(0, 256, size, np.uint8)
    return cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 3), None, 20, 235, cv2.NORM_MINMAX)


@pytest.mark.parametrize(("right", "down"), [(0, 0), (3, 0), (-4, 2), (6, -5)])
def test_a_shift_is_found_and_trusted(right: int, down: int) -> None:
    wide = texture(1, (SIZE[0] + 20, SIZE[1] + 20))
    before = wide[10 : 10 + SIZE[0], 10 : 10 + SIZE[1]]
    now = wide[10 - down : 10 - down + SIZE[0], 10 - right : 10 - right + SIZE[1]]
    motion = Follower(SIZE).motion(np.ascontiguousarray(before), np.ascontiguousarray(now))
    y, x = np.mgrid[0 : SIZE[0], 0 : SIZE[1]]

    assert np.abs(motion.x - (x - right))[INNER].mean() < 0.3
    assert np.abs(motion.y - (y - down))[INNER].mean() < 0.3
    assert motion.trust[INNER].mean() > 0.85


def test_pictures_of_two_places_are_bent_to_fit_and_not_trusted() -> None:
    trust = [Follower(SIZE).motion(texture(2 * i), texture(2 * i + 1)).trust[INNER].mean() for i in range(4)]

    assert max(trust) < 0.4


def test_what_comes_into_view_is_not_trusted() -> None:
    wide = texture(3, (SIZE[0], SIZE[1] + 12))
    motion = Follower(SIZE).motion(np.ascontiguousarray(wide[:, :-12]), np.ascontiguousarray(wide[:, 12:]))

    assert motion.trust[:, -6:].mean() < 0.2
    assert motion.trust[INNER].mean() > 0.8


def test_light_that_changes_everywhere_is_still_trusted() -> None:
    picture = texture(4)
    motion = Follower(SIZE).motion(picture, cv2.add(picture, np.full_like(picture, 20)))

    assert motion.trust[INNER].mean() > 0.8


def test_a_picture_taken_to_stand_still_is_trusted_where_it_does() -> None:
    before, now = texture(5), texture(5)
    now[:, 80:] = texture(6)[:, 80:]
    trust = Follower(SIZE).stillness(before, now).trust

    assert trust[:, :70].mean() > 0.9
    assert trust[:, 90:].mean() < 0.5


def test_what_is_carried_along_stands_where_it_went() -> None:
    wide = texture(7, (SIZE[0], SIZE[1] + 8))
    motion = Follower(SIZE).motion(np.ascontiguousarray(wide[:, :-8]), np.ascontiguousarray(wide[:, 8:]))
    marked = np.zeros(SIZE, np.float32)
    marked[40:80, 60:100] = 1

    moved = motion.carry(marked) > 0.5
    wanted = np.zeros(SIZE, bool)
    wanted[40:80, 52:92] = True
    assert (moved & wanted).sum() / (moved | wanted).sum() > 0.95
