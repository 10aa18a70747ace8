"""The integer arithmetic in numpy as a Runner: bit for bit what TFLite's reference kernels and TFLM compute."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import numpy as np

from lawder_edge.bundle.processing import Float
from lawder_edge.bundle.runner import Runner
from lawder_edge.exporting.shared import ALONE, Shared
from lawder_edge.graph.ir import Graph
from lawder_edge.graph.reference import dequantize, quantize, run
from lawder_edge.targets.registry import ExportSpec

if TYPE_CHECKING:
    from lawder_edge.quantization.network import QuantizedNetwork


class IntegerReference(Runner):
    """network: quantised. size: (H, W) in pixels, of the graph."""

    def __init__(
        self,
        network: QuantizedNetwork,
        *,
        size: tuple[int, int],
        channels: int,
        classes: int,
        threshold: float,
        shared: Shared = ALONE,
    ) -> None:
        super().__init__(size=size, channels=channels, classes=classes, threshold=threshold)
        spec = ExportSpec(size=size, precision="int8", channels=channels, classes=classes)
        self.graph = cast(Graph, shared.form("graph", lambda: network.program(size), spec))

    def infer(self, tensor: Float) -> Float:
        """tensor: (1, C, H, W) float32 in [-1, 1). Returns: (1, K, H, W) float32 logits on the output's grid."""
        given, got = self.graph.tensor(self.graph.inputs[0]), self.graph.tensor(self.graph.outputs[0])
        (logits,) = run(self.graph, [quantize(np.ascontiguousarray(tensor.transpose(0, 2, 3, 1)), given)])
        return np.ascontiguousarray(dequantize(logits, got).transpose(0, 3, 1, 2))
