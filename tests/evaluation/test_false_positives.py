"""What is claimed where nothing is, and how a report tells it."""

from __future__ import annotations

import csv
import io

import numpy as np
import pytest
from numpy.typing import NDArray

from lawder_edge.errors import BadInput
from lawder_edge.evaluation import tables
from lawder_edge.evaluation.evaluate import EvalPair, EvalReport, evaluate
from lawder_edge.evaluation.false_positives import false_positives
from lawder_edge.evaluation.metrics import ImageScores, score_image
from lawder_edge.intervals import bootstrap_mean


def claimed(*pixels: int, groups: tuple[str | None, ...] | None = None) -> list[ImageScores]:
    """Scores of empty 10x20 images of which so many pixels were predicted."""
    found = []
    for i, (count, group) in enumerate(zip(pixels, groups or (None,) * len(pixels), strict=True)):
        prediction = np.zeros(200, bool)
        prediction[:count] = True
        found.append(score_image(prediction.reshape(10, 20), np.zeros((10, 20)), id=f"d/{i}", group=group))
    return found


def report(*rows: int) -> EvalReport:
    """Of 10x10 images whose top rows are the truth, predicted as the top row of each; two datasets."""

    def pair(i: int, truth: int) -> EvalPair:
        labels = np.zeros((10, 10), np.uint8)
        labels[:truth] = 1
        return EvalPair(f"{'clean' if truth == 0 else 'polyps'}/{i}", "clean" if truth == 0 else "polyps", None,
                        np.zeros((10, 10, 3), np.uint8), labels)  # fmt: skip

    def top_row(frame: NDArray[np.uint8]) -> NDArray[np.float32]:
        probability = np.zeros(frame.shape[:2], np.float32)
        probability[0] = 1
        return probability

    return evaluate(top_row, [pair(i, truth) for i, truth in enumerate(rows)], threshold=0.5)


def test_false_area_is_told_by_mean_quantile_and_worst_image() -> None:
    found = false_positives(claimed(*[0] * 15, *[2] * 4, 50))
    assert found.n == 20
    assert found.area == bootstrap_mean([0.0] * 15 + [0.01] * 4 + [0.25])
    assert found.p95.value == 0.01
    assert (found.worst, found.worst_id) == (0.25, "d/19")


def test_images_are_counted_whose_false_area_is_larger_than_a_size() -> None:
    found = false_positives(claimed(0, 1, 2, 3), areas=(0.0, 0.01))
    assert [(a.area, a.images.mean) for a in found.above] == [(0.0, 0.75), (0.01, 0.25)]
    assert found.above[1].images.low < 0.25 < found.above[1].images.high


def test_frames_of_one_sequence_are_drawn_together() -> None:
    pixels = (0, 0, 0, 40, 40, 40)
    alone, together = (
        false_positives(claimed(*pixels, groups=groups)) for groups in (None, ("a", "a", "a", "b", "b", "b"))
    )
    assert together.area.high - together.area.low > alone.area.high - alone.area.low
    assert together.p95.low == 0.0 < alone.p95.low


def test_images_with_foreground_and_none_at_all_are_refused() -> None:
    with pytest.raises(BadInput, match=r"got 2 images, 1 of them with foreground, such as d/x"):
        false_positives([*claimed(3), score_image(np.ones((2, 2)), np.ones((2, 2)), id="d/x")])
    with pytest.raises(BadInput, match="got 0 images"):
        false_positives([])
    with pytest.raises(BadInput, match="shares of the frame"):
        false_positives(claimed(1), areas=(1.0,))


def test_a_folder_of_empty_masks_is_told_by_its_false_area_and_by_no_dice() -> None:
    text = tables.to_markdown(report(0, 0))
    assert "Dice" not in text
    assert (
        "| clean | 2 | 0.1000 [0.1000, 0.1000] | 0.1000 [0.1000, 0.1000] | 0.1000 | 1.0000 [1.0000, 1.0000] |" in text
    )
    assert "Every mask is empty" in text


def test_a_folder_without_empty_masks_has_no_table_of_them() -> None:
    found = report(1, 2)
    assert [header for header, _ in tables.parts(found)] == [tables.HEADER]
    assert "empty" not in tables.note(found)


def test_polyps_and_empty_masks_stand_in_tables_of_their_own_and_in_one_csv() -> None:
    found = report(0, 1)
    (_, dices), (_, claims) = tables.parts(found)
    assert [row[:2] for row in dices] == [("polyps", "1"), ("all", "2")]
    assert [row[:2] for row in claims] == [("clean", "1"), ("all", "1")]
    assert "1 of 2 masks are empty: scores there are 1 where nothing was found, else 0" in tables.note(found)
    header, *lines = csv.reader(io.StringIO(tables.to_csv(found)))
    said = {line[0]: dict(zip(header, line, strict=True)) for line in lines}
    assert (said["clean"]["Dice"], said["clean"]["largest"]) == ("-", "0.1000")
    assert (said["polyps"]["Dice"], said["polyps"]["largest"]) == ("1.0000 [1.0000, 1.0000]", "-")
    assert said["all"]["Dice"].startswith("0.5000")
