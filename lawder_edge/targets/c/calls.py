"""Each operator of a graph as calls of the C kernels, with the integers that they need."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from lawder_edge.errors import BadInput
from lawder_edge.graph.fixed_point import Multiplier, input_radius, mean_multiplier, multiplier_of
from lawder_edge.graph.geometry import border
from lawder_edge.graph.integer_kernels import QMAX, QMIN, activation_range, run_int8
from lawder_edge.graph.ir import (
    Activation,
    Add,
    Array,
    AveragePool2D,
    BatchMatMul,
    Concat,
    Conv2D,
    DepthwiseConv2D,
    Graph,
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
    Shape,
    Softmax,
    Sub,
    Tensor,
    Transpose,
)
from lawder_edge.graph.validate import describe
from lawder_edge.graph.windows import bilinear_step, nearest_sources
from lawder_edge.targets.c.fuse import MAX_WINDOW_ROWS, window_start
from lawder_edge.targets.c.records import Constant, Record, record

# The largest product of two centred int8 values, or of one and a weight.
_PRODUCT, _WEIGHTED = 255 * 255, 255 * 128
# The largest shifts: those of a sum, of up to 255 * 2^20, and a product, of up to 255 * 255, leave them below 2^30.
_SUM_SHIFT, _PRODUCT_SHIFT, _SHIFT = 2, 14, 30
# gemmlowp's sums of exponentials are Q12.19.
_MAX_SOFTMAX = 4095

Argument: TypeAlias = Record | Constant | int


@dataclass(frozen=True)
class Operand:
    """A tensor, from `offset` bytes on."""

    name: str
    offset: int = 0


@dataclass(frozen=True)
class Call:
    """kernel(arguments..., operands...): the operands are inputs, then the output."""

    kernel: str
    arguments: tuple[Argument, ...]
    operands: tuple[Operand, ...]


def calls_of(op: Op, graph: Graph) -> tuple[Call, ...]:
    """The calls that compute an int8 operator. A reshape is a copy, which whoever places tensors can leave out.

    Raises BadInput naming operator and module for what the kernels cannot do.
    """
    inputs, output = graph.of(op.inputs), graph.tensor(op.outputs[0])
    if output.dtype != "int8":
        raise BadInput(f"{describe(op)}: is {output.dtype}; C is written from int8 networks alone.")
    try:
        if isinstance(op.attributes, Concat):
            return _concat(op.attributes, inputs, output)
        kernel, arguments = _kernel(op, inputs, output)
    except BadInput as error:
        raise BadInput(f"{describe(op)}: {error}") from error
    read = inputs[:-2] if isinstance(op.attributes, Conv2D | DepthwiseConv2D) else inputs
    return (Call(kernel, arguments, tuple(Operand(t.name) for t in (*read, output))),)


def _kernel(op: Op, inputs: tuple[Tensor, ...], output: Tensor) -> tuple[str, tuple[Argument, ...]]:
    x = inputs[0]
    match op.attributes:
        case Conv2D() | DepthwiseConv2D():
            two = "_two" if len(inputs) == 4 else ""
            return f"lw_{op.kind}{two}", (_convolution(op.attributes, inputs, output),)
        case Add() | Sub():
            return f"lw_{op.kind}", (_sum(op.attributes.activation, inputs, output), _broadcast(inputs, output.shape))
        case Mul(activation=activation):
            return "lw_mul", (_product(activation, inputs, output), _broadcast(inputs, output.shape))
        case Relu() | Relu6() | Logistic():
            return "lw_lookup", (_table(op, x, output), x.size)
        case Softmax():
            return "lw_softmax", (_softmax(x),)
        case MaxPool2D() | AveragePool2D():
            return f"lw_{op.kind}", (_pool(op.attributes, x.shape, output.shape),)
        case Mean(axes=axes):
            return "lw_mean", (_mean(axes, x, output), _reduction(x.shape, axes))
        case ReduceMax(axes=axes):
            return "lw_reduce_max", (_reduction(x.shape, axes),)
        case BatchMatMul():
            return "lw_batch_matmul", (_matmul(op.attributes, inputs, output),)
        case ResizeBilinear() | ResizeNearest():
            return f"lw_{op.kind}", (_resize(op.attributes, x.shape, output.shape),)
        case Reshape():
            return "lw_concat", (1, x.size, x.size)
        case Transpose(permutation=order):
            return "lw_transpose", (_transposition(x.shape, order),)
        case Pad():
            return "lw_pad", (_padding(op.attributes, x.shape, output),)
        case _:
            raise BadInput("has no C kernel. Add one to lawder_kernels.h.")


def _convolution(attributes: Conv2D | DepthwiseConv2D, inputs: tuple[Tensor, ...], output: Tensor) -> Record:
    x, *others, weights, bias = inputs
    _, kh, kw, _ = weights.shape
    _check_window(kh * (1 + len(others)))
    data, biases = np.asarray(weights.data), np.asarray(bias.data)
    in_channels = x.shape[3] + sum(t.shape[3] for t in others)
    depth = 1 if isinstance(attributes, DepthwiseConv2D) else in_channels
    _check_sum(kh * kw * depth * _WEIGHTED + int(np.abs(biases.astype(np.int64)).max()))
    scales = weights.quantization.scale if weights.quantization else ()
    pairs = [_fitting(multiplier_of(x.scale * s / output.scale)) for s in scales]
    pairs = pairs * biases.size if len(pairs) == 1 else pairs
    low, high = activation_range(output, attributes.activation)
    top, left = window_start(attributes, x.shape, (kh, kw))
    return record(
        "lw_conv2d_params",
        in_height=x.shape[1], in_width=x.shape[2], in_channels=in_channels, first_channels=x.shape[3],
        out_height=output.shape[1], out_width=output.shape[2], out_channels=output.shape[3],
        kernel_height=kh, kernel_width=kw,
        stride_y=attributes.stride[0], stride_x=attributes.stride[1],
        dilation_y=attributes.dilation[0], dilation_x=attributes.dilation[1],
        pad_top=top, pad_left=left,
        in_zero_point=x.zero_point, out_zero_point=output.zero_point, out_min=low, out_max=high,
        weights=Constant("weights", "int8_t", _of_each_input(data, x.shape[3]) if others else data),
        bias=Constant("bias", "int32_t", biases),
        multiplier=Constant("multiplier", "int32_t", np.array([m.value for m in pairs], np.int32)),
        shift=Constant("shift", "int8_t", np.array([m.shift for m in pairs], np.int8)),
    )  # fmt: skip


def _of_each_input(weights: Array, first: int) -> Array:
    """Weights (out, height, width, in) of two inputs, the first of so many channels, as (out, height, width * in): of
    each row of a window the first's, then the second's, so that both are read in one piece."""
    out, height = weights.shape[:2]
    return np.concatenate([a.reshape(out, height, -1) for a in np.split(weights, [first], axis=3)], axis=2)


def _sum(activation: Activation, inputs: tuple[Tensor, ...], output: Tensor) -> Record:
    largest = 2 * max(t.scale for t in inputs)
    a, b = (multiplier_of(t.scale / largest) for t in inputs)
    out = _fitting(multiplier_of(largest / ((1 << 20) * output.scale)), _SUM_SHIFT)
    low, high = activation_range(output, activation)
    return record(
        "lw_add_params",
        a_zero_point=inputs[0].zero_point, b_zero_point=inputs[1].zero_point, out_zero_point=output.zero_point,
        out_min=low, out_max=high, a_shift=a.shift, b_shift=b.shift, out_shift=out.shift,
        a_multiplier=a.value, b_multiplier=b.value, out_multiplier=out.value,
    )  # fmt: skip


def _product(activation: Activation, inputs: tuple[Tensor, ...], output: Tensor) -> Record:
    m = _fitting(multiplier_of(inputs[0].scale * inputs[1].scale / output.scale), _PRODUCT_SHIFT)
    low, high = activation_range(output, activation)
    return record(
        "lw_mul_params",
        a_zero_point=inputs[0].zero_point, b_zero_point=inputs[1].zero_point, out_zero_point=output.zero_point,
        out_min=low, out_max=high, shift=m.shift, multiplier=m.value,
    )  # fmt: skip


def _broadcast(inputs: tuple[Tensor, ...], shape: Shape) -> Record:
    """Numpy's broadcasting as at most three loops: neighbouring axes along which both operands run on are one."""
    axes: list[tuple[int, int, int]] = []
    for length, *steps in zip(shape, *(_steps(t.shape, shape) for t in inputs), strict=True):
        if length == 1:
            continue
        if axes and all(before == step * length for before, step in zip(axes[-1][1:], steps, strict=True)):
            axes[-1] = (axes[-1][0] * length, steps[0], steps[1])
        else:
            axes.append((length, steps[0], steps[1]))
    if len(axes) > 3:
        raise BadInput(f"operands of {inputs[0].shape} and {inputs[1].shape} meet along {len(axes)} axes; wanted 3.")
    axes = [(1, 0, 0)] * (3 - len(axes)) + axes
    count, a, b = zip(*axes, strict=True)
    return record("lw_broadcast", count=count, a_step=a, b_step=b)


