"""A float ONNX graph in half precision, for runtimes that take each tensor's type from the graph. Pure."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import numpy.typing as npt

from lawder_edge.errors import BadInput

# Which of an operator's inputs stay float32 whatever the others are.
_SINGLE_INPUTS = {"Resize": (1, 2), "Upsample": (1,)}
_LARGEST = 65504.0


def to_half(proto: Any) -> Any:
    """The same graph in float16 between a float32 input and a float32 output.

    Values below 6e-8 become 0. Raises BadInput for a quantised graph, or a weight beyond 65504, which half precision
    cannot hold.
    """
    from onnx import TensorProto, helper

    changed = copy.deepcopy(proto)
    graph = changed.graph
    del graph.value_info[:]
    if any(node.op_type == "QuantizeLinear" for node in graph.node):
        raise BadInput("a quantised network cannot be exported as fp16. Export its float checkpoint, or as int8.")
    single, shared = _single_tensors(graph)
    if shared:
        raise BadInput(f"{shared[0]} is both computed with and a scale of Resize: it cannot be exported as fp16.")
    for tensor in graph.initializer:
        if tensor.data_type == TensorProto.FLOAT and tensor.name not in single:
            _halve(tensor)
    for node in graph.node:
        if node.output[0] in single:
            continue
        for attribute in node.attribute:
            if attribute.name == "value" and attribute.t.data_type == TensorProto.FLOAT:
                _halve(attribute.t)
            if node.op_type == "Cast" and attribute.name == "to" and attribute.i == TensorProto.FLOAT:
                attribute.i = TensorProto.FLOAT16
    inputs = [(v.name, f"{v.name}_half") for v in graph.input if v.type.tensor_type.elem_type == TensorProto.FLOAT]
    outputs = [(v.name, f"{v.name}_half") for v in graph.output if v.type.tensor_type.elem_type == TensorProto.FLOAT]
    renamed = dict(inputs + outputs)
    for node in graph.node:
        for names in (node.input, node.output):
            for i, name in enumerate(names):
                names[i] = renamed.get(name, name)
    nodes = list(graph.node)
    del graph.node[:]
    graph.node.extend(helper.make_node("Cast", [a], [b], name=f"to_{b}", to=TensorProto.FLOAT16) for a, b in inputs)
    graph.node.extend(nodes)
    graph.node.extend(helper.make_node("Cast", [b], [a], name=f"from_{b}", to=TensorProto.FLOAT) for a, b in outputs)
    return changed


def _single_tensors(graph: Any) -> tuple[set[str], list[str]]:
    """Names of the float tensors that have to stay float32, and those that others need as float16."""
    single: set[str] = set()
    for node in graph.node:
        for i in _SINGLE_INPUTS.get(node.op_type, ()):
            if i < len(node.input) and node.input[i]:
                single.add(node.input[i])
    # What they are computed from, where they are: shapes as floats.
    for node in reversed(graph.node):
        if any(name in single for name in node.output) and node.op_type != "Cast":
            single.update(name for name in node.input if name)
    readers = [
        name
        for node in graph.node
        for i, name in enumerate(node.input)
        if name in single and i not in _SINGLE_INPUTS.get(node.op_type, ()) and not single & set(node.output)
    ]
    floats = {i.name for i in graph.initializer if i.data_type == 1}
    return single, [name for name in readers if name in floats]


def _halve(tensor: Any) -> None:
    """Replace a float32 TensorProto's values by float16 ones, in place. Raises BadInput for one that is too large."""
    from onnx import numpy_helper

    values: npt.NDArray[np.float32] = numpy_helper.to_array(tensor)
    largest = float(np.abs(values).max(initial=0.0))
    # Limits such as those of Clip may be infinite.
    if np.isfinite(largest) and largest > _LARGEST:
        raise BadInput(f"{tensor.name} holds {largest:.3g}, beyond half precision (65504). Export as fp32.")
    tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float16), tensor.name))
