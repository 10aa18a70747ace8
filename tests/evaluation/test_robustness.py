"""Robustness of predictors whose answers are known."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from numpy.typing import NDArray

from lawder_edge.errors import BadInput
from lawder_edge.evaluation.evaluate import EvalPair
from lawder_edge.evaluation.robustness import CLEAN, robustness
from lawder_edge.evaluation.tables import corruption_header, corruption_rows


def pair(name: str, seed: int) -> EvalPair:
    """A dark frame with a bright square that is the truth."""
    frame = np.random.default_rng(seed).integers(0, 40, (48, 64, 3), dtype=np.uint8)
    labels = np.zeros((48, 64), np.uint8)
    labels[10:30, 20:40] = 1
    frame[labels == 1] += np.uint8(120)
    return EvalPair(name, "made", None, frame, labels)


def bright(frame: NDArray[np.uint8]) -> NDArray[np.bool_]:
    return np.asarray(frame.mean(axis=2) > 80)


def nothing(frame: NDArray[np.uint8]) -> NDArray[np.bool_]:
    return np.zeros(frame.shape[:2], bool)


def test_a_predictor_by_brightness_loses_what_darkness_takes_and_one_that_sees_nothing_has_nothing_to_lose() -> None:
    pairs = [pair("a", 0), pair("b", 1)]
    found = robustness(
        {"bright": bright, "nothing": nothing}, pairs, total=2, kinds=("underexposure", "jpeg"), severities=(1, 5)
    )
    assert found.image_ids == ("a", "b")
    assert found.of("bright", CLEAN, 0).dice == (1.0, 1.0)
    assert found.of("bright", "underexposure", 5).dice == (0.0, 0.0)
    assert found.of("nothing", "jpeg", 1).dice == (0.0, 0.0)
    beyond = found.drop_beyond("bright", "nothing", "underexposure", 5)
    assert (beyond.mean, beyond.low, beyond.high) == (1.0, 1.0, 1.0)
    assert found.drop_beyond("bright", "nothing", "jpeg", 1).mean < 0.2


def test_every_predictor_sees_the_same_pictures_and_a_rerun_sees_them_again() -> None:
    seen: dict[str, list[bytes]] = {"one": [], "two": []}

    def remember(name: str):  # type: ignore[no-untyped-def]
        return lambda frame: (seen[name].append(frame.tobytes()), bright(frame))[1]

    predictors = {name: remember(name) for name in seen}
    done: list[tuple[int, int]] = []
    for _ in range(2):
        robustness(
            predictors, [pair("a", 0)], total=1, kinds=("noise", "bubbles"), progress=lambda n, of: done.append((n, of))
        )
    assert seen["one"] == seen["two"]
    assert seen["one"][:11] == seen["one"][11:]
    assert len(set(seen["one"])) == 11
    assert done[10] == (11, 11)


def test_a_cell_that_was_not_measured_is_an_error_and_so_is_nothing_to_measure() -> None:
    found = robustness({"nothing": nothing}, [pair("a", 0)], total=1, kinds=("jpeg",), severities=(1,))
    with pytest.raises(BadInput, match="not measured at smoke 3"):
        found.of("nothing", "smoke", 3)
    with pytest.raises(BadInput, match="got none"):
        robustness({}, [pair("a", 0)], total=1)
    with pytest.raises(BadInput, match="got none"):
        robustness({"nothing": nothing}, iter(()), total=0)


def test_a_table_has_a_row_a_corruption_and_a_column_a_severity() -> None:
    found = robustness({"bright": bright}, iter([pair("a", 0), pair("b", 1)]), total=2, kinds=("underexposure", "jpeg"))
    assert corruption_header()[0] == "corruption"
    dark, jpeg = corruption_rows(found, "bright")
    assert (dark[0], dark[5], jpeg[0]) == ("underexposure", "0.0000 [0.0000, 0.0000]", "jpeg")
    assert len(dark) == len(jpeg) == len(corruption_header()) == 6


def test_intervals_draw_frames_of_one_sequence_together() -> None:
    pairs = [dataclasses.replace(pair(f"{group}/{i}", i), group=group) for group in ("s1", "s2") for i in range(4)]
    answers = iter([bright] * 4 + [nothing] * 4)
    apart = robustness({"half": lambda frame: next(answers)(frame)}, pairs, total=8, kinds=(), severities=())
    found = apart.mean_dice("half", CLEAN, 0)
    # Of two sequences, of which one is all right and the other all wrong, either may be drawn twice.
    assert (found.low, found.mean, found.high) == (0.0, 0.5, 1.0)
