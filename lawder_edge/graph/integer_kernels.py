"""Each operator in int8, bit for bit as TFLite's reference kernels and TFLite Micro compute it.

Scales are float32 numbers, their products double. The runtimes differ in the logistic alone, and this is TFLM's:
LiteRT 2.3 rounds the other way where the true value is within 1e-4 of half-way, and for inputs that step by 2 or more,
where TFLM saturates early.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lawder_edge.graph.fixed_point import (
    Integers,
    divide_by_power_of_two,
    doubling_high_mul,
    exp_of_negative,
    input_radius,
    logistic,
    mean_multiplier,
    multiplier_of,
    reciprocal_of_one_plus,
    rescale,
    round_away,
)
from lawder_edge.graph.float_kernels import move
from lawder_edge.graph.ir import (
    Activation,
    Add,
    Array,
    AveragePool2D,
    BatchMatMul,
    Conv2D,
    DepthwiseConv2D,
    Logistic,
    MaxPool2D,
    Mean,
    Mul,
    Op,
    Relu,
    Relu6,
    ResizeBilinear,
    Softmax,
    Sub,
    Tensor,
)
from lawder_edge.graph.windows import bilinear_sources, windows

QMIN, QMAX = -128, 127
_ADD_SHIFT = 20


def run_int8(op: Op, values: Sequence[Array], inputs: Sequence[Tensor], output: Tensor) -> Array:
    """values: int8 arrays (bias int32) of the tensors `inputs`. Returns: int8 of the output's shape."""
    x = values[0]
    match op.attributes:
        case Conv2D() | DepthwiseConv2D():
            result = _convolve(op.attributes, values, inputs, output)
        case Add() | Sub():
            result = _add(op.attributes, values, inputs, output)
        case Mul(activation=activation):
            result = _multiply(values, inputs, output, activation)
        case Relu() | Relu6():
            m = multiplier_of(inputs[0].scale / output.scale)
            raw = rescale(_wide(x) - inputs[0].zero_point, *m) + output.zero_point
            result = _clamp(raw, output, "relu" if isinstance(op.attributes, Relu) else "relu6")
        case Logistic():
            result = _logistic_table(inputs[0])[_wide(x) - QMIN]
        case Softmax():
            result = _softmax(x, inputs[0])
        case MaxPool2D(size=size, stride=stride, padding=padding):
            result = windows(x, size, stride=stride, padding=padding, fill=QMIN).max((-2, -1))[None]
        case AveragePool2D():
            result = _average(x, op.attributes)
        case Mean(axes=axes, keep_dims=keep):
            result = _mean(x, axes, keep, inputs[0], output)
        case ResizeBilinear(align_corners=align):
            result = _resize_bilinear(x, output, align)
        case BatchMatMul(adj_x=adj_x, adj_y=adj_y):
            result = _product(values, inputs, output, adj_x=adj_x, adj_y=adj_y)
        case _:
            result = move(op, values, output, zero=output.zero_point)
    return np.asarray(result, np.int8).reshape(output.shape)


def activation_range(output: Tensor, activation: Activation) -> tuple[int, int]:
    """The integers that an activation leaves of an output tensor."""

    def quantized(real: float) -> int:
        # The C++ divides in float32.
        return output.zero_point + round_away(float(np.float32(real) / np.float32(output.scale)))

    if activation == "none":
        return (QMIN, QMAX)
    return (max(QMIN, quantized(0)), min(QMAX, quantized(6)) if activation == "relu6" else QMAX)


def _wide(x: Array) -> Integers:
    return x.astype(np.int64)


def _clamp(x: Integers, output: Tensor, activation: Activation = "none") -> Integers:
    return np.clip(x, *activation_range(output, activation))


def _convolve(
    attributes: Conv2D | DepthwiseConv2D, values: Sequence[Array], inputs: Sequence[Tensor], output: Tensor
) -> Integers:
    x, weights, bias = values
    view = windows(
        x,
        (weights.shape[1], weights.shape[2]),
        stride=attributes.stride,
        padding=attributes.padding,
        dilation=attributes.dilation,
        fill=inputs[0].zero_point,
    )  # (h, w, C, kh, kw)
    # Sums of products of int8 stay far below 2^53: float64 holds them exactly, and BLAS is fast in it.
    centred = view.astype(np.float64) - inputs[0].zero_point
    h, w, c = centred.shape[:3]
    if isinstance(attributes, DepthwiseConv2D):
        spread = weights[0].astype(np.float64).reshape(*weights.shape[1:3], c, attributes.multiplier)
        sums = np.einsum("hwcij,ijcm->hwcm", centred, spread).reshape(h, w, -1)
    else:
        flat = weights.astype(np.float64).transpose(0, 3, 1, 2).reshape(weights.shape[0], -1)
        sums = (centred.reshape(h * w, -1) @ flat.T).reshape(h, w, -1)
    scales = inputs[1].quantization.scale if inputs[1].quantization else ()
    pairs = [multiplier_of(inputs[0].scale * s / output.scale) for s in scales]
    value, shift = (np.array(column, np.int64) for column in zip(*pairs, strict=True))
    raw = rescale(sums.astype(np.int64) + bias, value, shift) + output.zero_point
    return _clamp(raw, output, attributes.activation)