def _steps(shape: Shape, wanted: Shape) -> tuple[int, ...]:
    """Elements to advance along each axis of `wanted`, 0 where the operand repeats."""
    full = (1,) * (len(wanted) - len(shape)) + tuple(shape)
    return tuple(math.prod(full[i + 1 :]) if length > 1 else 0 for i, length in enumerate(full))


def _table(op: Op, x: Tensor, output: Tensor) -> Constant:
    """What the reference makes of each of the 256 inputs."""
    values = np.arange(QMIN, QMAX + 1, dtype=np.int8)
    column = Tensor(output.name, values.shape, "int8", output.quantization)
    return Constant("table", "int8_t", run_int8(op, [values], [x], column))


def _softmax(x: Tensor) -> Record:
    m = multiplier_of(min(x.scale * (1 << 26), 2**31 - 1.0))
    length = x.shape[-1]
    if length > _MAX_SOFTMAX:
        raise BadInput(f"a softmax over {length} values; its sum holds {_MAX_SOFTMAX}.")
    # Differences reach -255.
    smallest = -min(input_radius(5, m.shift), 2**15 - 1)
    return record(
        "lw_softmax_params",
        rows=x.size // length, length=length, shift=max(m.shift, 0), smallest=smallest, multiplier=m.value,
    )  # fmt: skip


