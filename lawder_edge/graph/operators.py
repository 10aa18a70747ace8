"""What each of PyTorch's operators becomes in a graph."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from lawder_edge.graph.builder import Builder, Value
from lawder_edge.graph.call import Call
from lawder_edge.graph.convolution import convolution, one_or_two, pool
from lawder_edge.graph.ir import (
    Add,
    Attributes,
    BatchMatMul,
    Concat,
    Logistic,
    Mean,
    Mul,
    Pad,
    Quantization,
    ReduceMax,
    Relu,
    Relu6,
    ResizeBilinear,
    ResizeNearest,
    Softmax,
    Sub,
)
from lawder_edge.graph.layout import (
    NHWC,
    Layout,
    extended,
    gathered,
    identity,
    permuted,
    reshaped,
    same_order,
    swapped,
    without,
)

# In eval mode these give their input.
NO_OPERATION = frozenset(
    {"aten.dropout", "aten.feature_dropout", "aten.contiguous", "aten.clone", "aten.alias", "aten.detach"}
)


def _conv2d(call: Call) -> Value:
    bias = call["bias"]
    return convolution(
        call,
        call.value("input"),
        call.value("weight"),
        bias if isinstance(bias, Value) else None,
    )


def _binary(attributes: Attributes, call: Call, a: Any, b: Any) -> Value:
    """a, b: values or numbers, broadcast as PyTorch does, stored as the larger of them is."""
    if call.arguments.get("alpha", 1) != 1:
        call.refuse(f"alpha={call['alpha']}", "alpha=1")
    builder, rank = call.builder, len(call.shape)
    partner = a if isinstance(a, Value) else b
    values = [_as_value(call, v, partner) for v in (a, b)]
    values = [
        Value(v.name, (1,) * (rank - len(v.shape)) + v.shape, v.layout)
        if len(v.shape) == rank
        else builder.reshape(v, (1,) * (rank - len(v.shape)) + v.shape, extended(v.layout, rank))
        for v in values
    ]
    computed = [v for v in values if builder.tensor(v).data is None] or values
    layout = max(computed, key=lambda v: (builder.tensor(v).size, v.layout == NHWC)).layout
    values = [builder.to_layout(v, layout) for v in values]
    return builder.op(attributes, (values[0], values[1]), call.shape, layout)


def _as_value(call: Call, v: Any, partner: Value) -> Value:
    """A number as a constant of the type of its partner: of int8 one step, whose scale is the number."""
    builder = call.builder
    is_int8 = builder.tensor(partner).dtype == "int8"
    if not isinstance(v, Value):
        number = float(v)
        if not is_int8:
            return builder.constant(np.array(number, np.float32))
        return builder.constant(np.array(np.sign(number), np.int8), Quantization.of(abs(number) or 1.0))
    tensor = builder.tensor(v)
    if tensor.data is None or tensor.dtype != "float32" or not is_int8:
        return v
    largest = float(np.abs(tensor.data).max()) or 1.0
    steps = np.rint(tensor.data * (127 / largest)).astype(np.int8)
    return builder.constant(steps, Quantization.of(largest / 127))


def _add(call: Call) -> Value:
    return _binary(Add(), call, call["self"], call["other"])


def _sub(call: Call) -> Value:
    return _binary(Sub(), call, call["self"], call["other"])


def _rsub(call: Call) -> Value:
    return _binary(Sub(), call, call["other"], call["self"])


def _mul(call: Call) -> Value:
    return _binary(Mul(), call, call["self"], call["other"])


def _div(call: Call) -> Value:
    other = call["other"]
    if isinstance(other, Value):
        data = call.builder.tensor(other).data
        if data is None or data.dtype != np.float32:
            call.refuse("a division by a tensor", "a division by a constant, or a product")
        return _binary(Mul(), call, call["self"], call.builder.constant(np.float32(1) / data))
    return _binary(Mul(), call, call["self"], 1.0 / float(other))


def _same_shape(attributes: Attributes) -> Callable[[Call], Value]:
    def handle(call: Call) -> Value:
        x = call.value()
        return call.builder.op(attributes, (x,), x.shape, x.layout)

    return handle


def _clamp(call: Call) -> Value:
    limits = tuple(call.arguments.get(a, call.arguments.get(b)) for a, b in (("min_val", "min"), ("max_val", "max")))
    if limits not in ((0, 6), (0, None)):
        call.refuse(f"a clamp to {limits}", "ReLU or ReLU6")
    return _same_shape(Relu6() if limits == (0, 6) else Relu())(call)


def _softmax(call: Call) -> Value:
    x = call.value()
    axis = call["dim"] % len(x.shape)
    last = (*(a for a in x.layout if a != axis), axis)
    x = call.builder.to_layout(x, last)
    return call.builder.op(Softmax(), (x,), x.shape, x.layout)


def _pool(call: Call) -> Value:
    return pool(call, call.value())


def _adaptive_average(call: Call) -> Value:
    x, size = call.value(), one_or_two(call["output_size"])
    if size == (1, 1):
        return _reduce_to(call, x, (2, 3), keep=True, maximum=False)
    return pool(call, x, adaptive=True)


def _mean(call: Call) -> Value:
    return _reduce(call, maximum=False)


def _amax(call: Call) -> Value:
    return _reduce(call, maximum=True)


def _reduce(call: Call, *, maximum: bool) -> Value:
    x = call.value()
    # The mean of everything has neither argument.
    dims = call.arguments.get("dim")
    dims = [dims] if isinstance(dims, int) else list(dims or range(len(x.shape)))
    axes = tuple(sorted(d % len(x.shape) for d in dims))
    return _reduce_to(call, x, axes, keep=bool(call.arguments.get("keepdim")), maximum=maximum)


def _reduce_to(call: Call, x: Value, axes: tuple[int, ...], *, keep: bool, maximum: bool) -> Value:
    places = tuple(sorted(x.layout.index(a) for a in axes))
    attributes = ReduceMax(places, keep) if maximum else Mean(places, keep)
    return call.builder.op(attributes, (x,), call.shape, x.layout if keep else without(x.layout, axes))


def _cat(call: Call) -> Value:
    values: Sequence[Value] = call["tensors"]
    layout = values[0].layout
    axis = call["dim"] % len(layout)
    moved = tuple(call.builder.to_layout(v, layout) for v in values)
    return call.builder.op(Concat(layout.index(axis)), moved, call.shape, layout)


def _upsample_bilinear(call: Call) -> Value:
    return _resize(call, ResizeBilinear(bool(call["align_corners"])))


def _upsample_nearest(call: Call) -> Value:
    return _resize(call, ResizeNearest())


def _resize(call: Call, attributes: Attributes) -> Value:
    name = "input" if "input" in call.arguments else "self"
    x = call.builder.to_layout(call.value(name), NHWC)
    factors = call.arguments.get("scale_factors")
    # PyTorch steps by the factor that it is given, runtimes by the ratio of the lengths: the same where it is whole.
    if factors and any(n * f != m for n, m, f in zip(x.shape[2:], call.shape[2:], factors, strict=True)):
        call.refuse(f"a resize by {tuple(factors)} of {x.shape[2:]}", "a factor that gives a whole number of pixels")
    return call.builder.op(attributes, (x,), call.shape, NHWC)


def _pad(call: Call) -> Value:
    x, flat = call.value(), list(call["pad"])
    if call.arguments.get("mode", "constant") != "constant" or call["value"] not in (None, 0):
        call.refuse(f"padding by {call.arguments.get('mode')} of {call['value']}", "zeros")
    if any(n < 0 for n in flat):
        call.refuse(f"padding of {flat}", "lengths of at least 0")
    # From the last axis on, before and after.
    logical = [(0, 0)] * len(x.shape)
    for i in range(len(flat) // 2):
        logical[-1 - i] = (flat[2 * i], flat[2 * i + 1])
    return call.builder.op(Pad(tuple(logical[a] for a in x.layout)), (x,), call.shape, x.layout)


def _reshape(call: Call) -> Value:
    x = call.value()
    layout = reshaped(x.shape, x.layout, call.shape)
    if layout is None:
        x = call.builder.to_layout(x, gathered(x.shape, x.layout, call.shape))
        layout = reshaped(x.shape, x.layout, call.shape)
    if layout is None:
        call.refuse(f"a reshape of {x.shape} to {call.shape}", "as many elements")
    return call.builder.reshape(x, call.shape, layout)


def _transpose(call: Call) -> Value:
    x = call.value()
    rank = len(x.shape)
    return Value(x.name, call.shape, swapped(x.layout, call["dim0"] % rank, call["dim1"] % rank))


def _permute(call: Call) -> Value:
    x = call.value()
    return Value(x.name, call.shape, permuted(x.layout, [d % len(x.shape) for d in call["dims"]]))


def _expand(call: Call) -> Value:
    x = call.value()
    if x.shape != call.shape:
        call.refuse(f"an expansion of {x.shape} to {call.shape}", "none: sums and products broadcast by themselves")
    return x


def _matmul(call: Call) -> Value:
    builder = call.builder
    a, b = call.value(), call.value("other" if "other" in call.arguments else "mat2")
    rank = max(len(a.shape), len(b.shape))
    if min(len(a.shape), len(b.shape)) < 2 or a.shape[:-2] != b.shape[:-2]:
        call.refuse(f"a product of {a.shape} and {b.shape}", "two of the same batch")
    (a, adj_x), (b, adj_y) = (_as_matrix(builder, v) for v in (a, b))
    return builder.op(BatchMatMul(adj_x, adj_y), (a, b), call.shape, identity(rank))


def _as_matrix(builder: Builder, x: Value) -> tuple[Value, bool]:
    """The value stored with its last two axes last, and whether they are exchanged there."""
    plain = identity(len(x.shape))
    turned = swapped(plain, len(plain) - 2, len(plain) - 1)
    turn = same_order(x.shape, x.layout, turned) and not same_order(x.shape, x.layout, plain)
    wanted: Layout = turned if turn else plain
    return builder.to_layout(x, wanted), turn


OPERATORS: Mapping[str, Callable[[Call], Value]] = {
    "aten.conv2d": _conv2d,
    "aten.add": _add,
    "aten.sub": _sub,
    "aten.rsub": _rsub,
    "aten.mul": _mul,
    "aten.div": _div,
    "aten.relu": _same_shape(Relu()),
    "aten.relu6": _same_shape(Relu6()),
    "aten.hardtanh": _clamp,
    "aten.clamp": _clamp,
    "aten.sigmoid": _same_shape(Logistic()),
    "aten.softmax": _softmax,
    "aten._softmax": _softmax,
    "aten.max_pool2d": _pool,
    "aten.avg_pool2d": _pool,
    "aten.adaptive_avg_pool2d": _adaptive_average,
    "aten.mean": _mean,
    "aten.amax": _amax,
    "aten.cat": _cat,
    "aten.upsample_bilinear2d": _upsample_bilinear,
    "aten.upsample_nearest2d": _upsample_nearest,
    "aten.pad": _pad,
    "aten.constant_pad_nd": _pad,
    "aten.view": _reshape,
    "aten.reshape": _reshape,
    "aten.flatten": _reshape,
    "aten.unflatten": _reshape,
    "aten.squeeze": _reshape,
    "aten.unsqueeze": _reshape,
    "aten.transpose": _transpose,
    "aten.permute": _permute,
    "aten.expand": _expand,
    "aten.matmul": _matmul,
    "aten.bmm": _matmul,
}
