from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper
from qdq_graphs import QdqGraph, gated, summed

from lawder_edge.errors import BadInput
from lawder_edge.targets.openvino import core, cpu_config
from lawder_edge.targets.qdq import (
    check_quantized,
    is_quantized,
    to_symmetric,
    to_uint8,
    with_plain_rounding_before_sums,
)

FRAME = np.random.default_rng(1).uniform(-1, 1, (1, 3, 8, 8)).astype(np.float32)


def run(proto: onnx.ModelProto) -> NDArray[np.float32]:
    options = onnxruntime.SessionOptions()
    # Optimised, onnxruntime computes on int8 itself and rounds elsewhere.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    onnx.checker.check_model(proto, full_check=True)
    session = onnxruntime.InferenceSession(proto.SerializeToString(), options)
    found: NDArray[np.float32] = session.run(["logits"], {"image": FRAME})[0]
    return found


def rules(proto: onnx.ModelProto) -> list[tuple[float, int, str]]:
    """Scale, zero point and type of every QuantizeLinear, in order."""
    values = {i.name: numpy_helper.to_array(i) for i in proto.graph.initializer}
    found = []
    for node in proto.graph.node:
        if node.op_type == "QuantizeLinear":
            scale, zero = values[node.input[1]], values[node.input[2]]
            found.append((float(scale), int(zero), zero.dtype.name))
    return found


def zero_points(proto: onnx.ModelProto) -> set[int]:
    values = {i.name: numpy_helper.to_array(i) for i in proto.graph.initializer}
    kinds = ("QuantizeLinear", "DequantizeLinear")
    return {int(z) for n in proto.graph.node if n.op_type in kinds for z in np.ravel(values[n.input[2]])}


def test_a_graph_is_quantised_where_any_tensor_is() -> None:
    g = QdqGraph()
    float_only = g.model(g.convolution("image", np.ones((2, 3, 1, 1), np.int8)), channels=2)
    assert is_quantized(gated())
    assert not is_quantized(float_only)
    check_quantized(gated())
    with pytest.raises(BadInput, match="not quantised"):
        check_quantized(float_only)


def test_uint8_gives_the_same_numbers_to_the_last_bit() -> None:
    before = gated()
    np.testing.assert_array_equal(run(to_uint8(before)), run(before))
    assert rules(to_uint8(before)) == [(s, z + 128, "uint8") for s, z, _ in rules(before)]


def test_uint8_leaves_weights_int8() -> None:
    kinds = {i.data_type for i in to_uint8(gated()).graph.initializer if len(i.dims) == 4}
    assert kinds == {onnx.TensorProto.INT8}


@pytest.mark.parametrize("change", [to_uint8, to_symmetric])
def test_the_graph_that_is_given_stays_as_it_was(change: object) -> None:
    proto = gated()
    before = proto.SerializeToString()
    change(proto)  # type: ignore[operator]
    assert proto.SerializeToString() == before


@pytest.mark.parametrize("change", [to_uint8, to_symmetric])
def test_doing_it_twice_changes_nothing_more(change: object) -> None:
    once = change(gated())  # type: ignore[operator]
    if change is to_uint8:
        assert change(once) == once  # type: ignore[operator]
    else:
        assert run(change(once)).tolist() == run(once).tolist()  # type: ignore[operator]


def test_symmetric_has_no_other_zero_point_than_0_and_close_numbers() -> None:
    before = gated()
    after = to_symmetric(before)
    assert zero_points(before) == {0, -128, 10}
    assert zero_points(after) == {0}
    a, b = run(before), run(after)
    assert 0 < np.abs(a - b).max() < 0.05 * np.ptp(a)


def test_a_symmetric_scale_holds_the_range_and_no_more() -> None:
    # (range of int8 less zero point) x scale, over 127: 255 x 0.01 after ReLU, 138 x 0.02 at the end.
    found = rules(to_symmetric(gated()))
    assert [zero for _, zero, _ in found] == [0] * len(found)
    np.testing.assert_allclose([s for s, _, _ in found], [1 / 128, 2.55 / 127, 2.04 / 127, 2.76 / 127], rtol=1e-6)


def test_a_sigmoid_loses_its_pair_also_where_it_is_only_moved() -> None:
    after = to_symmetric(gated())
    makers = {name: node for node in after.graph.node for name in node.output}
    product = next(node for node in after.graph.node if node.op_type == "Mul")
    pool = makers[product.input[1]]
    assert (pool.op_type, makers[pool.input[0]].op_type) == ("MaxPool", "Sigmoid")
    assert makers[product.input[0]].op_type == "DequantizeLinear"


