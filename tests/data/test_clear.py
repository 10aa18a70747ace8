"""Windows without foreground, against all windows looked at one by one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from lawder_edge.data.clear import Window, clear_part, clear_window
from lawder_edge.errors import BadInput

Mask = NDArray[np.uint8]


def apart(window: Window, mask: Mask) -> int:
    """Rows or columns, the larger, between a window and the nearest foreground: 0 where it holds some."""
    y, x = np.nonzero(mask)
    rows = np.maximum(np.maximum(window.top - y, y - (window.top + window.height - 1)), 0)
    columns = np.maximum(np.maximum(window.left - x, x - (window.left + window.width - 1)), 0)
    return int(np.maximum(rows, columns).min())


def tallest(mask: Mask, margin_px: int) -> int:
    """Height of the largest clear window of the frame's shape, from all of them; 0 where there is none."""
    height, width = mask.shape
    for rows in range(height, 0, -1):
        columns = max(1, round(rows * width / height))
        for top in range(height - rows + 1):
            for left in range(width - columns + 1):
                if apart(Window(top, left, rows, columns), mask) > margin_px:
                    return rows
    return 0


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 9), st.integers(2, 9), st.integers(0, 2), st.data())
def test_no_clear_window_is_larger_than_the_one_found(
    height: int, width: int, margin_px: int, data: st.DataObject
) -> None:
    mask = np.zeros((height, width), np.uint8)
    for _ in range(data.draw(st.integers(1, 3))):
        mask[data.draw(st.integers(0, height - 1)), data.draw(st.integers(0, width - 1))] = 1
    found = clear_window(mask, margin_px=margin_px, min_share=1e-6)
    assert (found.height if found else 0) == tallest(mask, margin_px)
    if found is not None:
        assert apart(found, mask) > margin_px
        assert found.width == max(1, round(found.height * width / height))


def test_a_frame_without_foreground_is_its_own_window() -> None:
    assert clear_window(np.zeros((6, 9)), margin_px=3) == Window(0, 0, 6, 9)


def test_of_equal_windows_the_one_nearest_to_the_middle_is_taken() -> None:
    mask = np.zeros((40, 40), np.uint8)
    mask[:, 30:] = 1
    assert clear_window(mask) == Window(5, 0, 30, 30)


def test_a_window_of_less_than_the_share_is_none() -> None:
    mask = np.zeros((40, 40), np.uint8)
    mask[:, 20:] = 1
    assert clear_window(mask, min_share=0.25) == Window(10, 0, 20, 20)
    assert clear_window(mask, min_share=0.26) is None
    assert clear_window(np.ones((4, 4))) is None


def test_masks_and_margins_that_mean_nothing_are_refused() -> None:
    with pytest.raises(BadInput, match=r"mask of \(4, 4, 1\)"):
        clear_window(np.zeros((4, 4, 1)))
    with pytest.raises(BadInput, match="-1 px away"):
        clear_window(np.zeros((4, 4)), margin_px=-1)


def test_the_margin_of_a_part_is_a_share_of_the_shorter_side_rounded_up() -> None:
    labels = np.zeros((100, 200), np.uint8)
    labels[:, :40] = 1
    assert clear_part(labels, margin=0.021) == Window(11, 43, 78, 156)
    assert clear_part(labels, margin=0) == Window(10, 40, 80, 160)
