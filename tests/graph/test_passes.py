from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from lawder_edge.graph.ir import (
    Array,
    Attributes,
    BatchMatMul,
    Conv2D,
    Graph,
    Mul,
    Op,
    Origin,
    Quantization,
    Relu,
    Relu6,
    Reshape,
    Tensor,
)
from lawder_edge.graph.passes import fold_factors, fuse_activations, remove_dead, remove_reshapes, rescale_by_product
from lawder_edge.graph.reference import dequantize, quantize, run
from lawder_edge.graph.validate import validate

RNG_SEED = 3


def floats(name: str, *shape: int) -> Tensor:
    return Tensor(name, shape, "float32")


def constant(name: str, data: Array, q: Quantization | None = None) -> Tensor:
    return Tensor(name, data.shape, "float32" if data.dtype == np.float32 else str(data.dtype), q, data)  # type: ignore[arg-type]


def chain(tensors: Sequence[Tensor], *ops: tuple[Attributes, str, str], outputs: tuple[str, ...]) -> Graph:
    """ops: attributes, names of inputs with spaces between, name of the output."""
    made = tuple(Op(a, tuple(i.split()), (o,)) for a, i, o in ops)
    inputs = tuple(t.name for t in tensors if t.data is None and not any(t.name in op.outputs for op in made))
    return Graph("g", tuple(tensors), made, inputs, outputs)


def conv_parts(channels: int = 4) -> list[Tensor]:
    rng = np.random.default_rng(RNG_SEED)
    return [
        constant("w", rng.normal(size=(channels, 1, 1, 3)).astype(np.float32)),
        constant("b", rng.normal(size=channels).astype(np.float32)),
    ]


def kinds(graph: Graph) -> list[str]:
    return [op.kind for op in graph.ops]