def test_the_graphs_own_output_keeps_its_name_where_its_pair_goes() -> None:
    after = to_symmetric(gated(output_is_sigmoid=True))
    assert [v.name for v in after.graph.output] == ["logits"]
    assert run(after).shape == (1, 4, 8, 8)
    assert after.graph.node[-1].op_type == "Sigmoid"


def test_one_quantised_tensor_with_several_readers_keeps_one_scale() -> None:
    g = QdqGraph()
    scale, zero = g.constant(0.02, np.float32), g.constant(-100, np.int8)
    quantized = g.node("QuantizeLinear", "image", scale, zero)
    a, b = (g.node("DequantizeLinear", quantized, scale, zero) for _ in range(2))
    after = to_symmetric(g.model(g.node("Add", a, b), channels=3))
    names = {tuple(n.input[1:]) for n in after.graph.node if n.op_type.endswith("Linear")}
    assert len(names) == 1
    assert zero_points(after) == {0}


@pytest.mark.parametrize("change", [to_uint8, to_symmetric])
def test_a_quantised_constant_is_rounded_where_it_stands(change: object) -> None:
    g = QdqGraph()
    bias = g.pair(g.constant([0.013, -0.5, 9.0], np.float32), 0.01, -100)
    shaped = g.node("Reshape", bias, g.constant([1, 3, 1, 1], np.int64))
    before = g.model(g.node("Add", "image", shaped), channels=3)
    after = change(before)  # type: ignore[operator]
    assert not is_quantized(after)
    np.testing.assert_array_equal(run(after), run(before))
    np.testing.assert_allclose((run(after) - FRAME)[0, :, 0, 0], [0.01, -0.28, 2.27], atol=1e-6)


def test_constants_that_nobody_reads_any_more_are_gone() -> None:
    for proto in (to_uint8(gated()), to_symmetric(gated())):
        used = {name for node in proto.graph.node for name in node.input}
        assert {i.name for i in proto.graph.initializer} <= used


def test_a_quantised_tensor_that_is_not_restored_is_told() -> None:
    g = QdqGraph()
    quantized = g.node("QuantizeLinear", "image", g.constant(0.02, np.float32), g.constant(0, np.int8))
    proto = g.model(g.node("Cast", quantized, to=onnx.TensorProto.FLOAT), channels=3)
    with pytest.raises(BadInput, match="QuantizeLinear_0 is read by Cast"):
        to_uint8(proto)


def test_a_scale_that_the_graph_computes_is_told() -> None:
    g = QdqGraph()
    scale, zero = g.node("ReduceMax", "image", keepdims=0), g.constant(0, np.int8)
    quantized = g.node("QuantizeLinear", "image", scale, zero)
    with pytest.raises(BadInput, match="no constant scale"):
        to_symmetric(g.model(g.node("DequantizeLinear", quantized, scale, zero), channels=3))


def test_unsigned_activations_are_refused_for_tensorrt() -> None:
    with pytest.raises(BadInput, match="gives uint8; TensorRT takes int8"):
        to_symmetric(to_uint8(gated()))


def test_plain_rounding_before_a_sum_gives_the_same_numbers() -> None:
    before = to_uint8(summed())
    after = with_plain_rounding_before_sums(before)
    np.testing.assert_array_equal(run(after), run(before))
    kinds = [[node.op_type for node in proto.graph.node] for proto in (before, after)]
    assert (kinds[0].count("Round"), kinds[1].count("Round")) == (0, 2)
    assert kinds[0].count("QuantizeLinear") - kinds[1].count("QuantizeLinear") == 2


def test_openvino_rounds_before_a_sum_as_others_do() -> None:
    proto = with_plain_rounding_before_sums(to_uint8(summed()))
    compiled = core().compile_model(core().read_model(proto.SerializeToString()), "CPU", cpu_config(1))
    np.testing.assert_allclose(compiled([FRAME])[0], run(proto), rtol=0, atol=1e-5)
    kinds = {
        str(op.get_rt_info()["runtimePrecision"].astype(str))
        for op in compiled.get_runtime_model().get_ordered_ops()
        if str(op.get_rt_info()["layerType"].astype(str)) == "Convolution"
    }
    assert kinds == {"u8"}
