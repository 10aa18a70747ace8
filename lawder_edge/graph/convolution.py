"""Convolutions and pools: padding in TFLite's two manners, weights in its order, integer biases."""

from __future__ import annotations

from typing import Any

import numpy as np

from lawder_edge.graph.builder import Builder, Value
from lawder_edge.graph.call import Call
from lawder_edge.graph.geometry import border, window_count
from lawder_edge.graph.ir import (
    Array,
    Attributes,
    AveragePool2D,
    Conv2D,
    DepthwiseConv2D,
    MaxPool2D,
    Pad,
    Padding,
    Pair,
    Quantization,
    Tensor,
)
from lawder_edge.graph.layout import NHWC

# Half of int32: sums of products are added to it.
_LARGEST_BIAS = 2**30


def convolution(call: Call, x: Value, weight: Value, bias: Value | None) -> Value:
    """weight: constant (out, in / groups, kh, kw), float32 or int8 with scales along axis 0. bias: constant float32."""
    builder = call.builder
    weights, biases = builder.tensor(weight), builder.tensor(bias) if bias else None
    if weights.data is None or (biases is not None and biases.data is None):
        call.refuse("weights or biases that are computed", "constants")
    x = builder.to_layout(x, NHWC)
    groups, channels, (out, _, kh, kw) = call["groups"], x.shape[1], weights.shape
    stride, dilation = one_or_two(call["stride"]), one_or_two(call["dilation"])
    x, padding = _padded(call, x, size=(kh, kw), stride=stride, dilation=dilation)
    depthwise = groups == channels and (groups > 1 or out == 1)
    data = weights.data if depthwise else _dense(weights.data, groups)
    vector = np.zeros(out, np.float32) if biases is None else np.asarray(biases.data, np.float32)
    kernel, offset = _constants(builder, builder.tensor(x), weights, data, vector, depthwise=depthwise)
    attributes: Attributes = (
        DepthwiseConv2D(padding, stride, dilation, out // groups) if depthwise else Conv2D(padding, stride, dilation)
    )
    return builder.op(attributes, (x, kernel, offset), call.shape, NHWC)


def pool(call: Call, x: Value, *, adaptive: bool = False) -> Value:
    """max_pool2d, avg_pool2d, and adaptive_avg_pool2d to a size that divides the input's."""
    x = call.builder.to_layout(x, NHWC)
    if adaptive:
        (h, w), (oh, ow) = x.shape[2:], call.shape[2:]
        if h % oh or w % ow:
            call.refuse(f"an adaptive pool of {h}x{w} to {oh}x{ow}", "an output that divides the input")
        size = (h // oh, w // ow)
        return call.builder.op(AveragePool2D(size, size), (x,), call.shape, NHWC)
    is_max = "dilation" in call.arguments
    size = one_or_two(call["kernel_size"])
    stride = one_or_two(call["stride"]) if call["stride"] else size
    if (
        call["ceil_mode"]
        or call.arguments.get("divisor_override")
        or one_or_two(call.arguments.get("dilation", 1)) != (1, 1)
    ):
        call.refuse("ceil_mode, dilation or divisor_override", "none of them")
    counts_border = bool(call.arguments.get("count_include_pad")) and one_or_two(call["padding"]) != (0, 0)
    never: Padding | None = "same" if counts_border else None
    x, padding = _padded(call, x, size=size, stride=stride, never=never, zeros=not is_max and counts_border)
    attributes = MaxPool2D(size, stride, padding) if is_max else AveragePool2D(size, stride, padding)
    return call.builder.op(attributes, (x,), call.shape, NHWC)


def one_or_two(value: Any) -> Pair:
    """A number for both axes, or (height, width)."""
    if isinstance(value, int):
        return (value, value)
    numbers = [int(v) for v in value]
    return (numbers[0], numbers[-1])


def _padded(
    call: Call,
    x: Value,
    *,
    size: Pair,
    stride: Pair,
    dilation: Pair = (1, 1),
    never: Padding | None = None,
    zeros: bool = True,
) -> tuple[Value, Padding]:
    """The input, and how its windows treat the border: as TFLite's "valid" or "same", else after a padding with zeros.

    never: a manner not to use. zeros: whether zeros may stand around at all (they may win a maximum, and would count in
    a mean that leaves the border out).
    """
    lengths = x.shape[2:]
    if call["padding"] in ("same", "valid"):
        return x, call["padding"]
    wanted = one_or_two(call["padding"])
    axes = list(zip(lengths, size, stride, dilation, wanted, call.shape[2:], strict=True))
    if wanted == (0, 0):
        return x, "valid"
    if never != "same" and all(
        border(n, k, stride=s, padding="same", dilation=d)[0] == p and window_count(n, k, stride=s, padding="same") == o
        for n, k, s, d, p, o in axes
    ):
        return x, "same"
    if not zeros:
        call.refuse(
            f"padding of {wanted} with windows of {size} every {stride} pixels",
            "padding that gives as many windows as there are strides (an odd window at stride 1, or none), or an "
            "average pool with count_include_pad",
        )
    (top, left), shape = wanted, (*x.shape[:2], x.shape[2] + 2 * wanted[0], x.shape[3] + 2 * wanted[1])
    around = ((0, 0), (top, top), (left, left), (0, 0))
    return call.builder.op(Pad(around), (x,), shape, NHWC), "valid"


def _dense(data: Array, groups: int) -> Array:
    """Grouped weights with the zeros between the groups: TFLite Micro has no grouped kernel."""
    if groups == 1:
        return data
    out, per_group, kh, kw = data.shape
    dense = np.zeros((out, per_group * groups, kh, kw), data.dtype)
    for o in range(out):
        start = o // (out // groups) * per_group
        dense[o, start : start + per_group] = data[o]
    return dense


def _constants(
    builder: Builder, x: Tensor, weights: Tensor, data: Array, bias: Array, *, depthwise: bool
) -> tuple[Value, Value]:
    """Weights in TFLite's order and the bias, an int32 one at input scale times weight scale for an int8 input."""
    order, axis = ((1, 2, 3, 0), 3) if depthwise else ((0, 2, 3, 1), 0)
    q = weights.quantization
    if q is None or x.quantization is None:
        return builder.constant(data.transpose(order), q), builder.constant(bias)
    scales = np.broadcast_to(np.array(q.scale, np.float64), bias.shape)
    # A channel of (nearly) no weights beside its bias: coarser weights leave room for the bias in int32.
    least = np.abs(bias.astype(np.float64)) / (x.scale * _LARGEST_BIAS)
    wide = np.maximum(scales, least).astype(np.float32)
    coarser = (scales / wide).reshape(-1, 1, 1, 1)
    data = np.where(coarser < 1, np.rint(data * coarser), data).astype(np.int8)
    steps = np.float32(x.scale) * wide
    integers = np.rint(bias.astype(np.float64) / steps.astype(np.float64)).astype(np.int32)
    return (
        builder.constant(data.transpose(order), Quantization.per_channel(wide, axis=axis)),
        builder.constant(integers, Quantization.per_channel(steps, axis=0)),
    )