def _pool(attributes: MaxPool2D | AveragePool2D, shape: Shape, out: Shape) -> Record:
    _check_window(attributes.size[0])
    top, left = (
        border(n, k, stride=s, padding=attributes.padding)[0]
        for n, k, s in zip(shape[1:3], attributes.size, attributes.stride, strict=True)
    )
    return record(
        "lw_pool_params",
        in_height=shape[1], in_width=shape[2], channels=shape[3], out_height=out[1], out_width=out[2],
        size_y=attributes.size[0], size_x=attributes.size[1],
        stride_y=attributes.stride[0], stride_x=attributes.stride[1], pad_top=top, pad_left=left,
    )  # fmt: skip


def _reduction(shape: Shape, axes: tuple[int, ...]) -> Record:
    first, last = min(axes), max(axes)
    if any(shape[i] > 1 for i in range(first, last + 1) if i not in axes):
        raise BadInput(f"reduces axes {axes} of {shape}; wanted neighbouring ones.")
    count = math.prod(shape[first : last + 1])
    _check_sum(count * 255)
    return record("lw_reduce_shape", outer=math.prod(shape[:first]), count=count, inner=math.prod(shape[last + 1 :]))


def _mean(axes: tuple[int, ...], x: Tensor, output: Tensor) -> Record:
    m = _fitting(mean_multiplier(x.scale / output.scale, math.prod(x.shape[a] for a in axes)))
    return record(
        "lw_mean_params",
        in_zero_point=x.zero_point, out_zero_point=output.zero_point, shift=m.shift, multiplier=m.value,
    )  # fmt: skip


