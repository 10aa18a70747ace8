"""From a graph of frames and logits to one that takes and gives what a device has and wants."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from lawder_edge.errors import BadInput
from lawder_edge.graph.ir import (
    ArgMax,
    Attributes,
    Cast,
    Dequantize,
    DType,
    Graph,
    GreaterEqual,
    Logistic,
    Op,
    Quantization,
    Quantize,
    Reshape,
    Softmax,
    Tensor,
)
from lawder_edge.graph.validate import SQUASHED, validate

# (rgb - 128) / 128 of the samples as they are, and of those XOR 0x80.
_SAMPLES = {"uint8": Quantization.of(1 / 128, 128), "int8": Quantization.of(1 / 128, 0)}


def with_input(graph: Graph, dtype: DType) -> Graph:
    """The graph, whose one input is float32 or int8 at 1/128, with an input of `dtype` under the same name.

    dtype: float32; uint8 for samples of a frame as they are; int8 for those XOR 0x80. One quantize or dequantize
    operator is put before all others where the type changes.
    """
    old = graph.tensor(graph.inputs[0])
    if old.dtype == dtype:
        return graph
    inside = replace(old, name=f"{old.name}_{old.dtype}")
    given = Tensor(old.name, old.shape, dtype, _SAMPLES.get(dtype))
    moved = [replace(op, inputs=tuple(inside.name if n == old.name else n for n in op.inputs)) for op in graph.ops]
    step = Op(Dequantize() if old.dtype == "float32" else Quantize(), (given.name,), (inside.name,))
    tensors = (given, inside, *(t for t in graph.tensors if t.name != old.name))
    return _checked(replace(graph, tensors=tensors, ops=(step, *moved)))


def with_probabilities(graph: Graph) -> Graph:
    """The graph with the sigmoid of its logits (1, h, w, 1), or the softmax of (1, h, w, K), as `probabilities`.

    In int8 these are at 1/256, -128.
    """
    logits = graph.tensor(graph.outputs[0])
    scale = SQUASHED if logits.dtype == "int8" else None
    attributes = Logistic() if logits.shape[-1] == 1 else Softmax()
    return _followed(graph, [(attributes, (), Tensor("probabilities", logits.shape, logits.dtype, scale))])


def with_mask(graph: Graph, threshold: float) -> Graph:
    """The graph with class numbers (1, h, w, 1) uint8 as `mask`: by the threshold, or of K classes the most probable.

    Raises BadInput for an int8 graph.
    """
    logits = graph.tensor(graph.outputs[0])
    if logits.dtype != "float32":
        raise BadInput("masks are made of float32 logits here. Export the mask at --precision fp32.")
    shape = (*logits.shape[:-1], 1)
    mask = Tensor("mask", shape, "uint8")
    if logits.shape[-1] == 1:
        cut = np.array([math.log(threshold / (1 - threshold))], np.float32)
        limit = Tensor("mask_cut", cut.shape, "float32", data=cut)
        found = Tensor("mask_bool", shape, "bool")
        return _followed(graph, [(GreaterEqual(), (limit,), found), (Cast(), (), mask)])
    # With an axis more in front of the classes, what is left when they go is a channel again.
    apart = Tensor("mask_classes", (*shape, logits.shape[-1]), "float32")
    found = Tensor("mask_int32", shape, "int32")
    return _followed(graph, [(Reshape(), (), apart), (ArgMax(), (), found), (Cast(), (), mask)])


def with_float_output(graph: Graph) -> Graph:
    """The graph with its int8 output as the real numbers that it stands for, under the same name."""
    old = graph.tensor(graph.outputs[0])
    if old.dtype != "int8":
        return graph
    inside = replace(old, name=f"{old.name}_int8")
    ops = tuple(
        replace(
            op,
            inputs=tuple(inside.name if n == old.name else n for n in op.inputs),
            outputs=tuple(inside.name if n == old.name else n for n in op.outputs),
        )
        for op in graph.ops
    )
    tensors = tuple(inside if t.name == old.name else t for t in graph.tensors)
    renamed = replace(graph, tensors=tensors, ops=ops, outputs=(inside.name,))
    return _followed(renamed, [(Dequantize(), (), Tensor(old.name, old.shape, "float32"))])


def _followed(graph: Graph, steps: Sequence[tuple[Attributes, tuple[Tensor, ...], Tensor]]) -> Graph:
    """The graph with operators after its output: each of what came before it, and its constants, to its tensor."""
    name, ops, tensors = graph.outputs[0], list(graph.ops), list(graph.tensors)
    for attributes, constants, output in steps:
        ops.append(Op(attributes, (name, *(c.name for c in constants)), (output.name,)))
        tensors += [*constants, output]
        name = output.name
    return _checked(replace(graph, tensors=tuple(tensors), ops=tuple(ops), outputs=(name,)))


def _checked(graph: Graph) -> Graph:
    validate(graph)
    return graph
