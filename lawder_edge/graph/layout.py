"""In which order a tensor's axes are stored, so that NCHW programs become NHWC graphs without moving data.

A layout is a permutation: stored axis i is logical axis layout[i]. A logical (B, C, H, W) stored (B, H, W, C) has the
layout (0, 2, 3, 1). Axes of length 1 have no order: two layouts are the same in memory when the others agree.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from lawder_edge.graph.ir import Shape

Layout: TypeAlias = tuple[int, ...]
NHWC: Layout = (0, 2, 3, 1)


def identity(rank: int) -> Layout:
    return tuple(range(rank))


def stored(shape: Shape, layout: Layout) -> Shape:
    """The shape in memory."""
    return tuple(shape[axis] for axis in layout)


def same_order(shape: Shape, a: Layout, b: Layout) -> bool:
    """Whether a tensor is the same in memory in both layouts, but for the places of its axes of length 1."""
    return _long(shape, a) == _long(shape, b)


def swapped(layout: Layout, a: int, b: int) -> Layout:
    """Of the tensor whose logical axes a and b are exchanged."""
    return tuple(b if axis == a else a if axis == b else axis for axis in layout)


def permuted(layout: Layout, order: Sequence[int]) -> Layout:
    """Of the tensor whose logical axis i is what was logical axis order[i]."""
    new_of_old = {old: new for new, old in enumerate(order)}
    return tuple(new_of_old[axis] for axis in layout)


def extended(layout: Layout, rank: int) -> Layout:
    """Of the tensor with axes of length 1 put before its own up to `rank`."""
    more = rank - len(layout)
    return (*range(more), *(axis + more for axis in layout))


def without(layout: Layout, axes: Sequence[int]) -> Layout:
    """Of the tensor that has lost some logical axes."""
    kept = [axis for axis in layout if axis not in axes]
    rank_of = {axis: i for i, axis in enumerate(sorted(kept))}
    return tuple(rank_of[axis] for axis in kept)


def reshaped(shape: Shape, layout: Layout, new_shape: Shape) -> Layout | None:
    """The layout in which a reshaped tensor has the same elements in the same order in memory; None if there is none.

    Logical axes fall into groups of equal length before and after. Each group has to lie in memory in one piece and in
    its logical order.
    """
    order = list(_long(shape, layout))
    parts: dict[int, list[int]] = {}
    for old, new in _groups(shape, new_shape):
        start = order.index(old[0])
        if order[start : start + len(old)] != old:
            return None
        parts[start] = new
    new_order = [axis for start in sorted(parts) for axis in parts[start]]
    return _with_short_axes(new_shape, tuple(new_order))


def gathered(shape: Shape, layout: Layout, new_shape: Shape) -> Layout:
    """The layout nearest to `layout` from which a reshape moves nothing: each group in one piece, in its order."""
    order = _long(shape, layout)
    groups = sorted((old for old, _ in _groups(shape, new_shape)), key=lambda old: min(order.index(a) for a in old))
    short = (axis for axis in range(len(shape)) if shape[axis] == 1)
    return (*short, *(axis for old in groups for axis in old))


def merged_transpose(shape: Shape, order: Sequence[int]) -> tuple[Shape, tuple[int, ...]]:
    """The same movement with as few axes as there can be. shape: stored. order: as in a transposition.

    Returns: a shape with the same elements in the same order, and the permutation of it.
    """
    long = [axis for axis in order if shape[axis] != 1]
    rank_of = {axis: i for i, axis in enumerate(sorted(long))}
    moved = [rank_of[axis] for axis in long]
    lengths = [shape[axis] for axis in sorted(long)]
    runs: list[list[int]] = []
    for axis in moved:
        if runs and runs[-1][-1] + 1 == axis:
            runs[-1].append(axis)
        else:
            runs.append([axis])
    by_start = sorted(runs)
    merged = []
    for run in by_start:
        length = 1
        for axis in run:
            length *= lengths[axis]
        merged.append(length)
    return tuple(merged), tuple(by_start.index(run) for run in runs)


def _long(shape: Shape, layout: Layout) -> Layout:
    return tuple(axis for axis in layout if shape[axis] != 1)


def _groups(old: Shape, new: Shape) -> list[tuple[list[int], list[int]]]:
    """Axes longer than 1 of both shapes, matched where their products agree."""
    left = [i for i, n in enumerate(old) if n != 1]
    right = [i for i, n in enumerate(new) if n != 1]
    groups: list[tuple[list[int], list[int]]] = []
    while left:
        a, b = [left.pop(0)], [right.pop(0)]
        before, after = old[a[0]], new[b[0]]
        while before != after:
            if before < after:
                a.append(left.pop(0))
                before *= old[a[-1]]
            else:
                b.append(right.pop(0))
                after *= new[b[-1]]
        groups.append((a, b))
    return groups


def _with_short_axes(shape: Shape, long: Layout) -> Layout:
    """Put the axes of length 1 where the usual layout has them, or before all others."""
    usual = NHWC if len(shape) == 4 else identity(len(shape))
    if _long(shape, usual) == long:
        return usual
    return (*(axis for axis in range(len(shape)) if shape[axis] == 1), *long)
