from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from lawder_edge.data.phantom import make_frame
from lawder_edge.errors import BadInput
from lawder_edge.evaluation.evaluate import EvalPair
from lawder_edge.evaluation.metrics import ImageScores
from lawder_edge.evaluation.overlay import PREDICTION, TRUTH, draw_contour, draw_overlay
from lawder_edge.evaluation.sheet import TILE_PX, Case, cases_of, contact_sheet, pick_cases


def scores(*dices: float) -> list[ImageScores]:
    return [ImageScores(f"d/{i:02d}", "d", None, d, d, d, d, d, d, 0.1, 0.1, False) for i, d in enumerate(dices)]


def case(id: str, *, size: tuple[int, int] = (96, 128)) -> Case:
    frame = make_frame(np.random.default_rng(3), size=size, area=0.1)
    return Case(id, "worst", 0.5, frame.image, frame.mask, frame.mask, frame.mask.astype(np.float32) * 0.9)


def holds(image: NDArray[np.uint8], colour: tuple[int, int, int]) -> bool:
    return bool((np.abs(image.astype(int) - colour).max(axis=2) <= 12).any())


def test_worst_median_and_best_are_picked_by_dice_and_none_twice() -> None:
    picks = pick_cases(scores(*np.linspace(1, 0, 21)), worst=2, median=3, best=1)

    assert [p.rank for p in picks] == ["worst", "worst", "median", "median", "median", "best"]
    assert [round(p.scores.dice, 2) for p in picks] == [0.0, 0.05, 0.45, 0.5, 0.55, 1.0]


def test_images_of_equal_dice_are_picked_by_id() -> None:
    picks = pick_cases(scores(0.0, 0.0, 0.0, 0.5), worst=2, median=0, best=0)

    assert [p.scores.id for p in picks] == ["d/00", "d/01"]


def test_of_images_with_nothing_to_find_the_one_with_the_most_false_area_is_the_worst() -> None:
    clean = replace(scores(1.0)[0], empty_truth=True, predicted_area_fraction=0.0)
    claimed = [replace(s, empty_truth=True, predicted_area_fraction=0.1 * i) for i, s in enumerate(scores(0, 0, 0), 1)]
    picks = pick_cases([clean, *claimed], worst=4, median=0, best=0)
    assert [p.scores.predicted_area_fraction for p in picks] == pytest.approx([0.3, 0.2, 0.1, 0.0])


def test_picked_images_are_predicted_again_in_the_order_of_the_picks() -> None:
    pairs = [EvalPair(s.id, "d", None, np.full((8, 8, 3), 10 * i, np.uint8), np.ones((8, 8), np.uint8))
             for i, s in enumerate(scores(0.2, 0.9, 0.1))]  # fmt: skip
    picks = pick_cases(scores(0.2, 0.9, 0.1), worst=2, median=0, best=0)
    cases = cases_of(picks, iter(pairs), lambda f: f[..., 0].astype(np.float32) / 100, threshold=0.5)
    assert [(c.id, c.dice, c.probability[0, 0]) for c in cases] == [("d/02", 0.1, np.float32(0.2)), ("d/00", 0.2, 0)]
    with pytest.raises(BadInput, match="d/02 was picked"):
        cases_of(picks, pairs[:2], lambda f: f[..., 0].astype(np.float32), threshold=0.5)


@pytest.mark.parametrize("n", [0, 1, 3, 7, 11, 12, 13])
def test_a_small_set_is_shown_whole_and_none_twice(n: int) -> None:
    picks = pick_cases(scores(*np.linspace(0, 1, n)), worst=6, median=3, best=3)

    assert len({p.scores.id for p in picks}) == len(picks) == min(n, 12)


def test_the_sheet_draws_truth_and_prediction_in_their_own_tiles() -> None:
    sheet = contact_sheet([case("d/1")], columns=1)
    truth, prediction = sheet[30 : 30 + TILE_PX, :TILE_PX], sheet[30 : 30 + TILE_PX, TILE_PX + 16 : 2 * TILE_PX]

    assert sheet.dtype == np.uint8
    assert holds(truth, TRUTH)
    assert not holds(truth, PREDICTION)
    assert holds(prediction, PREDICTION)
    assert not holds(prediction, TRUTH)


def test_cases_of_other_sizes_and_names_share_one_sheet() -> None:
    cases = [case("d/1"), case("d/größe", size=(300, 64)), case("d/3", size=(32, 32))]

    two, one = contact_sheet(cases), contact_sheet(cases, columns=1)

    assert two.shape[1] == 2 * one.shape[1]
    assert two.shape[0] < one.shape[0]


def test_a_sheet_of_nothing_and_a_case_of_two_sizes_are_refused() -> None:
    whole = case("d/1")
    torn = Case("d/2", "worst", 0.5, whole.frame, whole.truth[1:], whole.found, whole.probability)

    with pytest.raises(BadInput, match="at least one case"):
        contact_sheet([])
    with pytest.raises(BadInput, match="d/2"):
        contact_sheet([torn])


def test_an_overlay_tints_the_mask_and_leaves_the_rest_of_the_frame() -> None:
    frame = np.full((200, 200, 3), 100, np.uint8)
    mask = np.zeros((200, 200), bool)
    mask[60:140, 60:140] = True

    shown = draw_overlay(frame, mask)

    np.testing.assert_array_equal(shown[100, 100], np.round(75 + 0.25 * np.array(PREDICTION)))
    assert (shown[:50] == 100).all()
    assert holds(shown, PREDICTION)
    assert (frame == 100).all()


def test_an_overlay_of_nothing_is_the_frame() -> None:
    frame = make_frame(np.random.default_rng(0), size=(64, 64)).image

    np.testing.assert_array_equal(draw_overlay(frame, np.zeros((64, 64), bool)), frame)


def test_of_several_classes_the_sheet_outlines_what_was_scored() -> None:
    pair = EvalPair("d/00", "d", None, np.zeros((8, 8, 3), np.uint8), np.zeros((8, 8), np.uint8))
    # Background is the largest, though the two others together are more.
    given = np.broadcast_to(np.array([0.4, 0.3, 0.3], np.float32)[:, None, None], (3, 8, 8)).copy()
    given[:, 2] = [[0.1], [0.2], [0.7]]
    [shown] = cases_of(pick_cases(scores(0.5)), [pair], lambda _: given, threshold=0.5)
    assert shown.found.sum() == 8
    assert shown.found[2].all()
    np.testing.assert_allclose(shown.probability[0], 0.6)


def test_the_outline_grows_with_the_frame() -> None:
    def drawn(side: int) -> float:
        mask = np.zeros((side, side), bool)
        mask[side // 4 : side // 2, side // 4 : side // 2] = True
        grey = np.full((side, side, 3), 100, np.uint8)
        return float((draw_contour(grey, mask, TRUTH) != grey).any(axis=2).mean())

    assert drawn(1024) == pytest.approx(drawn(512), rel=0.3)


def test_a_mask_of_another_size_is_refused() -> None:
    with pytest.raises(BadInput, match="same size"):
        draw_overlay(np.zeros((8, 8, 3), np.uint8), np.zeros((8, 9), bool))