def _matmul(attributes: BatchMatMul, inputs: tuple[Tensor, ...], output: Tensor) -> Record:
    a, b = inputs
    rows, columns = output.shape[-2:]
    inner = a.shape[-2] if attributes.adj_x else a.shape[-1]
    _check_sum(inner * _PRODUCT)
    m = _fitting(multiplier_of(a.scale * b.scale / output.scale))
    a_row, a_column = (1, rows) if attributes.adj_x else (inner, 1)
    b_row, b_column = (1, inner) if attributes.adj_y else (columns, 1)
    return record(
        "lw_matmul_params",
        batch=math.prod(output.shape[:-2]), rows=rows, inner=inner, columns=columns,
        a_row=a_row, a_column=a_column, b_row=b_row, b_column=b_column,
        a_zero_point=a.zero_point, b_zero_point=b.zero_point, out_zero_point=output.zero_point,
        shift=m.shift, multiplier=m.value,
    )  # fmt: skip


def _resize(attributes: ResizeBilinear | ResizeNearest, shape: Shape, out: Shape) -> Record:
    scales, offsets = [0, 0], [0, 0]
    for i, (length, wanted) in enumerate(zip(shape[1:3], out[1:3], strict=True)):
        if isinstance(attributes, ResizeBilinear):
            scales[i], offsets[i] = bilinear_step(length, wanted, align_corners=attributes.align_corners)
        elif not np.array_equal(nearest_sources(length, wanted), np.arange(wanted, dtype=np.int64) * length // wanted):
            raise BadInput(f"resizes {length} to {wanted} pixels, where float32 rounds off; wanted a whole factor.")
        _check_sum(max(scales[i], length) * wanted + 1023)
    return record(
        "lw_resize_params",
        in_height=shape[1], in_width=shape[2], channels=shape[3], out_height=out[1], out_width=out[2],
        scale_y=scales[0], scale_x=scales[1], offset_y=offsets[0], offset_x=offsets[1],
    )  # fmt: skip


def _concat(attributes: Concat, inputs: tuple[Tensor, ...], output: Tensor) -> tuple[Call, ...]:
    rows = math.prod(output.shape[: attributes.axis])
    step = output.size // rows
    calls: list[Call] = []
    offset = 0
    for x in inputs:
        length = x.size // rows
        calls.append(Call("lw_concat", (rows, length, step), (Operand(x.name), Operand(output.name, offset))))
        offset += length
    return tuple(calls)


def _transposition(shape: Shape, order: tuple[int, ...]) -> Record:
    _check_rank(shape)
    steps = [math.prod(shape[i + 1 :]) for i in range(len(shape))]
    return record(
        "lw_transpose_params",
        shape=_four([shape[i] for i in order], 1),
        x_step=_four([steps[i] for i in order], 0),
    )


def _padding(attributes: Pad, shape: Shape, output: Tensor) -> Record:
    _check_rank(shape)
    return record(
        "lw_pad_params",
        in_shape=_four(shape, 1),
        before=_four([a for a, _ in attributes.amounts], 0),
        after=_four([b for _, b in attributes.amounts], 0),
        value=output.zero_point,
    )


def _four(values: list[int] | Shape, fill: int) -> tuple[int, ...]:
    return (fill,) * (4 - len(values)) + tuple(values)


def _check_rank(shape: Shape) -> None:
    if len(shape) > 4:
        raise BadInput(f"a tensor of {len(shape)} axes; the C kernels hold 4.")


def _check_window(rows: int) -> None:
    if rows > MAX_WINDOW_ROWS:
        raise BadInput(f"a window of {rows} rows; the C kernels hold {MAX_WINDOW_ROWS}.")


def _fitting(m: Multiplier, highest: int = _SHIFT) -> Multiplier:
    if m.shift > highest:
        raise BadInput(
            f"a change of scale by 2^{m.shift}; the C kernels hold 2^{highest}. The scale of its output is too small "
            "beside those of its inputs: quantise it with a larger one."
        )
    return m


def _check_sum(largest: int) -> None:
    if largest >= 2**31:
        raise BadInput(f"its sums can reach {largest}; the C kernels hold less than {2**31}.")
