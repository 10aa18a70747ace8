from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto
from qdq_graphs import QdqGraph, gated
from target_contract import Tiny, randomised

from lawder_edge.errors import BadInput
from lawder_edge.targets.onnx import to_proto
from lawder_edge.targets.registry import ExportSpec
from lawder_edge.targets.tensorrt.half import to_half


@pytest.fixture(scope="module")
def proto() -> onnx.ModelProto:
    made: onnx.ModelProto = to_proto(randomised(Tiny()), ExportSpec())
    return made


def test_it_computes_nearly_the_same_between_float32_ends(proto: onnx.ModelProto) -> None:
    before = proto.SerializeToString()
    half = to_half(proto)
    onnx.checker.check_model(half, full_check=True)
    assert proto.SerializeToString() == before
    frame = np.random.default_rng(0).uniform(-1, 1, (1, 3, 96, 64)).astype(np.float32)
    a, b = (
        onnxruntime.InferenceSession(p.SerializeToString()).run(["logits"], {"image": frame})[0] for p in (proto, half)
    )
    assert b.dtype == np.float32
    assert 0 < np.abs(a - b).max() < 0.02 * np.ptp(a)


def test_every_weight_is_half_and_only_scales_of_resizes_stay(proto: onnx.ModelProto) -> None:
    half = to_half(proto)
    scales = {n.input[2] for n in half.graph.node if n.op_type == "Resize" and len(n.input) > 2}
    single = {i.name for i in half.graph.initializer if i.data_type == TensorProto.FLOAT}
    assert single <= scales
    assert {i.data_type for i in half.graph.initializer if len(i.dims) == 4} == {TensorProto.FLOAT16}


def test_what_half_precision_cannot_hold_is_told() -> None:
    g = QdqGraph()
    large = g.model(g.node("Mul", "image", g.constant(1e5, np.float32)), channels=3)
    with pytest.raises(BadInput, match=r"constant_0 holds 1e\+05"):
        to_half(large)
    with pytest.raises(BadInput, match="quantised network"):
        to_half(gated())


def test_the_network_without_constants_is_only_wrapped() -> None:
    g = QdqGraph()
    half = to_half(g.model(g.node("Relu", "image"), channels=3))
    assert [n.op_type for n in half.graph.node] == ["Cast", "Relu", "Cast"]