def _add(attributes: Add | Sub, values: Sequence[Array], inputs: Sequence[Tensor], output: Tensor) -> Integers:
    largest = 2 * max(t.scale for t in inputs)
    a, b = (
        rescale((_wide(v) - t.zero_point) << _ADD_SHIFT, *multiplier_of(t.scale / largest))
        for v, t in zip(values, inputs, strict=True)
    )
    total = a - b if isinstance(attributes, Sub) else a + b
    raw = rescale(total, *multiplier_of(largest / ((1 << _ADD_SHIFT) * output.scale))) + output.zero_point
    return _clamp(raw, output, attributes.activation)


def _multiply(values: Sequence[Array], inputs: Sequence[Tensor], output: Tensor, activation: Activation) -> Integers:
    a, b = (_wide(v) - t.zero_point for v, t in zip(values, inputs, strict=True))
    m = multiplier_of(inputs[0].scale * inputs[1].scale / output.scale)
    return _clamp(rescale(a * b, *m) + output.zero_point, output, activation)


def _logistic_table(x: Tensor) -> Integers:
    """Results for the inputs -128 to 127: (256,)."""
    q = np.arange(QMIN, QMAX + 1, dtype=np.int64) - x.zero_point
    m = multiplier_of(x.scale * (1 << 27))
    radius = input_radius(4, m.shift)
    raw = divide_by_power_of_two(logistic(np.asarray(rescale(q, *m)), 4), 31 - 8)
    inside = np.clip(raw + QMIN, QMIN, QMAX)
    return np.where(q <= -radius, QMIN, np.where(q >= radius, QMAX, inside))


def _softmax(x: Array, tensor: Tensor) -> Integers:
    m = multiplier_of(min(tensor.scale * (1 << 26), 2**31 - 1.0))
    difference = _wide(x) - _wide(x).max(-1, keepdims=True)
    counted = difference >= -input_radius(5, m.shift)
    scaled = doubling_high_mul(np.where(counted, difference, 0) << max(m.shift, 0), m.value)
    powers = exp_of_negative(scaled, 5)
    total = np.where(counted, divide_by_power_of_two(powers, 12), 0).sum(-1, keepdims=True)
    # The sum is in Q12.19; `headroom` is its count of leading zeros in 32 bits.
    headroom = 32 - np.ceil(np.log2(total.astype(np.float64) + 1)).astype(np.int64)
    scale = reciprocal_of_one_plus((total << headroom) - 2**31)
    raw = divide_by_power_of_two(doubling_high_mul(np.broadcast_to(scale, powers.shape), powers), 12 - headroom + 23)
    return np.where(counted, np.clip(raw + QMIN, QMIN, QMAX), QMIN)


def _average(x: Array, attributes: AveragePool2D) -> Integers:
    options = {"stride": attributes.stride, "padding": attributes.padding}
    sums = windows(_wide(x), attributes.size, **options).sum((-2, -1))  # type: ignore[arg-type]
    counts = windows(np.ones_like(x, np.int64), attributes.size, **options).sum((-2, -1))  # type: ignore[arg-type]
    return _divide_rounding(sums, counts)[None]


def _divide_rounding(total: Integers, count: Integers) -> Integers:
    """To the nearest, halves away from zero."""
    return np.asarray(np.where(total > 0, 1, -1) * ((np.abs(total) + count // 2) // count))


def _mean(x: Array, axes: tuple[int, ...], keep: bool, tensor: Tensor, output: Tensor) -> Integers:
    count = int(np.prod([x.shape[a] for a in axes]))
    m = mean_multiplier(tensor.scale / output.scale, count)
    total = _wide(x).sum(axes, keepdims=keep) - count * tensor.zero_point
    return np.clip(rescale(total, *m) + output.zero_point, QMIN, QMAX)


def _resize_bilinear(x: Array, output: Tensor, align_corners: bool) -> Integers:
    (sy, y0, y1), (sx, x0, x1) = (
        bilinear_sources(a, b, align_corners=align_corners)
        for a, b in zip(x.shape[1:3], output.shape[1:3], strict=True)
    )
    fy, fx = (sy - 1024 * y0)[:, None, None], (sx - 1024 * x0)[None, :, None]
    p = _wide(x[0])
    rows = p[y0] * (1024 - fy) + p[y1] * fy
    total = rows[:, x0] * (1024 - fx) + rows[:, x1] * fx
    magnitude = (np.abs(total) + (1 << 19)) >> 20  # halves away from zero
    return np.asarray(np.where(total > 0, magnitude, -magnitude))[None]


def _product(
    values: Sequence[Array], inputs: Sequence[Tensor], output: Tensor, *, adj_x: bool, adj_y: bool
) -> Integers:
    a, b = (
        (v.swapaxes(-1, -2) if adj else v).astype(np.float64) - t.zero_point
        for v, t, adj in zip(values, inputs, (adj_x, adj_y), strict=True)
    )
    m = multiplier_of(inputs[0].scale * inputs[1].scale / output.scale)
    return np.asarray(np.clip(rescale((a @ b).astype(np.int64), *m) + output.zero_point, QMIN, QMAX))
