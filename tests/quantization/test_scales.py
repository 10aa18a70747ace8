"""Scales."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lawder_edge.errors import BadCheckpoint, BadInput
from lawder_edge.graph.integer_kernels import QMAX, QMIN
from lawder_edge.quantization.scales import Scales, TensorScale, affine

reals = st.floats(-1e6, 1e6)


@given(reals, reals)
def test_a_range_is_covered_and_zero_is_exact(a: float, b: float) -> None:
    low, high = min(a, b), max(a, b)
    scale, zero_point = affine(low, high)
    assert QMIN <= zero_point <= QMAX
    # Zero has an integer of its own by construction; the ends are at most half a step outside.
    assert scale * (QMIN - zero_point) <= low + 0.5 * scale + 1e-9 or low > 0
    assert scale * (QMAX - zero_point) >= high - 0.5 * scale - 1e-9 or high < 0


def test_known_ranges_give_the_scales_and_zero_points_worked_out_by_hand() -> None:
    assert affine(0.0, 6.0) == (pytest.approx(6 / 255), -128)
    assert affine(-1.0, 0.0) == (pytest.approx(1 / 255), 127)
    assert affine(2.0, 3.0) == (pytest.approx(3 / 255), -128)
    assert affine(0.0, 0.0)[0] > 0


@pytest.mark.parametrize("value", [math.inf, math.nan])
def test_a_range_without_end_is_refused(value: float) -> None:
    with pytest.raises(BadInput, match="no int8 scale"):
        affine(0.0, value)


def test_scales_that_no_quantisation_gives_are_refused() -> None:
    with pytest.raises(BadCheckpoint, match="b: scale 0"):
        Scales(7, (TensorScale("a", 1.0, 0), TensorScale("b", 0.0, 0)))
    with pytest.raises(BadCheckpoint, match="9 bits"):
        Scales(9, ())


def test_a_tensor_that_the_scales_do_not_know_is_named() -> None:
    with pytest.raises(BadInput, match="no scale for head:conv2d"):
        Scales(7, (TensorScale("a", 1.0, 0),)).of("head:conv2d")
