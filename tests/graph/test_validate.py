from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from runtimes import one_op

from lawder_edge.errors import BadInput
from lawder_edge.graph.ir import (
    Add,
    Attributes,
    BatchMatMul,
    Concat,
    Conv2D,
    Graph,
    Logistic,
    MaxPool2D,
    Mean,
    Op,
    Quantization,
    ReduceMax,
    Reshape,
    Softmax,
    Tensor,
)
from lawder_edge.graph.reference import run
from lawder_edge.graph.validate import validate

Q, OTHER = Quantization.of(0.1, 3), Quantization.of(0.1, 4)


def int8(name: str, shape: tuple[int, ...], q: Quantization = Q) -> Tensor:
    return Tensor(name, shape, "int8", q)


@pytest.mark.parametrize(
    ("attributes", "shape"),
    [
        (MaxPool2D((2, 2), (2, 2)), (1, 2, 3, 5)),
        (Concat(3), (1, 4, 6, 5)),
        (Reshape(), (1, 24, 5)),
        (ReduceMax((3,)), (1, 4, 6, 1)),
    ],
)
def test_kernels_that_do_not_rescale_want_one_scale(attributes: Attributes, shape: tuple[int, ...]) -> None:
    with pytest.raises(BadInput, match=r"scale 0\.1, zero point 3.*'y' has 0\.1, 4.*one quantiser"):
        one_op(attributes, [int8("x", (1, 4, 6, 5))], shape, OTHER)
    one_op(attributes, [int8("x", (1, 4, 6, 5))], shape, Q)


@pytest.mark.parametrize("attributes", [Logistic(), Softmax()])
def test_logistic_and_softmax_have_a_fixed_scale(attributes: Attributes) -> None:
    with pytest.raises(BadInput, match="fixes them at 1/256 and -128"):
        one_op(attributes, [int8("x", (1, 4))], (1, 4), Quantization.of(1 / 256, -127))


def test_mean_may_rescale() -> None:
    one_op(Mean((1, 2)), [int8("x", (1, 4, 6, 5))], (1, 1, 1, 5), OTHER)


def test_a_wrong_declared_shape_is_told() -> None:
    with pytest.raises(BadInput, match=r"gives \(1, 4, 4\), its output is declared as \(1, 4, 5\)"):
        one_op(BatchMatMul(adj_y=True), [int8("a", (1, 4, 3)), int8("b", (1, 4, 3))], (1, 4, 5), Q)
    with pytest.raises(BadInput, match="shapes do not fit"):
        one_op(BatchMatMul(), [int8("a", (1, 4, 3)), int8("b", (1, 4, 3))], (1, 4, 4), Q)


def test_an_activation_without_a_scale_inside_an_integer_graph_is_told() -> None:
    with pytest.raises(BadInput, match="takes int8, float32 and gives int8"):
        one_op(Add(), [int8("a", (1, 4)), Tensor("b", (1, 4), "float32")], (1, 4), Q)


def test_weights_with_a_zero_point_are_refused() -> None:
    weights = Tensor("w", (2, 1, 1, 3), "int8", Quantization((0.1, 0.1), (0, 1), 0), np.ones((2, 1, 1, 3), np.int8))
    bias = Tensor("b", (2,), "int32", Quantization.per_channel([0.01, 0.01], axis=0), np.zeros(2, np.int32))
    with pytest.raises(BadInput, match="weights symmetric"):
        one_op(Conv2D(), [int8("x", (1, 4, 4, 3)), weights, bias], (1, 4, 4, 2), Q)


def test_a_weight_of_minus_128_is_refused() -> None:
    q = Quantization.per_channel([0.1, 0.1], axis=0)
    bias = Tensor("b", (2,), "int32", Quantization.per_channel([0.01, 0.01], axis=0), np.zeros(2, np.int32))

    def convolve(lowest: int) -> None:
        data = np.full((2, 1, 1, 3), 1, np.int8)
        data[1, 0, 0, 2] = lowest
        one_op(Conv2D(), [int8("x", (1, 4, 4, 3)), Tensor("w", data.shape, "int8", q, data), bias], (1, 4, 4, 2), Q)

    convolve(-127)
    with pytest.raises(BadInput, match=r"conv2d \(y\): weights hold -128; .* lie in -127\.\.127.*quant_min of -127"):
        convolve(-128)


@pytest.fixture
def graph() -> Graph:
    tensors = tuple(int8(name, (1, 4)) for name in "xyz")
    ops = (Op(Add(), ("x", "x"), ("y",)), Op(Add(), ("x", "y"), ("z",), "block.1"))
    return Graph("g", tensors, ops, ("x",), ("z",))


def test_operators_out_of_order_are_told(graph: Graph) -> None:
    validate(graph)
    with pytest.raises(BadInput, match=r"add of block\.1 \(z\): input 'y' is not computed before it"):
        validate(replace(graph, ops=graph.ops[::-1]))


def test_names_that_are_missing_or_twice_are_told(graph: Graph) -> None:
    with pytest.raises(BadInput, match="there is no tensor 'y'"):
        validate(replace(graph, tensors=(graph.tensors[0], graph.tensors[2])))
    with pytest.raises(BadInput, match="tensor 'x' exists twice"):
        validate(replace(graph, tensors=(*graph.tensors, graph.tensors[0])))
    with pytest.raises(BadInput, match="'z' is an input or output that nothing computes"):
        validate(replace(graph, ops=graph.ops[:1]))


def test_constants_of_another_type_or_scale_count_are_told(graph: Graph) -> None:
    wrong = replace(graph.tensors[0], data=np.zeros((1, 4), np.float32))
    with pytest.raises(BadInput, match="holds float32"):
        validate(replace(graph, tensors=(wrong, *graph.tensors[1:])))
    wrong = replace(graph.tensors[0], quantization=Quantization((0.1, 0.2), (0, 0), 0))
    with pytest.raises(BadInput, match="wanted 1, positive and finite"):
        validate(replace(graph, tensors=(wrong, *graph.tensors[1:])))


def test_inputs_of_another_shape_are_refused_by_the_reference(graph: Graph) -> None:
    with pytest.raises(BadInput, match=r"wants int8 of \(1, 4\) for 'x', got float32"):
        run(graph, [np.zeros((1, 4), np.float32)])


@pytest.mark.parametrize("count", [0, 2])
def test_another_number_of_inputs_is_refused_by_the_reference(graph: Graph, count: int) -> None:
    with pytest.raises(BadInput, match=rf"graph g wants 1 inputs \('x'\), got {count}"):
        run(graph, [np.zeros((1, 4), np.int8)] * count)