def check_equal(before: Graph, after: Graph) -> None:
    validate(after)
    rng = np.random.default_rng(0)
    inputs = [rng.normal(size=t.shape).astype(np.float32) for t in before.of(before.inputs)]
    for a, b in zip(run(before, inputs), run(after, inputs), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


@pytest.mark.parametrize("activation", [Relu(), Relu6()])
def test_an_activation_joins_the_convolution_that_alone_feeds_it(activation: Attributes) -> None:
    tensors = [floats("x", 1, 5, 5, 3), *conv_parts(), floats("y", 1, 5, 5, 4), floats("z", 1, 5, 5, 4)]
    graph = chain(tensors, (Conv2D(), "x w b", "y"), (activation, "y", "z"), outputs=("z",))
    after = fuse_activations(graph)
    assert kinds(after) == ["conv2d"]
    check_equal(graph, after)
    both = chain(tensors, (Conv2D(), "x w b", "y"), (activation, "y", "z"), outputs=("z", "y"))
    assert kinds(fuse_activations(both)) == kinds(both)


def test_an_activation_stays_where_the_tensor_before_it_has_a_scale_of_its_own() -> None:
    wide, narrow = Quantization.of(0.1, 0), Quantization.of(0.02, -128)
    weights = constant("w", np.ones((1, 1, 1, 1), np.int8), Quantization.per_channel([1.0], axis=0))
    bias = constant("b", np.zeros(1, np.int32), Quantization.per_channel([0.1], axis=0))
    tensors = [Tensor(n, (1, 1, 1, 1), "int8", q) for n, q in (("x", wide), ("y", wide), ("z", narrow))]
    graph = chain([*tensors, weights, bias], (Conv2D(), "x w b", "y"), (Relu(), "y", "z"), outputs=("z",))
    assert kinds(fuse_activations(graph)) == ["conv2d", "relu"]


@pytest.mark.parametrize("factor", [0.25, -3.0])
def test_a_factor_after_a_convolution_goes_into_its_weights(factor: float) -> None:
    number = constant("c", np.full((1, 1, 1, 1), factor, np.float32))
    tensors = [floats("x", 1, 5, 5, 3), *conv_parts(), floats("y", 1, 5, 5, 4), floats("z", 1, 5, 5, 4), number]
    graph = chain(tensors, (Conv2D(), "x w b", "y"), (Mul("relu"), "y c", "z"), outputs=("z",))
    after = fold_factors(graph)
    assert kinds(after) == ["conv2d"]
    check_equal(graph, after)


def product_of_a_convolution(factor: float) -> Graph:
    number = constant("c", np.full((1, 1, 1), factor, np.float32))
    tensors = [
        floats("m", 1, 6, 4), floats("x", 1, 2, 2, 3), *conv_parts(), floats("v", 1, 2, 2, 4), floats("t", 1, 4, 4),
        floats("y", 1, 6, 4), floats("z", 1, 6, 4), number,
    ]  # fmt: skip
    return chain(
        tensors, (Conv2D(), "x w b", "v"), (Reshape(), "v", "t"), (BatchMatMul(), "m t", "y"), (Mul(), "y c", "z"),
        outputs=("z",),
    )  # fmt: skip


@pytest.mark.parametrize("factor", [1 / 64, -3.0])
def test_a_factor_after_a_product_goes_into_the_convolution_of_an_operand(factor: float) -> None:
    graph = product_of_a_convolution(factor)
    after = fold_factors(graph)
    assert kinds(after) == ["conv2d", "reshape", "batch_matmul"]
    check_equal(graph, after)


def test_a_factor_stays_where_the_convolution_is_used_twice() -> None:
    graph = product_of_a_convolution(1 / 64)
    shared = Graph(graph.name, graph.tensors, graph.ops, graph.inputs, ("z", "v"))
    assert kinds(fold_factors(shared)) == kinds(shared)


@pytest.mark.parametrize("factor", [1 / 64, -1 / 64])
def test_in_integers_a_factor_that_stays_becomes_one_step_and_is_exact(factor: float) -> None:
    m, v, z = Quantization.of(1 / 256, -128), Quantization.of(0.05, 3), Quantization.of(0.004, -11)
    tensors = [
        Tensor("m", (1, 6, 4), "int8", m), Tensor("v", (1, 4, 5), "int8", v), floats("y", 1, 6, 5),
        Tensor("z", (1, 6, 5), "int8", z), constant("c", np.full((1, 1, 1), factor, np.float32)),
    ]  # fmt: skip
    graph = chain(tensors, (BatchMatMul(), "m v", "y"), (Mul(), "y c", "z"), outputs=("z",))
    after = fold_factors(graph)
    validate(after)
    rng = np.random.default_rng(0)
    a, b = rng.uniform(0, 1, (1, 6, 4)), rng.uniform(-6, 6, (1, 4, 5))
    inputs = [quantize(x.astype(np.float32), t) for x, t in ((a, tensors[0]), (b, tensors[1]))]
    real = factor * dequantize(inputs[0], tensors[0]) @ dequantize(inputs[1], tensors[1])
    found = dequantize(run(after, inputs)[0], tensors[3])
    assert np.abs(found - real).max() <= 1.01 * z.scale[0] / 2
    assert np.abs(real).max() > 10 * z.scale[0]


def test_a_factor_of_an_integer_product_goes_into_scales_and_leaves_the_integers() -> None:
    m, x, v, z = (Quantization.of(*p) for p in ((1 / 256, -128), (0.03, 4), (0.05, 3), (0.004, -11)))
    weights = constant("w", np.ones((4, 1, 1, 3), np.int8), Quantization.per_channel([0.5] * 4, axis=0))
    bias = constant("b", np.arange(4, dtype=np.int32), Quantization.per_channel([0.015] * 4, axis=0))
    tensors = [
        Tensor("m", (1, 6, 4), "int8", m), Tensor("x", (1, 2, 2, 3), "int8", x), weights, bias,
        Tensor("v", (1, 2, 2, 4), "int8", v), Tensor("t", (1, 4, 4), "int8", v), floats("y", 1, 6, 4),
        Tensor("z", (1, 6, 4), "int8", z), constant("c", np.full((1, 1, 1), 1 / 4, np.float32)),
    ]  # fmt: skip
    graph = chain(
        tensors, (Conv2D(), "x w b", "v"), (Reshape(), "v", "t"), (BatchMatMul(), "m t", "y"), (Mul(), "y c", "z"),
        outputs=("z",),
    )  # fmt: skip
    after = fold_factors(graph)
    validate(after)
    assert kinds(after) == ["conv2d", "reshape", "batch_matmul"]
    assert [after.tensor(n).scale for n in ("v", "t")] == [np.float32(0.05 / 4)] * 2
    conv = after.ops[0]
    np.testing.assert_array_equal(after.tensor(conv.inputs[1]).data, weights.data)
    np.testing.assert_array_equal(after.tensor(conv.inputs[2]).data, bias.data)
    assert after.tensor(conv.inputs[1]).quantization == Quantization.per_channel([0.125] * 4, axis=0)


def test_reshapes_of_reshapes_and_to_the_same_shape_go() -> None:
    tensors = [floats("x", 1, 4, 6), floats("a", 1, 24), floats("b", 1, 4, 6), floats("y", 1, 4, 6), floats("z", 24)]
    graph = chain(
        tensors, (Reshape(), "x", "a"), (Reshape(), "a", "b"), (Relu(), "b", "y"), (Reshape(), "y", "z"), outputs=("z",)
    )
    after = remove_reshapes(graph)
    assert kinds(after) == ["relu", "reshape"]
    check_equal(graph, after)


def test_a_reshape_that_goes_leaves_its_origin_to_the_tensor_that_stays() -> None:
    q = Quantization.of(0.1)
    tensors = [
        Tensor("x", (1, 2, 2, 3), "int8", q),
        Tensor("y", (1, 2, 2, 3), "int8", q, origin=Origin("quantize_1", (0, 2, 3, 1))),
        Tensor("z", (1, 12), "int8", q),
    ]
    after = remove_reshapes(chain(tensors, (Reshape(), "x", "y"), (Reshape(), "y", "z"), outputs=("z",)))
    assert kinds(after) == ["reshape"]
    assert after.tensor("x").origin == Origin("quantize_1", (0, 2, 3, 1))


def test_what_no_output_needs_goes_and_inputs_stay() -> None:
    tensors = [floats("x", 1, 4), floats("unused", 1, 4), floats("y", 1, 4), floats("dead", 1, 4)]
    after = remove_dead(chain(tensors, (Relu(), "x", "y"), (Relu6(), "x", "dead"), outputs=("y",)))
    assert kinds(after) == ["relu"]
    assert {t.name for t in after.tensors} == {"x", "unused", "y"}


def test_a_relu6_that_changes_the_scale_becomes_a_product_with_one() -> None:
    x, y = (
        Tensor("x", (1, 256), "int8", Quantization.of(0.05, -20)),
        Tensor("y", (1, 256), "int8", Quantization.of(0.03, -128)),
    )
    after = rescale_by_product(chain([x, y], (Relu6(), "x", "y"), outputs=("y",)))
    validate(after)
    assert kinds(after) == ["mul"]
    q = np.arange(-128, 128, dtype=np.int8)[None]
    real = np.clip(dequantize(q, x), 0, 6)
    assert np.abs(dequantize(run(after, [q])[0], y) - real).max() <= 0.03 / 2 + 1e-6
