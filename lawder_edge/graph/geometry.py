"""Where windows lie: output lengths and borders of convolutions and pools, and the shape that each operator gives."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lawder_edge.graph.ir import (
    ArgMax,
    Attributes,
    AveragePool2D,
    BatchMatMul,
    Concat,
    Conv2D,
    DepthwiseConv2D,
    MaxPool2D,
    Mean,
    Pad,
    Padding,
    Pair,
    ReduceMax,
    Reshape,
    ResizeBilinear,
    ResizeNearest,
    Shape,
    Transpose,
)


def window_count(length: int, size: int, *, stride: int, padding: Padding, dilation: int = 1) -> int:
    """How many windows of `size` along an axis of `length`."""
    reach = (size - 1) * dilation + 1
    return -(-length // stride) if padding == "same" else -(-(length - reach + 1) // stride)


def border(length: int, size: int, *, stride: int, padding: Padding, dilation: int = 1) -> Pair:
    """Elements that windows reach beyond the axis, before its start and after its end."""
    if padding == "valid":
        return (0, 0)
    count = window_count(length, size, stride=stride, padding=padding)
    total = max((count - 1) * stride + (size - 1) * dilation + 1 - length, 0)
    return (total // 2, total - total // 2)


def output_shape(attributes: Attributes, shapes: Sequence[Shape]) -> Shape | None:
    """What an operator makes of inputs of these shapes; None for those whose output says it (reshape, resize).

    Raises ValueError for shapes that do not fit together.
    """
    first = shapes[0]
    match attributes:
        case Conv2D() | DepthwiseConv2D():
            return _conv_shape(attributes, shapes)
        case MaxPool2D() | AveragePool2D():
            n, h, w, c = first
            (kh, kw), (sh, sw), padding = attributes.size, attributes.stride, attributes.padding
            return (
                n,
                window_count(h, kh, stride=sh, padding=padding),
                window_count(w, kw, stride=sw, padding=padding),
                c,
            )
        case Mean(axes=axes, keep_dims=keep) | ReduceMax(axes=axes, keep_dims=keep):
            if any(not 0 <= a < len(first) for a in axes):
                raise ValueError(f"axes {axes} of {first}")
            kept = ((1 if i in axes else length) for i, length in enumerate(first) if keep or i not in axes)
            return tuple(kept)
        case ArgMax():
            return first[:-1]
        case Concat(axis=axis):
            if any((s[:axis], s[axis + 1 :]) != (first[:axis], first[axis + 1 :]) for s in shapes):
                raise ValueError(f"concatenation of {list(shapes)} along {axis}")
            return (*first[:axis], sum(s[axis] for s in shapes), *first[axis + 1 :])
        case Transpose(permutation=order):
            if sorted(order) != list(range(len(first))):
                raise ValueError(f"permutation {order} of {first}")
            return tuple(first[i] for i in order)
        case Pad(amounts=amounts):
            if len(amounts) != len(first):
                raise ValueError(f"padding {amounts} of {first}")
            return tuple(a + length + b for (a, b), length in zip(amounts, first, strict=True))
        case BatchMatMul(adj_x=adj_x, adj_y=adj_y):
            return _product_shape(first, shapes[1], adj_x=adj_x, adj_y=adj_y)
        case Reshape() | ResizeBilinear() | ResizeNearest():
            return None
        case _:
            return tuple(np.broadcast_shapes(*shapes))


def _conv_shape(attributes: Conv2D | DepthwiseConv2D, shapes: Sequence[Shape]) -> Shape:
    x, weights, bias = shapes
    n, h, w, c = x
    lead, kh, kw, last = weights
    depthwise = isinstance(attributes, DepthwiseConv2D)
    channels = last if depthwise else lead
    fits = (lead, last) == (1, c * attributes.multiplier) if isinstance(attributes, DepthwiseConv2D) else last == c
    if not fits or bias != (channels,):
        raise ValueError(f"input {x} with weights {weights} and bias {bias}")
    (sh, sw), (dh, dw), padding = attributes.stride, attributes.dilation, attributes.padding
    return (
        n,
        window_count(h, kh, stride=sh, padding=padding, dilation=dh),
        window_count(w, kw, stride=sw, padding=padding, dilation=dw),
        channels,
    )


def _product_shape(a: Shape, b: Shape, *, adj_x: bool, adj_y: bool) -> Shape:
    m, k = a[-2:][::-1] if adj_x else a[-2:]
    k2, n = b[-2:][::-1] if adj_y else b[-2:]
    if k != k2 or a[:-2] != b[:-2]:
        raise ValueError(f"product of {a} and {b}")
    return (*a[:-2], m, n)
