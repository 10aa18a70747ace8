"""Quantised ONNX graphs for runtimes with rules of their own. Pure: each function gives a new ModelProto.

A quantised tensor is a pair, QuantizeLinear and DequantizeLinear; weights are int8 constants before a DequantizeLinear.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lawder_edge.errors import BadInput
from lawder_edge.targets.registry import not_quantised
from lawder_edge.targets.watch import Activation

QUANTIZE, DEQUANTIZE = "QuantizeLinear", "DequantizeLinear"
# Their outputs are fixed at 1/256, zero point -128, which no symmetric scale follows.
_SQUASHING = frozenset({"Sigmoid", "Softmax"})
# They share their input's scale, so that a pair after them says what the pair before them says.
_SAME_SCALE = frozenset(
    {
        "AveragePool", "Concat", "Expand", "Flatten", "Identity", "MaxPool", "ReduceMax", "Reshape", "Resize", "Slice",
        "Squeeze", "Transpose", "Unsqueeze",
    }
)  # fmt: skip


@dataclass(frozen=True)
class _Pair:
    """One quantised tensor. restored: the DequantizeLinear nodes that read `quantized`."""

    quantized: Any
    restored: tuple[Any, ...]
    scale: npt.NDArray[np.float32]
    zero_point: npt.NDArray[Any]


def activations(proto: Any) -> tuple[Activation, ...]:
    """Quantised tensors that are no constants, in the order of computation; zero points as of int8.

    Raises BadInput for a scale that is not known before the graph runs.
    """
    constants = _constants(proto.graph)
    return tuple(
        Activation(
            pair.quantized.output[0],
            float(pair.scale.item()),
            int(pair.zero_point.item()) - 128 * (pair.zero_point.dtype == np.uint8),
        )
        for pair in _pairs(proto.graph)
        if pair.quantized.input[0] not in constants
    )


def integer_types(proto: Any) -> dict[str, np.dtype[Any]]:
    """int8 or uint8 of the integers of each of `activations`, by name. Raises BadInput as that."""
    types = {pair.quantized.output[0]: pair.zero_point.dtype for pair in _pairs(proto.graph)}
    return {tensor.name: types[tensor.name] for tensor in activations(proto)}


def is_quantized(proto: Any) -> bool:
    """Whether any tensor of the graph is quantised."""
    return any(node.op_type == QUANTIZE for node in proto.graph.node)


def check_quantized(proto: Any) -> None:
    """Raises BadInput for a float graph where an int8 one was asked for."""
    if not is_quantized(proto):
        raise not_quantised()


def to_uint8(proto: Any) -> Any:
    """The same numbers with activations as uint8, zero points 128 higher; weights stay int8.

    It is what x86 kernels take: OpenVINO runs ORDER so in two thirds of the time that int8 activations take,
    onnxruntime in nine tenths.

    Raises BadInput for a zero point that is not known before the graph runs.
    """
    changed = copy.deepcopy(proto)
    del changed.graph.value_info[:]
    _fold_constants(changed.graph)
    for n, pair in enumerate(_pairs(changed.graph)):
        if pair.zero_point.dtype == np.int8:
            shifted = (pair.zero_point.astype(np.int16) + 128).astype(np.uint8)
            _set(changed.graph, pair, zero_point=_constant(changed.graph, f"zero_point_u8_{n}", shifted))
    return _without_dead_constants(changed)


def with_plain_rounding_before_sums(proto: Any) -> Any:
    """The same numbers, with a convolution's result that is added to another tensor rounded by Round rather than by a
    pair.

    OpenVINO 2026.4 computes such a sum together with the convolution and leaves out the rounding of a pair between the
    two: 12 % of the first sum of ORDER is then a step off, where no other runtime is. A Round it keeps.
    """
    changed = copy.deepcopy(proto)
    graph = changed.graph
    makers = {name: node for node in graph.node for name in node.output}
    uses = Counter(name for node in graph.node for name in node.input)
    pairs = {pair.restored[0].output[0]: pair for pair in _pairs(graph) if len(pair.restored) == 1}
    for node in [node for node in graph.node if node.op_type == "Add"]:
        for name in node.input:
            pair = pairs.get(name)
            if pair is not None and uses[name] == 1 and _comes_from_convolution(pair, makers, uses):
                _round_plainly(graph, pair)
    return _without_dead_constants(changed)


def _comes_from_convolution(pair: _Pair, makers: dict[str, Any], uses: Counter[str]) -> bool:
    """Whether a convolution, or an activation after one, alone makes what a pair quantises."""
    name = pair.quantized.input[0]
    while uses[name] == 1 and name in makers:
        node = makers[name]
        if node.op_type not in ("Relu", "Clip"):
            return bool(node.op_type == "Conv")
        name = node.input[0]
    return False


def _round_plainly(graph: Any, pair: _Pair) -> None:
    """Replace a pair by a product, Round, Clip and a product."""
    from onnx import helper

    limits = np.iinfo(pair.zero_point.dtype)
    scale, zero = np.float32(pair.scale.item()), int(pair.zero_point.item())
    stem = pair.restored[0].output[0]
    names = [
        _constant(graph, f"{stem}_{part}", np.array(value, np.float32))
        for part, value in (
            ("per_step", 1 / scale),
            ("low", limits.min - zero),
            ("high", limits.max - zero),
            ("step", scale),
        )
    ]
    nodes = (
        helper.make_node("Mul", [pair.quantized.input[0], names[0]], [f"{stem}_steps"]),
        helper.make_node("Round", [f"{stem}_steps"], [f"{stem}_rounded"]),
        helper.make_node("Clip", [f"{stem}_rounded", *names[1:3]], [f"{stem}_clipped"]),
        helper.make_node("Mul", [f"{stem}_clipped", names[3]], [stem]),
    )
    place = list(graph.node).index(pair.quantized)
    for old in (pair.quantized, *pair.restored):
        graph.node.remove(old)
    for i, node in enumerate(nodes):
        graph.node.insert(place + i, node)


def to_symmetric(proto: Any) -> Any:
    """The graph with zero points of 0 alone, as TensorRT demands.

    A tensor with another zero point gets the smallest symmetric scale that holds its range (one with 0 keeps its own).
    What a sigmoid or softmax gives stays in floating point, since half of the steps would be lost, and so does what is
    only moved, pooled or resized after it.

    Raises BadInput for activations that are not int8, or a zero point that is not known before the graph runs.
    """
    changed = copy.deepcopy(proto)
    graph = changed.graph
    del graph.value_info[:]
    _fold_constants(graph)
    pairs = list(_pairs(graph))
    dropped = _squashed(graph, pairs)
    for n, pair in enumerate(pairs):
        if pair.quantized.name in dropped or not pair.zero_point.any():
            continue
        zero = pair.zero_point.astype(np.float64)
        reach = np.maximum(zero + 128, 127 - zero) * pair.scale
        scale = _constant(graph, f"scale_symmetric_{n}", (reach / 127).astype(np.float32))
        zeros = _constant(graph, f"zero_point_symmetric_{n}", np.zeros_like(pair.zero_point))
        _set(graph, pair, scale=scale, zero_point=zeros)
    _drop(graph, [pair for pair in pairs if pair.quantized.name in dropped])
    return _without_dead_constants(changed)


def _pairs(graph: Any) -> Iterator[_Pair]:
    """Quantised tensors in order of computation; their Quantize nodes get a name where they have none.

    Raises BadInput for a scale that is no constant, or a quantised tensor that something else than Dequantize reads.
    """
    constants = _constants(graph)
    readers: dict[str, list[Any]] = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    for n, node in enumerate(graph.node):
        if node.op_type != QUANTIZE:
            continue
        node.name = node.name or f"quantize_{n}"
        reading = readers.get(node.output[0], [])
        if not reading or any(reader.op_type != DEQUANTIZE for reader in reading):
            kinds = ", ".join(sorted({r.op_type for r in reading})) or "nothing"
            raise BadInput(f"{node.name} is read by {kinds}; wanted each QuantizeLinear before a DequantizeLinear.")
        names = list(node.input[1:])
        if len(names) < 2 or not all(name in constants for name in names):
            raise BadInput(f"{node.name} has no constant scale and zero point; wanted a statically quantised network.")
        yield _Pair(node, tuple(reading), constants[names[0]], constants[names[1]])


def _fold_constants(graph: Any) -> None:
    """Round quantised constants, such as a bias added to a product, where they stand and take their pairs out.

    The numbers stay the same; OpenVINO 2026.4 fails on a sum with a pair of a constant.
    """
    constants = _constants(graph)
    folded = []
    for n, pair in enumerate(list(_pairs(graph))):
        value = constants.get(pair.quantized.input[0])
        if value is None:
            continue
        limits = np.iinfo(pair.zero_point.dtype)
        zero = pair.zero_point.astype(np.float32)
        steps = np.clip(np.rint(value / pair.scale) + zero, limits.min, limits.max)
        pair.quantized.input[0] = _constant(graph, f"rounded_{n}", ((steps - zero) * pair.scale).astype(np.float32))
        folded.append(pair)
    _drop(graph, folded)


def _constants(graph: Any) -> dict[str, npt.NDArray[Any]]:
    from onnx import numpy_helper

    found = {i.name: numpy_helper.to_array(i) for i in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            found[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
    return found


def _constant(graph: Any, name: str, value: npt.NDArray[Any]) -> str:
    from onnx import numpy_helper

    graph.initializer.append(numpy_helper.from_array(value, name))
    return name


def _set(graph: Any, pair: _Pair, *, zero_point: str, scale: str | None = None) -> None:
    for node in (pair.quantized, *pair.restored):
        if scale is not None:
            node.input[1] = scale
        if len(node.input) < 3:
            node.input.append(zero_point)
        node.input[2] = zero_point


def _squashed(graph: Any, pairs: list[_Pair]) -> set[str]:
    """Names of the Quantize nodes whose values come from a sigmoid or softmax and were only moved since.

    Raises BadInput for a quantised tensor that is not int8.
    """
    makers = {name: node for node in graph.node for name in node.output}

    def from_squashing(name: str) -> bool:
        node = makers.get(name)
        if node is None:
            return False
        if node.op_type in _SQUASHING:
            return True
        if node.op_type == "Concat":
            return all(from_squashing(part) for part in node.input)
        return node.op_type in _SAME_SCALE | {QUANTIZE, DEQUANTIZE} and from_squashing(node.input[0])

    for pair in pairs:
        if pair.zero_point.dtype != np.int8:
            raise BadInput(f"{pair.quantized.name} gives {pair.zero_point.dtype}; TensorRT takes int8 activations.")
    return {p.quantized.name for p in pairs if p.zero_point.any() and from_squashing(p.quantized.input[0])}


def _drop(graph: Any, pairs: list[_Pair]) -> None:
    """Take pairs out: who read their result reads what went in. The graph's own outputs keep their names."""
    outputs = {value.name for value in graph.output}
    gone = {node.output[0] for pair in pairs for node in (pair.quantized, *pair.restored)}
    source = {node.output[0]: pair.quantized.input[0] for pair in pairs for node in pair.restored}

    def resolved(name: str) -> str:
        while name in source:
            name = source[name]
        return name

    renamed = {resolved(name): name for name in source if name in outputs}
    kept = [node for node in graph.node if node.output[0] not in gone]
    for node in kept:
        for names in (node.input, node.output):
            for i, name in enumerate(names):
                names[i] = renamed.get(resolved(name), resolved(name))
    del graph.node[:]
    graph.node.extend(kept)


def _without_dead_constants(proto: Any) -> Any:
    graph = proto.graph
    used = {name for node in graph.node for name in node.input} | {value.name for value in graph.output}
    kept = [i for i in graph.initializer if i.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)
    return proto
