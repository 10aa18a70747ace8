from __future__ import annotations

import cv2
import numpy as np
import pytest

from lawder_edge.errors import BadInput
from lawder_edge.video import measures

SIZE = (40, 60)
FOLLOWS = np.array([False] + [True] * 59)


def box(left: int, width: int = 20, top: int = 10, height: int = 20) -> np.ndarray:
    mask = np.zeros(SIZE, bool)
    mask[top : top + height, max(left, 0) : left + width] = True
    return mask


def test_a_mask_that_changes_as_the_polyp_does_has_no_unmatched_change() -> None:
    truth = np.stack([box(10, 10 + t) for t in range(6)])
    offset = np.stack([box(10, 12 + t) for t in range(6)])

    assert measures.unmatched_change(truth, truth, FOLLOWS[:6]) == 0
    assert measures.unmatched_change(offset, truth, FOLLOWS[:6]) == 0


def test_unmatched_change_is_a_share_of_the_polyps_area_and_cuts_are_left_out() -> None:
    truth = np.stack([box(10)] * 5)
    track = np.stack([box(10, 20 + 2 * (t % 2)) for t in range(5)])

    assert measures.unmatched_change(track, truth, FOLLOWS[:5]) == pytest.approx(2 / 20)
    follows = FOLLOWS[:5].copy()
    follows[1:3] = False
    track[2:] = track[2]
    assert measures.unmatched_change(track, truth, follows) == 0
    with pytest.raises(BadInput, match="shows none"):
        measures.unmatched_change(track, np.zeros_like(truth), follows)


def moved(dx: float) -> tuple[np.ndarray, np.ndarray]:
    y, x = np.mgrid[0 : SIZE[0], 0 : SIZE[1]].astype(np.float32)
    return x - np.float32(dx), y


def test_a_mask_that_moves_with_the_scene_is_consistent_and_one_that_stands_is_not() -> None:
    motions = [None, *[moved(2)] * 4]
    with_it = np.stack([box(10 + 2 * t) for t in range(5)])
    standing = np.stack([box(20)] * 5)

    assert measures.motion_inconsistency(with_it, motions) == pytest.approx(0, abs=1e-6)
    assert measures.motion_inconsistency(standing, motions) == pytest.approx(1 - 18 / 22, abs=0.01)
    assert measures.motion_inconsistency(standing, [None] * 5) == 0


def test_frames_without_a_mask_are_not_counted_as_consistent() -> None:
    track = np.stack([box(10), box(10, 10), np.zeros(SIZE, bool), np.zeros(SIZE, bool)])

    assert measures.motion_inconsistency(track, [None, *[moved(0)] * 3]) == pytest.approx((0.5 + 1) / 2)


def test_what_comes_into_view_is_not_compared() -> None:
    entering = np.stack([box(-15 + 5 * t) for t in range(4)])

    assert measures.motion_inconsistency(entering, [None, *[moved(5)] * 3]) == pytest.approx(0, abs=1e-6)


def test_a_dropout_is_a_found_polyp_that_is_lost_while_it_is_seen() -> None:
    truth = np.stack([box(10)] * 9 + [np.zeros(SIZE, bool)])
    hit = [0, 0, 1, 1, 0, 0, 1, 0, 1, 0]
    track = np.stack([box(10) if h else box(40, 5) for h in hit])

    # Twice in nine frames of a seen polyp; that it comes late and goes with the polyp is none.
    assert measures.dropouts_per_minute(track, truth, FOLLOWS[:10], fps=30) == pytest.approx(2 * 60 * 30 / 9)


def test_false_regions_touch_no_polyp() -> None:
    truth = np.stack([box(10), box(10), np.zeros(SIZE, bool), np.zeros(SIZE, bool)])
    track = np.stack([box(25), box(10) | box(50, 5), box(50, 5), np.zeros(SIZE, bool)])

    assert measures.false_frames(track, truth).tolist() == [False, True, True, False]


def test_episodes_are_counted_by_their_length_a_minute() -> None:
    flags = np.array([1, 1, 0, 1, 0, 0, 1, 1, 1, 1], bool)

    assert measures.episodes(flags) == [(0, 2), (3, 4), (6, 10)]
    assert measures.episodes(flags, follows=np.arange(10) != 8) == [(0, 2), (3, 4), (6, 8), (8, 10)]
    assert measures.episodes_per_minute(flags, fps=10) == 3 * 60
    assert measures.episodes_per_minute(flags, fps=10, least_s=0.2) == 2 * 60
    assert measures.episodes_per_minute(flags, fps=10, least_s=0.5) == 0


def test_the_delay_of_an_alarm_counts_from_where_the_polyp_is_seen_and_only_where_the_mask_touches_it() -> None:
    nothing = np.zeros(SIZE, bool)
    truth = np.stack([nothing] * 2 + [box(10)] * 6 + [nothing] * 2 + [box(10)] * 3)
    track = np.stack([box(45, 5)] * 4 + [box(10)] * 9)
    alarms = np.array([1, 1, 1, 1, 0, 1, 1, 1, 0, 0, 0, 0, 0], bool)

    assert measures.alarm_delays(alarms, track, truth, FOLLOWS[:13], fps=10) == [pytest.approx(0.3), None]


@pytest.mark.parametrize("lag", [-2, 0, 1, 3])
def test_the_contour_lag_is_by_how_many_frames_masks_trail(lag: int) -> None:
    truth = np.stack([box(5 + 2 * (t % 20 if t % 40 < 20 else 20 - t % 20)) for t in range(60)])

    assert measures.contour_lag(np.roll(truth, lag, axis=0)[8:-8], truth[8:-8]) == pytest.approx(lag, abs=0.05)


def test_a_lag_of_half_a_frame_is_seen() -> None:
    def at(x: float) -> np.ndarray:
        canvas = np.zeros(SIZE, np.float32)
        canvas[10:30, :20] = 1
        shift = np.array([[1, 0, x], [0, 1, 0]], np.float32)
        return cv2.warpAffine(canvas, shift, SIZE[::-1], borderMode=cv2.BORDER_CONSTANT) > 0.5

    truth, late = (np.stack([at(1 + 2.0 * t - d) for t in range(18)]) for d in (0, 1))

    assert measures.contour_lag(late, truth) == pytest.approx(0.5, abs=0.2)


def test_masks_and_truth_of_other_lengths_are_refused() -> None:
    with pytest.raises(BadInput, match="cannot be compared"):
        measures.mean_dice(np.zeros((3, *SIZE), bool), np.zeros((4, *SIZE), bool))
