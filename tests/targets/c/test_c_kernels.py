"""Each C kernel against the integer reference, bit for bit, over the whole range of int8 and odd sizes."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_library import KERNELS, Kernels
from numpy.typing import NDArray
from runtimes import all_int8, one_op

from lawder_edge.errors import BadInput
from lawder_edge.graph.ir import (
    Add,
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
from lawder_edge.graph.validate import SMALLEST_WEIGHT
from lawder_edge.targets.c.calls import MAX_WINDOW_ROWS, calls_of
from lawder_edge.targets.c.network import WHOLE
from lawder_edge.targets.c.plan import ALIGNMENT
from lawder_edge.targets.c.records import LAYOUTS, record
from lawder_edge.targets.c.stream import MAX_STAGES

SQUASHED = Quantization.of(1 / 256, -128)
many = settings(max_examples=60, deadline=None, derandomize=True)

# Scales from where multipliers saturate to where everything rounds to one value.
scales = st.floats(1e-4, 8)
zero_points = st.integers(-128, 127)
quantizations = st.builds(Quantization.of, scales, zero_points)
ratios = st.floats(0.01, 100)
activations = st.sampled_from(["none", "relu", "relu6"])
seeds = st.integers(0, 2**16)
lengths = st.integers(1, 13)


def tensor(name: str, shape: tuple[int, ...], q: Quantization, data: NDArray[Any] | None = None) -> Tensor:
    return Tensor(name, shape, "int8", q, data)


def constants(
    rng: np.random.Generator, shape: tuple[int, ...], x: Quantization, *, axis: int, bias: int
) -> list[Tensor]:
    """Weights over all that a graph may hold, and a bias."""
    out = shape[axis]
    weights = rng.integers(SMALLEST_WEIGHT, 128, shape).astype(np.int8)
    steps = rng.uniform(0.0001, 0.1, out).astype(np.float32)
    return [
        tensor("w", shape, Quantization.per_channel(steps, axis=axis), weights),
        Tensor(
            "b", (out,), "int32", Quantization.per_channel(steps * np.float32(x.scale[0]), axis=0),
            rng.integers(-bias, bias + 1, out).astype(np.int32),
        ),
    ]  # fmt: skip


def test_layouts_are_those_of_the_header() -> None:
    text = re.sub(r"/\*.*?\*/", "", (KERNELS / "lawder_kernels.h").read_text(), flags=re.S)
    found: dict[str, tuple[tuple[str, str], ...]] = {}
    for body, name in re.findall(r"typedef struct \{(.*?)\} (\w+);", text, flags=re.S):
        fields: list[tuple[str, str]] = []
        for line in body.split(";"):
            if not line.strip():
                continue
            match = re.fullmatch(r"\s*((?:const )?\w+)\s+(.*)", line, flags=re.S)
            assert match, line
            for field in match[2].split(","):
                length = re.search(r"\[\d+\]", field)
                kind = match[1] + (" *" if "*" in field else "") + (length[0] if length else "")
                fields.append((re.sub(r"[*\s]|\[.*", "", field), kind))
        found[name] = tuple(fields)
    assert found == dict(LAYOUTS)


def test_limits_are_those_of_the_header() -> None:
    text = (KERNELS / "lawder_kernels.h").read_text()
    assert f"#define LW_ARENA_ALIGNMENT {ALIGNMENT}\n" in text
    assert f"#define LW_MAX_WINDOW_ROWS {MAX_WINDOW_ROWS}\n" in text
    assert f"#define LW_MAX_STAGES {MAX_STAGES}\n" in text
    assert f"#define LW_WHOLE {WHOLE} " in text
    # A stage's number, and LW_WHOLE beside them, fit into a byte.
    assert MAX_STAGES < WHOLE < 256


class TestKernels:
    @pytest.fixture(autouse=True)
    def library(self, kernels: Kernels) -> None:
        type(self).kernels = kernels

    kernels: Kernels

    def check(self, graph: Graph, *inputs: NDArray[np.int8]) -> None:
        np.testing.assert_array_equal(self.kernels.run(graph, inputs), run(graph, inputs)[0])

    def check_one(
        self, attributes: Any, x: NDArray[np.int8], q: Quantization, shape: tuple[int, ...], out: Quantization
    ) -> None:
        self.check(one_op(attributes, [tensor("x", x.shape, q)], shape, out), x)

    @settings(max_examples=200, deadline=None, derandomize=True)
    @given(
        q=quantizations, ratio=ratios, zero=zero_points, activation=activations, seed=seeds, depthwise=st.booleans(),
        size=st.tuples(st.integers(1, 7), st.integers(1, 7)), stride=st.tuples(st.integers(1, 3), st.integers(1, 3)),
        same=st.booleans(), dilation=st.sampled_from([(1, 1), (2, 1), (2, 3)]),
        shape=st.tuples(lengths, lengths, st.integers(1, 9)),
    )  # fmt: skip
    def test_convolutions(
        self, q: Any, ratio: float, zero: int, activation: Any, seed: int, depthwise: bool, size: Any, stride: Any,
        same: bool, dilation: Any, shape: Any,
    ) -> None:  # fmt: skip
        rng = np.random.default_rng(seed)
        channels, multiplier = shape[2], int(rng.integers(1, 4))
        out = channels * multiplier if depthwise else int(rng.integers(1, 9))
        reach = [(k - 1) * d + 1 for k, d in zip(size, dilation, strict=True)]
        fits = same or all(n >= r for n, r in zip(shape[:2], reach, strict=True))
        padding: Any = "same" if same or not fits else "valid"
        h, w = (
            -(-n // s) if padding == "same" else (n - r) // s + 1
            for n, r, s in zip(shape[:2], reach, stride, strict=True)
        )
        kind: Any = (
            DepthwiseConv2D(padding, stride, dilation, multiplier, activation)
            if depthwise
            else Conv2D(padding, stride, dilation, activation)
        )
        weights = constants(
            rng, (1, *size, out) if depthwise else (out, *size, channels), q, axis=3 if depthwise else 0, bias=200_000
        )
        # Accumulators of about 2^12 times the root of the window.
        spread = 0.05 * q.scale[0] * 4096 * (size[0] * size[1] * (1 if depthwise else channels)) ** 0.5
        result = Quantization.of(spread * ratio / 127, zero)
        x = all_int8((1, *shape), seed)
        self.check(one_op(kind, [tensor("x", x.shape, q), *weights], (1, h, w, out), result), x)

    @many
    @given(zero=zero_points, sign=st.sampled_from([-1, 1]), below=st.integers(0, 127 * 127), depthwise=st.booleans())
    def test_a_scaled_sum_at_the_end_of_int32_is_cut_off_and_does_not_wrap(
        self, zero: int, sign: int, below: int, depthwise: bool
    ) -> None:
        # A multiplier of 2 - 2^-29: sums near 2^30 end within a few steps of int32's ends.
        q, steps = Quantization.of(1 + 2**-15, 0), np.full(1, 1 - 2**-15, np.float32)
        shape = (1, 1, 1, 1)
        weight = Quantization.per_channel(steps, axis=3 if depthwise else 0)
        bias = Quantization.per_channel(steps * np.float32(q.scale[0]), axis=0)
        constants = [
            tensor("w", shape, weight, np.full(shape, 127, np.int8)),
            Tensor("b", (1,), "int32", bias, np.array([sign * (2**30 - below)], np.int32)),
        ]
        x = all_int8((1, 16, 16, 1), 0)
        kind: Any = DepthwiseConv2D() if depthwise else Conv2D()
        out = Quantization.of(0.5, zero)
        self.check(one_op(kind, [tensor("x", x.shape, q), *constants], x.shape, out), x)

    @many
    @given(zero=zero_points, out=zero_points, activation=activations, seed=seeds, size=st.sampled_from([1, 3]))
    def test_a_picture_is_read_as_its_bytes_less_128(
        self, zero: int, out: int, activation: Any, seed: int, size: int
    ) -> None:
        rng = np.random.default_rng(seed)
        q = Quantization.of(1 / 128, zero)
        x = rng.integers(0, 256, (1, 7, 9, 3)).astype(np.uint8)
        weights = constants(rng, (5, size, size, 3), q, axis=0, bias=2000)
        graph = one_op(
            Conv2D("same", activation=activation), [tensor("x", x.shape, q), *weights], (1, 7, 9, 5),
            Quantization.of(0.2, out),
        )  # fmt: skip
        (call,) = calls_of(graph.ops[0], graph)
        y = np.zeros((1, 7, 9, 5), np.int8)
        self.kernels.call(type(call)("lw_conv2d_image", call.arguments, call.operands), {"x": x, "y": y})
        np.testing.assert_array_equal(y, run(graph, [(x ^ 0x80).view(np.int8)])[0])

    @many
    @given(a=quantizations, b=quantizations, ratio=ratios, zero=zero_points, activation=activations, kind=st.booleans())
    def test_sums_and_differences_of_all_pairs(
        self, a: Any, b: Any, ratio: float, zero: int, activation: Any, kind: bool
    ) -> None:
        pairs = np.repeat(np.arange(-128, 128, dtype=np.int8), 256).reshape(1, 256, 256, 1)
        out = Quantization.of((a.scale[0] + b.scale[0]) * ratio, zero)
        attributes = Sub(activation) if kind else Add(activation)
        graph = one_op(attributes, [tensor("a", pairs.shape, a), tensor("b", pairs.shape, b)], pairs.shape, out)
        self.check(graph, pairs, np.ascontiguousarray(pairs.transpose(0, 2, 1, 3)))

    @many
    @given(a=quantizations, b=quantizations, ratio=st.floats(0.5, 500), zero=zero_points, activation=activations)
    def test_products_of_all_pairs(self, a: Any, b: Any, ratio: float, zero: int, activation: Any) -> None:
        pairs = np.repeat(np.arange(-128, 128, dtype=np.int8), 256).reshape(1, 256, 256, 1)
        out = Quantization.of(a.scale[0] * b.scale[0] * ratio, zero)
        graph = one_op(Mul(activation), [tensor("a", pairs.shape, a), tensor("b", pairs.shape, b)], pairs.shape, out)
        self.check(graph, pairs, np.ascontiguousarray(pairs.transpose(0, 2, 1, 3)))

    @many
    @given(
        q=st.tuples(quantizations, quantizations), kind=st.sampled_from([Add(), Sub(), Mul()]), turned=st.booleans(),
        shape=st.sampled_from([(1, 1, 1, 6), (1, 4, 5, 1), (1, 1, 1, 1), (1, 4, 1, 6), (1, 1, 5, 1), (1, 4, 1, 1)]),
    )  # fmt: skip
    def test_operands_repeat_along_any_axis(self, q: Any, kind: Any, turned: bool, shape: Any) -> None:
        shapes = [(1, 4, 5, 6), shape]
        if turned:
            shapes.reverse()
        product, total = q[0].scale[0] * q[1].scale[0] * 90, 2 * q[0].scale[0] + q[1].scale[0]
        out = Quantization.of(product if isinstance(kind, Mul) else total, 3)
        graph = one_op(kind, [tensor(n, s, p) for n, s, p in zip("ab", shapes, q, strict=True)], (1, 4, 5, 6), out)
        self.check(graph, *(all_int8(s, i) for i, s in enumerate(shapes)))

    def test_both_operands_may_repeat(self) -> None:
        q = Quantization.of(0.1, -4)
        graph = one_op(
            Mul(), [tensor("a", (1, 4, 1, 6), q), tensor("b", (1, 1, 5, 1), q)], (1, 4, 5, 6), Quantization.of(0.9, 1)
        )
        self.check(graph, all_int8((1, 4, 1, 6), 1), all_int8((1, 1, 5, 1), 2))

    @many
    @given(q=quantizations, ratio=st.floats(0.1, 8), zero=zero_points)
    def test_functions_of_one_value(self, q: Any, ratio: float, zero: int) -> None:
        x = all_int8((1, 16, 16, 1))
        self.check_one(Relu(), x, q, x.shape, Quantization.of(q.scale[0] * ratio, zero))
        self.check_one(Relu6(), x, q, x.shape, q)
        self.check_one(Logistic(), x, q, x.shape, SQUASHED)

    @settings(max_examples=200, deadline=None, derandomize=True)
    @given(
        q=st.builds(Quantization.of, st.floats(1e-5, 8), zero_points), seed=seeds, flat=st.booleans(),
        length=st.sampled_from([1, 2, 17, 64, 256, 1024, 4095]),
    )  # fmt: skip
    def test_softmax_over_rows(self, q: Any, seed: int, flat: bool, length: int) -> None:
        rng = np.random.default_rng(seed)
        low = 120 if flat else -128
        self.check_one(Softmax(), rng.integers(low, 128, (1, 3, length)).astype(np.int8), q, (1, 3, length), SQUASHED)

    @many
    @given(
        q=quantizations, average=st.booleans(), size=st.tuples(st.integers(1, 4), st.integers(1, 4)),
        stride=st.tuples(st.integers(1, 4), st.integers(1, 4)), same=st.booleans(),
        shape=st.tuples(*[st.integers(4, 11)] * 3),
    )  # fmt: skip
    def test_pools(self, q: Any, average: bool, size: Any, stride: Any, same: bool, shape: Any) -> None:
        kind = AveragePool2D if average else MaxPool2D
        h, w = (-(-n // s) if same else (n - k) // s + 1 for n, k, s in zip(shape[:2], size, stride, strict=True))
        x = all_int8((1, *shape))
        self.check_one(kind(size, stride, "same" if same else "valid"), x, q, (1, h, w, shape[2]), q)

    @settings(max_examples=150, deadline=None, derandomize=True)
    @given(
        q=quantizations, ratio=st.floats(0.05, 20), zero=zero_points, keep=st.booleans(), seed=seeds,
        axes=st.sampled_from([(1, 2), (3,), (1,), (2, 3), (1, 2, 3)]), shape=st.tuples(*[st.integers(1, 24)] * 3),
    )  # fmt: skip
    def test_means_and_maxima(
        self, q: Any, ratio: float, zero: int, keep: bool, seed: int, axes: Any, shape: Any
    ) -> None:
        x = np.random.default_rng(seed).integers(-128, 128, (1, *shape)).astype(np.int8)
        y = x.max(axes, keepdims=keep).shape
        self.check_one(Mean(axes, keep), x, q, y, Quantization.of(q.scale[0] * ratio, zero))
        self.check_one(ReduceMax(axes, keep), x, q, y, q)

    def test_the_mean_of_a_whole_picture(self) -> None:
        x = np.full((1, 512, 512, 2), -128, np.int8)
        self.check_one(Mean((1, 2)), x, Quantization.of(0.02, 127), (1, 1, 1, 2), Quantization.of(0.01, 5))

    def test_a_mean_over_axes_that_lie_apart_is_refused(self) -> None:
        q = Quantization.of(0.1)
        graph = one_op(Mean((1, 3)), [tensor("x", (1, 4, 5, 6), q)], (1, 1, 5, 1), q)
        with pytest.raises(BadInput, match=r"mean \(y\): reduces axes \(1, 3\).*neighbouring"):
            calls_of(graph.ops[0], graph)

    @many
    @given(
        q=quantizations, factors=st.tuples(st.integers(1, 9), st.integers(1, 9)), align=st.booleans(),
        shape=st.tuples(*[st.integers(1, 9)] * 3), more=st.tuples(st.integers(0, 3), st.integers(0, 3)),
    )  # fmt: skip
    def test_bilinear_resizing_by_any_ratio(self, q: Any, factors: Any, align: bool, shape: Any, more: Any) -> None:
        h, w = (n * f + m for n, f, m in zip(shape[:2], factors, more, strict=True))
        self.check_one(ResizeBilinear(align), all_int8((1, *shape)), q, (1, h, w, shape[2]), q)

    @many
    @given(q=quantizations, shape=st.tuples(*[st.integers(1, 9)] * 3), wanted=st.tuples(lengths, lengths))
    def test_bilinear_shrinking(self, q: Any, shape: Any, wanted: Any) -> None:
        self.check_one(ResizeBilinear(), all_int8((1, *shape)), q, (1, *wanted, shape[2]), q)

    @many
    @given(q=quantizations, factor=st.sampled_from([2, 3, 4]), shape=st.tuples(*[st.integers(1, 9)] * 3))
    def test_nearest_resizing(self, q: Any, factor: int, shape: Any) -> None:
        h, w, c = shape
        self.check_one(ResizeNearest(), all_int8((1, *shape)), q, (1, factor * h, factor * w, c), q)

    @many
    @given(
        a=quantizations, b=quantizations, ratio=st.floats(1, 3000), zero=zero_points, adj_x=st.booleans(),
        adj_y=st.booleans(), sizes=st.tuples(*[st.integers(1, 20)] * 3), batch=st.integers(1, 3),
    )  # fmt: skip
    def test_matrix_products_of_turned_and_plain_operands(
        self, a: Any, b: Any, ratio: float, zero: int, adj_x: bool, adj_y: bool, sizes: Any, batch: int
    ) -> None:
        m, k, n = sizes
        left = (batch, k, m) if adj_x else (batch, m, k)
        right = (batch, n, k) if adj_y else (batch, k, n)
        out = Quantization.of(a.scale[0] * b.scale[0] * ratio, zero)
        graph = one_op(BatchMatMul(adj_x, adj_y), [tensor("a", left, a), tensor("b", right, b)], (batch, m, n), out)
        self.check(graph, all_int8(left, 1), all_int8(right, 2))

    @many
    @given(q=quantizations, axis=st.integers(1, 3), counts=st.lists(st.integers(1, 5), min_size=1, max_size=4))
    def test_concatenations_along_any_axis(self, q: Any, axis: int, counts: list[int]) -> None:
        shapes = [tuple(c if i == axis else n for i, n in enumerate((1, 3, 4, 5))) for c in counts]
        out = tuple(sum(counts) if i == axis else n for i, n in enumerate((1, 3, 4, 5)))
        graph = one_op(Concat(axis), [tensor(f"x{i}", s, q) for i, s in enumerate(shapes)], out, q)
        self.check(graph, *(all_int8(s, i) for i, s in enumerate(shapes)))

    @many
    @given(q=quantizations, order=st.permutations([0, 1, 2, 3]), shape=st.tuples(*[st.integers(1, 5)] * 4))
    def test_axes_move_in_any_order(self, q: Any, order: list[int], shape: Any) -> None:
        self.check_one(Transpose(tuple(order)), all_int8(shape, 1), q, tuple(shape[i] for i in order), q)
        self.check_one(Transpose((1, 0)), all_int8(shape[2:], 1), q, shape[:1:-1], q)

    @many
    @given(q=quantizations, amounts=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=4, max_size=4))
    def test_borders_on_every_side(self, q: Any, amounts: list[tuple[int, int]]) -> None:
        shape = tuple(n + a + b for n, (a, b) in zip((1, 3, 4, 5), amounts, strict=True))
        self.check_one(Pad(tuple(amounts)), all_int8((1, 3, 4, 5), 1), q, shape, q)

    def test_a_reshape_copies(self) -> None:
        q = Quantization.of(0.1)
        self.check_one(Reshape(), all_int8((1, 4, 6, 8), 1), q, (1, 24, 8), q)

    def test_the_most_probable_class_is_the_first_of_equals(self) -> None:
        x = np.random.default_rng(0).integers(-2, 3, (500, 5)).astype(np.int8)
        y = np.zeros(500, np.uint8)
        from lawder_edge.targets.c.calls import Call, Operand

        self.kernels.call(Call("lw_argmax", (500, 5), (Operand("x"), Operand("y"))), {"x": x, "y": y})
        np.testing.assert_array_equal(y, x.argmax(1))


def test_what_a_field_cannot_hold_is_refused() -> None:
    with pytest.raises(BadInput, match=r"lw_reduce_shape.count is -1; the C kernels hold 0\.\.4294967295"):
        record("lw_reduce_shape", outer=1, count=-1, inner=1)


def test_a_window_taller_than_the_kernels_hold_is_refused() -> None:
    q = Quantization.of(0.1)
    weights = constants(np.random.default_rng(0), (1, 33, 1, 1), q, axis=0, bias=10)
    graph = one_op(Conv2D(), [tensor("x", (1, 40, 4, 1), q), *weights], (1, 40, 4, 1), q)
    with pytest.raises(BadInput, match=r"conv2d \(y\): a window of 33 rows; the C kernels hold 32"):
        calls_of(graph.ops[0], graph)


@pytest.mark.parametrize(
    ("attributes", "exponent"), [(Add(), 2), (Sub(), 2), (Mul(), 14), (BatchMatMul(), 30), (Mean((2,)), 30)]
)
def test_an_output_whose_scale_is_too_small_for_its_inputs_is_refused(attributes: Any, exponent: int) -> None:
    one = Quantization.of(1.0)
    names = ["a"] if isinstance(attributes, Mean) else ["a", "b"]
    # Of a sum the inputs are scaled by 2^20 over twice their scale; one element is its own mean.
    unit = 2.0 ** -(19 if isinstance(attributes, Add | Sub) else 0)

    def call(shift: int) -> Any:
        # A multiplier of a power of two is 1/2 of the next.
        out = Quantization.of(unit * 2.0 ** (1 - shift))
        graph = one_op(attributes, [tensor(n, (1, 1, 1), one) for n in names], (1, 1, 1), out)
        return calls_of(graph.ops[0], graph)

    call(exponent)
    said = rf"\(y\): a change of scale by 2\^{exponent + 1}; the C kernels hold 2\^{exponent}\."
    with pytest.raises(BadInput, match=said):
        call(exponent + 1)


def test_a_float_operator_is_refused() -> None:
    graph = one_op(Relu(), [Tensor("x", (1, 2, 2, 1), "float32")], (1, 2, 2, 1), dtype="float32")
    with pytest.raises(BadInput, match="float32; C is written from int8 networks alone"):
        calls_of(graph.ops[0], graph)
