"""Run a graph in numpy: the golden semantics that every writer is held against."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from lawder_edge.errors import BadInput
from lawder_edge.graph.edge_kernels import run_edge
from lawder_edge.graph.float_kernels import run_float
from lawder_edge.graph.integer_kernels import QMAX, QMIN, run_int8
from lawder_edge.graph.ir import Array, Graph, Tensor
from lawder_edge.graph.validate import CONVERSIONS


def run(graph: Graph, inputs: Sequence[Array]) -> tuple[Array, ...]:
    """inputs: arrays of the shapes and types of the graph's inputs. Returns: those of its outputs.

    Raises BadInput for inputs of another number, shape or type.
    """
    found = {tensor.name: value for tensor, value in trace(graph, inputs) if tensor.name in graph.outputs}
    return tuple(found[name] for name in graph.outputs)


def trace(graph: Graph, inputs: Sequence[Array]) -> Iterator[tuple[Tensor, Array]]:
    """As `run`, giving every tensor that is not a constant with its value: the inputs, then in the order of operators.

    A value is let go after its last use.
    """
    if len(inputs) != len(graph.inputs):
        wanted = ", ".join(map(repr, graph.inputs))
        raise BadInput(f"graph {graph.name} wants {len(graph.inputs)} inputs ({wanted}), got {len(inputs)}.")
    values = {t.name: t.data for t in graph.tensors if t.data is not None}
    for tensor, value in zip(graph.of(graph.inputs), inputs, strict=True):
        if value.shape != tensor.shape or str(value.dtype) != tensor.dtype:
            raise BadInput(
                f"graph {graph.name} wants {tensor.dtype} of {tensor.shape} for {tensor.name!r}, got {value.dtype} of "
                f"{value.shape}."
            )
        values[tensor.name] = value
        yield tensor, value
    last_use = {name: i for i, op in enumerate(graph.ops) for name in op.inputs}
    for i, op in enumerate(graph.ops):
        tensors, output = graph.of(op.inputs), graph.tensor(op.outputs[0])
        arrays = [values[name] for name in op.inputs]
        if op.kind in CONVERSIONS:
            value = run_edge(op, arrays, tensors, output)
        elif output.dtype == "float32":
            value = run_float(op, arrays, output)
        else:
            value = run_int8(op, arrays, tensors, output)
        values[output.name] = value
        yield output, value
        for name in {*op.inputs, output.name}:
            if last_use.get(name, i) <= i:
                del values[name]


def quantize(x: npt.NDArray[np.float32], tensor: Tensor) -> npt.NDArray[np.int8]:
    """Real numbers to the int8 of a tensor, to the nearest, halves to even, saturated."""
    steps = np.rint(x / np.float32(tensor.scale)) + tensor.zero_point
    return np.asarray(np.clip(steps, QMIN, QMAX), np.int8)


def dequantize(q: npt.NDArray[np.int8], tensor: Tensor) -> npt.NDArray[np.float32]:
    """The int8 of a tensor to real numbers."""
    return np.asarray(np.float32(tensor.scale) * (q.astype(np.float32) - np.float32(tensor.zero_point)), np.float32)
