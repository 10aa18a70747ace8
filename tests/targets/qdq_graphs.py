"""Small quantised ONNX graphs made by hand."""

from __future__ import annotations

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper


class QdqGraph:
    """Collects nodes; each method gives the name of its result."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def constant(self, value: object, dtype: object) -> str:
        name = f"constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value, dtype), name))  # type: ignore[arg-type]
        return name

    def node(self, kind: str, *inputs: str, **attributes: object) -> str:
        name = f"{kind}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [f"{name}_out"], name=name, **attributes))
        return f"{name}_out"

    def pair(self, name: str, scale: float, zero_point: int, *, dtype: object = np.int8) -> str:
        rule = (self.constant(scale, np.float32), self.constant(zero_point, dtype))
        return self.node("DequantizeLinear", self.node("QuantizeLinear", name, *rule), *rule)

    def convolution(self, name: str, weight: NDArray[np.int8]) -> str:
        """1x1, each output channel with a scale of its own."""
        channels = len(weight)
        scales = self.constant(np.linspace(0.01, 0.02, channels), np.float32)
        restored = self.node(
            "DequantizeLinear", self.constant(weight, np.int8), scales, self.constant([0] * channels, np.int8), axis=0
        )
        return self.node("Conv", name, restored, self.constant([0.1] * channels, np.float32))

    def model(self, output: str, *, channels: int) -> onnx.ModelProto:
        image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, 8, 8])
        for node in self.nodes:
            for i, name in enumerate(node.output):
                node.output[i] = "logits" if name == output else name
            for i, name in enumerate(node.input):
                node.input[i] = "logits" if name == output else name
        logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, channels, 8, 8])
        graph = helper.make_graph(self.nodes, "net", [image], [logits], self.constants)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def gated(*, output_is_sigmoid: bool = False) -> onnx.ModelProto:
    """Convolution and ReLU at zero point -128, sigmoid moved and multiplied in, a last convolution at zero point 10."""
    rng = np.random.default_rng(0)
    g = QdqGraph()
    x = g.pair("image", 1 / 128, 0)
    features = g.pair(g.node("Relu", g.convolution(x, rng.integers(-63, 64, (4, 3, 1, 1), np.int8))), 0.01, -128)
    gate = g.pair(g.node("Sigmoid", features), 1 / 256, -128)
    if output_is_sigmoid:
        return g.model(gate, channels=4)
    gate = g.pair(g.node("MaxPool", gate, kernel_shape=[1, 1]), 1 / 256, -128)
    product = g.pair(g.node("Mul", features, gate), 0.008, -128)
    last = g.convolution(product, rng.integers(-63, 64, (2, 4, 1, 1), np.int8))
    return g.model(g.pair(last, 0.02, 10), channels=2)


def summed() -> onnx.ModelProto:
    """Two convolutions, one with a ReLU, each rounded, and their sum, rounded."""
    rng = np.random.default_rng(0)
    g = QdqGraph()
    x = g.pair("image", 1 / 128, 0)
    parts = [g.convolution(x, rng.integers(-63, 64, (8, 3, 1, 1), np.int8)) for _ in range(2)]
    a = g.pair(g.node("Relu", parts[0]), 0.01, -128)
    b = g.pair(parts[1], 0.02, 5)
    return g.model(g.pair(g.node("Add", a, b), 0.025, -20), channels=8)
