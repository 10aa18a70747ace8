"""Each operator in float32."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lawder_edge.errors import BadInput
from lawder_edge.graph.ir import (
    Activation,
    Add,
    Array,
    AveragePool2D,
    BatchMatMul,
    Concat,
    Conv2D,
    DepthwiseConv2D,
    Logistic,
    MaxPool2D,
    Mean,
    Mul,
    Op,
    Pad,
    ReduceMax,
    Relu,
    Relu6,
    Reshape,
    ResizeBilinear,
    ResizeNearest,
    Softmax,
    Sub,
    Tensor,
    Transpose,
)
from lawder_edge.graph.windows import bilinear_sources_float, nearest_sources, windows


def run_float(op: Op, values: Sequence[Array], output: Tensor) -> Array:
    """values: float32 arrays of the operator's inputs. Returns: float32 of the output's shape."""
    return np.asarray(_compute(op, values, output), np.float32)


def _compute(op: Op, values: Sequence[Array], output: Tensor) -> Array:
    x = values[0]
    match op.attributes:
        case Conv2D() | DepthwiseConv2D():
            return activate(_convolve(op.attributes, *values), op.attributes.activation)
        case Add(activation=activation):
            return activate(x + values[1], activation)
        case Sub(activation=activation):
            return activate(x - values[1], activation)
        case Mul(activation=activation):
            return activate(x * values[1], activation)
        case Relu():
            return activate(x, "relu")
        case Relu6():
            return activate(x, "relu6")
        case Logistic():
            e = np.exp(-np.abs(x))
            return np.asarray(np.where(x >= 0, 1, e) / (1 + e))
        case Softmax():
            e = np.exp(x - x.max(-1, keepdims=True))
            return np.asarray(e / e.sum(-1, keepdims=True))
        case MaxPool2D(size=size, stride=stride, padding=padding):
            view = windows(x, size, stride=stride, padding=padding, fill=-np.inf)
            return np.asarray(view.max((-2, -1))[None])
        case AveragePool2D(size=size, stride=stride, padding=padding):
            view = windows(x, size, stride=stride, padding=padding)
            counts = windows(np.ones_like(x), size, stride=stride, padding=padding).sum((-2, -1))
            return np.asarray((view.sum((-2, -1)) / counts)[None])
        case Mean(axes=axes, keep_dims=keep):
            return np.asarray(x.mean(axes, keepdims=keep))
        case BatchMatMul(adj_x=adj_x, adj_y=adj_y):
            a, b = (v.swapaxes(-1, -2) if adj else v for v, adj in ((x, adj_x), (values[1], adj_y)))
            return np.asarray(a @ b)
        case ResizeBilinear():
            return _resize_bilinear(x, output, op.attributes)
        case _:
            return move(op, values, output)


def move(op: Op, values: Sequence[Array], output: Tensor, *, zero: int = 0) -> Array:
    """The operators that only copy, the same for every type. zero: what padding writes."""
    x = values[0]
    match op.attributes:
        case ReduceMax(axes=axes, keep_dims=keep):
            return np.asarray(x.max(axes, keepdims=keep))
        case Concat(axis=axis):
            return np.concatenate(values, axis)
        case Reshape():
            return x.reshape(output.shape)
        case Transpose(permutation=order):
            return np.ascontiguousarray(x.transpose(order))
        case Pad(amounts=amounts):
            return np.pad(x, amounts, constant_values=zero)
        case ResizeNearest():
            rows, columns = (nearest_sources(a, b) for a, b in zip(x.shape[1:3], output.shape[1:3], strict=True))
            return np.asarray(x[:, rows[:, None], columns[None]])
        case _:
            raise BadInput(f"operator {op.kind!r} has no kernel in the reference. Add one beside the others.")


def activate(x: Array, activation: Activation) -> Array:
    """x: float32 of any shape. Returns: the same shape, from 0 up by `relu`, in [0, 6] by `relu6`."""
    if activation == "none":
        return x
    return np.asarray(np.clip(x, 0, 6 if activation == "relu6" else None))


def _convolve(attributes: Conv2D | DepthwiseConv2D, x: Array, weights: Array, bias: Array) -> Array:
    kh, kw = weights.shape[1:3]
    view = windows(
        x, (kh, kw), stride=attributes.stride, padding=attributes.padding, dilation=attributes.dilation
    )  # (h, w, C, kh, kw)
    h, w, c = view.shape[:3]
    if isinstance(attributes, DepthwiseConv2D):
        # Channel c of the input makes channels c * multiplier and on.
        spread = weights[0].reshape(kh, kw, c, attributes.multiplier)
        out = np.einsum("hwcij,ijcm->hwcm", view, spread, optimize=False).reshape(h, w, -1)
    else:
        out = view.reshape(h * w, -1) @ weights.transpose(0, 3, 1, 2).reshape(weights.shape[0], -1).T
        out = out.reshape(h, w, -1)
    return np.asarray((out + bias)[None])


def _resize_bilinear(x: Array, output: Tensor, attributes: ResizeBilinear) -> Array:
    (sy, y0, y1), (sx, x0, x1) = (
        bilinear_sources_float(a, b, align_corners=attributes.align_corners)
        for a, b in zip(x.shape[1:3], output.shape[1:3], strict=True)
    )
    fy, fx = (sy - y0).astype(np.float32)[:, None, None], (sx - x0).astype(np.float32)[None, :, None]
    p = x[0]
    rows = p[y0] * (1 - fy) + p[y1] * fy
    return np.asarray((rows[:, x0] * (1 - fx) + rows[:, x1] * fx)[None])
