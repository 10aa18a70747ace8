from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from lawder_edge.graph.layout import (
    NHWC,
    extended,
    gathered,
    merged_transpose,
    permuted,
    reshaped,
    same_order,
    stored,
    swapped,
    without,
)

lengths = st.sampled_from([1, 2, 3, 4, 6])
many = settings(max_examples=200, deadline=None)


@st.composite
def shapes_and_layouts(draw: Any, low: int = 1) -> tuple[tuple[int, ...], tuple[int, ...]]:
    shape = tuple(draw(st.lists(lengths, min_size=low, max_size=5)))
    return shape, tuple(draw(st.permutations(range(len(shape)))))


@st.composite
def factorings(draw: Any, size: int) -> tuple[int, ...]:
    """Lengths with a product of `size`."""
    found = []
    while size > 1:
        factor = draw(st.sampled_from([d for d in range(2, size + 1) if size % d == 0]))
        found.append(factor)
        size //= factor
        if draw(st.booleans()):
            found.append(1)
    return tuple(found) or (1,)


def memory(shape: tuple[int, ...], layout: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """A logical array, and its elements in stored order."""
    logical = np.arange(np.prod(shape)).reshape(shape)
    return logical, logical.transpose(layout).ravel()


@many
@given(st.data())
def test_a_reshape_that_keeps_its_layout_moves_no_element(data: Any) -> None:
    shape, layout = data.draw(shapes_and_layouts())
    new_shape = data.draw(factorings(int(np.prod(shape))))
    logical, before = memory(shape, layout)
    found = reshaped(shape, layout, new_shape)
    if found is not None:
        np.testing.assert_array_equal(logical.reshape(new_shape).transpose(found).ravel(), before)


@many
@given(st.data())
def test_every_reshape_is_possible_from_the_gathered_layout(data: Any) -> None:
    shape, layout = data.draw(shapes_and_layouts())
    new_shape = data.draw(factorings(int(np.prod(shape))))
    near = gathered(shape, layout, new_shape)
    assert sorted(near) == list(range(len(shape)))
    assert reshaped(shape, near, new_shape) is not None
    if reshaped(shape, layout, new_shape) is not None:
        assert same_order(shape, near, layout)


def test_tokens_of_a_picture_and_back_keep_their_place() -> None:
    tokens = reshaped((1, 8, 4, 6), NHWC, (1, 8, 24))
    assert tokens == (0, 2, 1)
    assert swapped(tokens, 1, 2) == (0, 1, 2)
    assert reshaped((1, 8, 24), (0, 2, 1), (1, 8, 4, 6)) == NHWC


def test_a_channel_shuffle_has_to_move_and_moves_channels_alone() -> None:
    grouped = reshaped((1, 8, 4, 6), NHWC, (1, 2, 4, 4, 6))
    assert grouped == (0, 3, 4, 1, 2)
    shuffled = swapped(grouped, 1, 2)
    shape = (1, 4, 2, 4, 6)
    assert reshaped(shape, shuffled, (1, 8, 4, 6)) is None
    assert reshaped(shape, gathered(shape, shuffled, (1, 8, 4, 6)), (1, 8, 4, 6)) == NHWC


@many
@given(shapes_and_layouts(), st.data())
def test_permuted_and_swapped_follow_numpy(drawn: Any, data: Any) -> None:
    shape, layout = drawn
    logical, before = memory(shape, layout)
    order = data.draw(st.permutations(range(len(shape))))
    np.testing.assert_array_equal(logical.transpose(order).transpose(permuted(layout, order)).ravel(), before)
    a, b = order[0], order[-1]
    np.testing.assert_array_equal(logical.swapaxes(a, b).transpose(swapped(layout, a, b)).ravel(), before)


@many
@given(shapes_and_layouts(low=2), st.data())
def test_axes_come_before_and_go(drawn: Any, data: Any) -> None:
    shape, layout = drawn
    logical, before = memory(shape, layout)
    np.testing.assert_array_equal(logical[None, None].transpose(extended(layout, len(shape) + 2)).ravel(), before)
    gone = data.draw(st.integers(0, len(shape) - 1))
    reduced = logical.max(gone).transpose(without(layout, [gone])).ravel()
    np.testing.assert_array_equal(reduced, logical.transpose(layout).max(layout.index(gone)).ravel())


@many
@given(shapes_and_layouts())
def test_a_transposition_with_merged_axes_moves_the_same_elements(drawn: Any) -> None:
    shape, order = drawn
    logical = np.arange(np.prod(shape)).reshape(shape)
    merged, moved = merged_transpose(shape, order)
    np.testing.assert_array_equal(logical.reshape(merged).transpose(moved).ravel(), logical.transpose(order).ravel())
    assert all(b != a + 1 for a, b in itertools.pairwise(moved))


def test_stored_gives_the_shape_in_memory() -> None:
    assert stored((1, 8, 4, 6), NHWC) == (1, 4, 6, 8)
