"""The graph that a bundle was written from, watched: for the targets that are written from one."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from lawder_edge.bundle.processing import Float, Samples
from lawder_edge.bundle.runner import ManifestRunner
from lawder_edge.bundle.store import Bundle
from lawder_edge.graph.ir import Array, Graph, Tensor
from lawder_edge.graph.reference import dequantize, trace
from lawder_edge.targets.nhwc import to_graph, with_edges
from lawder_edge.targets.registry import ExportSpec
from lawder_edge.targets.watch import Int8, Watched, Watcher, equal_or

if TYPE_CHECKING:
    from torch.export import ExportedProgram


def graph_of(bundle: Bundle, program: Callable[[], ExportedProgram]) -> Graph:
    """program: gives the one that the bundle was exported from, at its size."""
    manifest = bundle.manifest
    spec = ExportSpec(
        name=manifest.name,
        size=(manifest.input.height, manifest.input.width),
        precision="int8",
        channels=manifest.input.channels,
        classes=manifest.output.classes,
        multiple_of=manifest.input.multiple_of,
        output=manifest.output.kind,
        threshold=manifest.threshold,
    )
    return with_edges(to_graph(program(), spec), spec, manifest.input.dtype)


def as_in_program(tensor: Tensor, value: Array) -> tuple[str, Int8]:
    """Its name in the program, and its integers with the axes in the program's order."""
    if tensor.origin is None:
        raise ValueError(f"tensor {tensor.name} has no origin")
    return tensor.origin.node, value.transpose(np.argsort(tensor.origin.layout))


class ReferenceWatcher(ManifestRunner, Watcher):
    """The graph that a bundle was written from, in numpy's integers."""

    name = "integer reference"

    def __init__(self, bundle: Bundle, graph: Graph) -> None:
        super().__init__(bundle.manifest)
        self._graph = graph

    def read(self, x: Float) -> Watched:
        given = np.ascontiguousarray(self._checked(x).transpose(0, 2, 3, 1))
        tensors: dict[str, Int8] = {}
        output: Array = given
        for tensor, value in trace(self._graph, [given]):
            if tensor.origin is not None:
                name, array = as_in_program(tensor, value)
                tensors[name] = array
            if tensor.name in self._graph.outputs:
                output = dequantize(value, tensor) if tensor.dtype == "int8" else value
        return Watched(tensors, np.ascontiguousarray(output.transpose(0, 3, 1, 2)))

    def infer(self, tensor: Float) -> Samples:
        return self.read(tensor).output

    def remark(self, largest: float) -> str:
        return f"integer reference: the output of the bundle as it is run is {equal_or(largest)} the reference's"
