"""Each integer kernel against LiteRT's reference kernels and TensorFlow Lite Micro, bit for bit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from runtimes import all_int8, one_op, run_litert, run_micro
from scipy.special import expit

from lawder_edge.errors import BadInput
from lawder_edge.graph.ir import (
    Add,
    Attributes,
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
    Pad,
    Quantization,
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
from lawder_edge.graph.reference import run
from lawder_edge.graph.windows import bilinear_sources

SQUASHED = Quantization.of(1 / 256, -128)
# Every pair of int8 values.
PAIRS = tuple(np.repeat(a, n).reshape(1, 256, 256, 1) for a, n in ((np.arange(-128, 128, dtype=np.int8), 256),))
PAIRS = (*PAIRS, PAIRS[0].transpose(0, 2, 1, 3).copy())
many = settings(max_examples=20, deadline=None, derandomize=True)

scales = st.floats(1e-4, 0.5)
zero_points = st.integers(-128, 127)
quantizations = st.builds(Quantization.of, scales, zero_points)
ratios = st.floats(0.3, 3)
activations = st.sampled_from(["none", "relu", "relu6"])
seeds = st.integers(0, 2**16)


def tensor(name: str, shape: Sequence[int], q: Quantization, data: NDArray[Any] | None = None) -> Tensor:
    return Tensor(name, tuple(shape), "int8", q, data)


def check(graph: Graph, *inputs: NDArray[np.int8]) -> None:
    expected = run(graph, inputs)[0]
    np.testing.assert_array_equal(run_litert(graph, inputs), expected, err_msg="LiteRT BUILTIN_REF")
    np.testing.assert_array_equal(run_micro(graph, inputs), expected, err_msg="TFLM")


def check_one(
    attributes: Attributes, x: NDArray[np.int8], q: Quantization, shape: Sequence[int], out: Quantization
) -> None:
    check(one_op(attributes, [tensor("x", x.shape, q)], tuple(shape), out), x)


@many
@given(a=quantizations, b=quantizations, ratio=ratios, zero=zero_points, activation=activations, minus=st.booleans())
def test_sums_and_differences_of_all_pairs(
    a: Any, b: Any, ratio: float, zero: int, activation: Any, minus: bool
) -> None:
    out = Quantization.of((a.scale[0] + b.scale[0]) * ratio, zero)
    attributes = Sub(activation) if minus else Add(activation)
    check(
        one_op(attributes, [tensor("a", PAIRS[0].shape, a), tensor("b", PAIRS[0].shape, b)], PAIRS[0].shape, out),
        *PAIRS,
    )


@many
@given(a=quantizations, b=quantizations, ratio=st.floats(30, 300), zero=zero_points, activation=activations)
def test_products_of_all_pairs_are_those_of_litert_and_tflm(
    a: Any, b: Any, ratio: float, zero: int, activation: Any
) -> None:
    out = Quantization.of(a.scale[0] * b.scale[0] * ratio, zero)
    check(
        one_op(Mul(activation), [tensor("a", PAIRS[0].shape, a), tensor("b", PAIRS[0].shape, b)], PAIRS[0].shape, out),
        *PAIRS,
    )


@many
@given(
    a=quantizations, b=quantizations, kind=st.sampled_from([Add(), Sub(), Mul()]),
    shape=st.sampled_from([(1, 1, 1, 6), (1, 4, 5, 1), (1, 1, 1, 1)]),
)  # fmt: skip
def test_attention_factors_broadcast_over_channels_and_pixels(
    a: Any, b: Any, kind: Any, shape: tuple[int, ...]
) -> None:
    product, total = a.scale[0] * b.scale[0] * 90, 2 * a.scale[0] + b.scale[0]
    out = Quantization.of(product if isinstance(kind, Mul) else total, 3)
    graph = one_op(kind, [tensor("a", (1, 4, 5, 6), a), tensor("b", shape, b)], (1, 4, 5, 6), out)
    check(graph, all_int8((1, 4, 5, 6), 1), all_int8(shape, 2))


@many
@given(q=quantizations, ratio=st.floats(0.1, 8), zero=zero_points)
def test_relu_changes_the_scale(q: Any, ratio: float, zero: int) -> None:
    check_one(Relu(), all_int8((1, 16, 16, 1)), q, (1, 16, 16, 1), Quantization.of(q.scale[0] * ratio, zero))


@many
@given(q=quantizations)
def test_relu6_at_one_scale(q: Any) -> None:
    check_one(Relu6(), all_int8((1, 16, 16, 1)), q, (1, 16, 16, 1), q)


def test_relu6_that_changes_the_scale_is_refused() -> None:
    x = tensor("x", (1, 2, 2, 1), Quantization.of(0.1, 3))
    with pytest.raises(BadInput, match="does not rescale"):
        one_op(Relu6(), [x], (1, 2, 2, 1), Quantization.of(0.2, 3))


@settings(max_examples=100, deadline=None, derandomize=True)
@given(q=st.builds(Quantization.of, st.floats(1e-5, 8), zero_points))
def test_logistic_is_that_of_tflm_and_of_litert_but_for_halves_and_steps_above_2(q: Any) -> None:
    x = all_int8((1, 16, 16, 1))
    graph = one_op(Logistic(), [tensor("x", x.shape, q)], x.shape, SQUASHED)
    expected = run(graph, [x])[0]
    np.testing.assert_array_equal(run_micro(graph, [x]), expected)
    # LiteRT takes a table in float32, which falls to the other side where the true value is half-way.
    exact = 256 * expit(q.scale[0] * (x.astype(np.float64) - q.zero_point[0]))
    clear = np.abs(exact % 1 - 0.5) > 1e-4
    if q.scale[0] < 2:
        np.testing.assert_array_equal(run_litert(graph, [x])[clear], expected[clear])
        assert np.abs(run_litert(graph, [x]).astype(int) - expected).max() <= 1


@many
@given(q=quantizations, length=st.sampled_from([1, 2, 17, 64, 256, 576]), seed=seeds)
def test_softmax_over_rows_is_that_of_litert_and_tflm(q: Any, length: int, seed: int) -> None:
    x = np.random.default_rng(seed).integers(-128, 128, (1, 12, length)).astype(np.int8)
    check_one(Softmax(), x, q, x.shape, SQUASHED)


@many
@given(
    q=quantizations, ratio=st.floats(0.2, 2), zero=zero_points, keep=st.booleans(), seed=seeds,
    axes=st.sampled_from([(1, 2), (3,), (1,), (1, 2, 3)]), shape=st.tuples(*[st.integers(1, 24)] * 3),
)  # fmt: skip
def test_mean_changes_the_scale(
    q: Any, ratio: float, zero: int, keep: bool, seed: int, axes: tuple[int, ...], shape: tuple[int, ...]
) -> None:
    x = np.random.default_rng(seed).integers(-128, 128, (1, *shape)).astype(np.int8)
    y = x.mean(axes, keepdims=keep).shape
    check_one(Mean(axes, keep), x, q, y, Quantization.of(q.scale[0] * ratio, zero))


def test_mean_of_a_whole_picture() -> None:
    check_one(
        Mean((1, 2)), all_int8((1, 256, 256, 3)), Quantization.of(0.02, -7), (1, 1, 1, 3), Quantization.of(0.01, 5)
    )


@many
@given(q=quantizations, axes=st.sampled_from([(1, 2), (3,)]), keep=st.booleans())
def test_the_largest_value_is_that_of_litert_and_tflm(q: Any, axes: tuple[int, ...], keep: bool) -> None:
    x = all_int8((1, 6, 7, 5))
    check_one(ReduceMax(axes, keep), x, q, x.max(axes, keepdims=keep).shape, q)


@many
@given(
    q=quantizations, average=st.booleans(), size=st.integers(1, 4), stride=st.integers(1, 4), same=st.booleans(),
    shape=st.tuples(*[st.integers(4, 11)] * 3),
)  # fmt: skip
def test_pools_are_those_of_litert_and_tflm(
    q: Any, average: bool, size: int, stride: int, same: bool, shape: tuple[int, int, int]
) -> None:
    x = all_int8((1, *shape))
    kind = AveragePool2D if average else MaxPool2D
    h, w = (-(-n // stride) if same else (n - size) // stride + 1 for n in shape[:2])
    check_one(kind((size, size), (stride, stride), "same" if same else "valid"), x, q, (1, h, w, shape[2]), q)


@many
@given(
    q=quantizations,
    factor=st.sampled_from([2, 3, 4, 8, 16, 32]),
    align=st.booleans(),
    shape=st.tuples(*[st.integers(1, 9)] * 3),
)
def test_bilinear_resizing_is_that_of_litert_and_tflm(
    q: Any, factor: int, align: bool, shape: tuple[int, int, int]
) -> None:
    h, w, c = shape
    check_one(ResizeBilinear(align), all_int8((1, *shape)), q, (1, factor * h, factor * w, c), q)


@many
@given(q=quantizations, factor=st.sampled_from([2, 3, 4]), shape=st.tuples(*[st.integers(1, 9)] * 3))
def test_nearest_resizing_is_that_of_litert_and_tflm(q: Any, factor: int, shape: tuple[int, int, int]) -> None:
    h, w, c = shape
    check_one(ResizeNearest(), all_int8((1, *shape)), q, (1, factor * h, factor * w, c), q)


@many
@given(
    a=quantizations, b=quantizations, ratio=st.floats(50, 800), zero=zero_points, adj_x=st.booleans(),
    adj_y=st.booleans(), lengths=st.tuples(*[st.integers(1, 20)] * 3),
)  # fmt: skip
def test_matrix_products_of_turned_and_plain_operands(
    a: Any, b: Any, ratio: float, zero: int, adj_x: bool, adj_y: bool, lengths: tuple[int, int, int]
) -> None:
    m, k, n = lengths
    left, right = (1, k, m) if adj_x else (1, m, k), (1, n, k) if adj_y else (1, k, n)
    out = Quantization.of(a.scale[0] * b.scale[0] * ratio, zero)
    graph = one_op(BatchMatMul(adj_x, adj_y), [tensor("a", left, a), tensor("b", right, b)], (1, m, n), out)
    check(graph, all_int8(left, 1), all_int8(right, 2))


@many
@given(a=quantizations, b=quantizations, ratio=st.floats(100, 300), zero=zero_points)
def test_matrix_products_round_every_pair_alike(a: Any, b: Any, ratio: float, zero: int) -> None:
    column, row = (np.arange(-128, 128, dtype=np.int8).reshape(s) for s in ((1, 256, 1), (1, 1, 256)))
    out = Quantization.of(a.scale[0] * b.scale[0] * ratio, zero)
    graph = one_op(BatchMatMul(), [tensor("a", column.shape, a), tensor("b", row.shape, b)], (1, 256, 256), out)
    check(graph, column, row)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    q=quantizations, ratio=ratios, zero=zero_points, activation=activations, seed=seeds, depthwise=st.booleans(),
    size=st.sampled_from([1, 3, 5]), stride=st.integers(1, 2), same=st.booleans(), dilation=st.sampled_from([1, 1, 2]),
)  # fmt: skip
def test_convolutions_are_those_of_litert_and_tflm(
    q: Any,
    ratio: float,
    zero: int,
    activation: Any,
    seed: int,
    depthwise: bool,
    size: int,
    stride: int,
    same: bool,
    dilation: int,
) -> None:
    rng = np.random.default_rng(seed)
    channels, multiplier = int(rng.integers(1, 9)), int(rng.integers(1, 3))
    out = channels * multiplier if depthwise else int(rng.integers(1, 9))
    weights = rng.integers(-127, 128, (1, size, size, out) if depthwise else (out, size, size, channels)).astype(
        np.int8
    )
    steps = rng.uniform(0.001, 0.02, out).astype(np.float32)
    bias = rng.integers(-20_000, 20_000, out).astype(np.int32)
    bias_steps = steps * np.float32(q.scale[0])
    constants = [
        tensor("w", weights.shape, Quantization.per_channel(steps, axis=3 if depthwise else 0), weights),
        Tensor("b", bias.shape, "int32", Quantization.per_channel(bias_steps, axis=0), bias),
    ]
    padding: Any = "same" if same else "valid"
    # TFLite allows dilation at stride 1 alone.
    dilation = dilation if stride == 1 else 1
    options = (padding, (stride, stride), (dilation, dilation))
    attributes = (
        DepthwiseConv2D(*options, multiplier, activation) if depthwise else Conv2D(*options, activation=activation)
    )
    lengths = (11, 13)
    reach = (size - 1) * dilation + 1
    h, w = (-(-n // stride) if same else (n - reach) // stride + 1 for n in lengths)
    result = Quantization.of(q.scale[0] * 0.01 * 127 * size * ratio, zero)
    x = all_int8((1, *lengths, channels), seed)
    check(one_op(attributes, [tensor("x", x.shape, q), *constants], (1, h, w, out), result), x)


@many
@given(q=quantizations)
def test_operators_that_only_move_values(q: Any) -> None:
    x, y = all_int8((1, 4, 6, 8), 1), all_int8((1, 4, 6, 3), 2)
    check(one_op(Concat(3), [tensor("a", x.shape, q), tensor("b", y.shape, q)], (1, 4, 6, 11), q), x, y)
    check_one(Transpose((0, 3, 1, 2)), x, q, (1, 8, 4, 6), q)
    check_one(Reshape(), x, q, (1, 24, 8), q)
    check_one(Pad(((0, 0), (1, 2), (0, 1), (0, 0))), x, q, (1, 7, 7, 8), q)


@pytest.mark.parametrize(("length", "output"), [(299, 1794), (13, 1064)])
def test_a_resize_whose_rounded_steps_lead_beyond_the_last_pixel_is_refused(length: int, output: int) -> None:
    with pytest.raises(BadInput, match=f"resize of {length} to {output} pixels"):
        bilinear_sources(length, output, align_corners=False)
    _, lower, upper = bilinear_sources(length, 2 * length, align_corners=False)
    assert max(lower.max(), upper.max()) == length - 1
