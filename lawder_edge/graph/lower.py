"""From PyTorch's ExportedProgram to a graph. The only place of this room that knows torch.

Float programs give float32 graphs; programs with quantize and dequantize nodes around every tensor give int8 graphs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from lawder_edge.errors import BadInput
from lawder_edge.graph.builder import Builder, Value
from lawder_edge.graph.call import Call
from lawder_edge.graph.ir import Array, Graph, Quantization
from lawder_edge.graph.layout import NHWC, identity
from lawder_edge.graph.operators import NO_OPERATION, OPERATORS
from lawder_edge.graph.passes import simplify
from lawder_edge.graph.validate import validate

if TYPE_CHECKING:
    from torch.export import ExportedProgram
    from torch.fx import Node

INPUT, OUTPUT = "image", "logits"
_ONLY_INT8 = "the integer kernels here are of int8; quantise to it"


def lower(program: ExportedProgram, *, name: str) -> Graph:
    """program: batch 1, fixed height and width, in deploy form; floats alone, or quantised with
    torch.ops.quantized_decomposed throughout (weights per channel, symmetric).

    Returns: a valid graph, NHWC; its input is called `image` and its output `logits`, numbered where there are several.
    Biases become int32 at input scale times weight scale. Raises BadInput naming operator and module for what a graph
    cannot hold, and where integer scales break the rules of its kernels.
    """
    graph = simplify(_Lowering(program).run(name))
    graph = _renamed(graph)
    validate(graph)
    return graph


class _Lowering:
    def __init__(self, program: ExportedProgram) -> None:
        self._program = _functional(program)
        self._builder = Builder()
        self._values: dict[Node, Value] = {}

    def run(self, name: str) -> Graph:
        signature = self._program.graph_signature
        constants = {
            **signature.inputs_to_parameters,
            **signature.inputs_to_buffers,
            **signature.inputs_to_lifted_tensor_constants,
        }
        inputs: list[Value] = []
        outputs: tuple[Value, ...] = ()
        for node in self._program.graph_module.graph.nodes:
            self._builder.source = module_path(node)
            if node.op == "placeholder" and node.name in constants:
                if node.users:
                    self._values[node] = self._constant(constants[node.name])
            elif node.op == "placeholder":
                inputs.append(self._input(node))
            elif node.op == "get_attr":
                self._values[node] = self._constant(str(node.target))
            elif node.op == "call_function":
                self._call(node)
            else:
                wanted = set(signature.user_outputs)
                outputs = tuple(self._output(n) for n in node.args[0] if n is not None and n.name in wanted)
        return self._builder.graph(name, tuple(inputs), outputs)

    def _constant(self, target: str) -> Value:
        import torch

        program = self._program
        tensor = program.state_dict.get(target)
        if tensor is None:
            tensor = program.constants.get(target)
        if tensor is None:
            tensor = getattr(program.graph_module, target)
        if tensor.dtype in (torch.float64, torch.float16, torch.bfloat16):
            tensor = tensor.float()
        # int64 zero points; everything else is float32 or int8.
        return self._builder.constant(tensor.detach().cpu().numpy())

    def _input(self, node: Node) -> Value:
        shape = _shape(node)
        if len(shape) != 4 or shape[0] != 1:
            raise BadInput(f"input {node.name!r} has shape {shape}; wanted (1, channels, height, width).")
        value = self._builder.add_input(node.name, shape, NHWC)
        self._values[node] = value
        return value

    def _output(self, node: Node) -> Value:
        value = self._values[node]
        return self._builder.to_layout(value, NHWC if len(value.shape) == 4 else identity(len(value.shape)))

    def _call(self, node: Node) -> None:
        target = _operator_name(node)
        if target.startswith("quantized_decomposed."):
            self._values[node] = self._quantization(node, target.split(".")[1])
            return
        if target in NO_OPERATION:
            self._values[node] = self._values[node.args[0]]  # type: ignore[index]
            return
        handler = OPERATORS.get(target)
        if handler is None:
            raise _unsupported(node, target)
        call = Call(
            builder=self._builder,
            where=f"{target} in {module_path(node) or 'the network itself'}",
            arguments=_arguments(node, self._values),
            shape=_shape(node),
        )
        self._values[node] = handler(call)

    def _quantization(self, node: Node, kind: str) -> Value:
        """A quantize node states its operand's scale; a dequantize node restores integers that are constants."""
        import torch

        value = self._values[node.args[0]]  # type: ignore[index]
        rule: tuple[Any, ...] = node.args[1:]
        types = [a for a in rule if isinstance(a, torch.dtype)]
        if types[:1] != [torch.int8]:
            raise BadInput(f"{kind} in {module_path(node)} is of {types}; {_ONLY_INT8}.")
        tensor = self._builder.tensor(value)
        if kind.endswith("_per_channel"):
            scales, zeros = (self._data(n) for n in rule[:2])
            if not kind.startswith("de") or np.any(zeros):
                raise BadInput(f"{kind} in {module_path(node)}: wanted int8 constants with zero points of 0.")
            axis = int(rule[2])
            return self._builder.constant(np.asarray(tensor.data), Quantization.per_channel(scales, axis=axis))
        quantization = Quantization.of(float(rule[0]), int(rule[1]))
        if tensor.data is None:
            self._builder.state_scale(value, quantization, node=None if kind.startswith("de") else node.name)
            return value
        if tensor.dtype == "int8":
            return self._builder.constant(tensor.data, quantization)
        low, high = (int(n) for n in rule[2:4])
        steps = np.rint(tensor.data / np.float32(quantization.scale[0])) + quantization.zero_point[0]
        return self._builder.constant(np.clip(steps, low, high).astype(np.int8), quantization)

    def _data(self, node: Any) -> Array:
        return np.asarray(self._builder.tensor(self._values[node]).data)


def module_path(node: Node) -> str:
    """The module that a node comes from, as in `named_modules`; empty for the network itself."""
    stack = node.meta.get("nn_module_stack") or {}
    return str(list(stack.values())[-1][0]) if stack else ""


def _operator_name(node: Node) -> str:
    """namespace.operator without the overload: `aten.relu`."""
    target = node.target
    schema = getattr(target, "_schema", None)
    if schema is None:
        return str(getattr(target, "__name__", target))
    return str(schema.name).replace("::", ".")


def _functional(program: ExportedProgram) -> ExportedProgram:
    """The program without in-place operators, whose views would hold values that the graph does not see change."""
    schemas = (getattr(node.target, "_schema", None) for node in program.graph_module.graph.nodes)
    if not any(schema is not None and schema.is_mutable for schema in schemas):
        return program
    functional: ExportedProgram = program.run_decompositions({})
    return functional


def _arguments(node: Node, values: Mapping[Node, Value]) -> Mapping[str, Any]:
    """Arguments by the schema's names, with its defaults; nodes replaced by their values."""
    from torch.fx.node import map_arg

    schema = node.target._schema  # type: ignore[union-attr]
    given: dict[str, Any] = {a.name: a.default_value for a in schema.arguments if a.has_default_value()}
    given |= dict(zip((a.name for a in schema.arguments), node.args, strict=False))
    given |= node.kwargs

    def value_of(n: Node) -> Any:
        return values[n]

    return {key: map_arg(argument, value_of) for key, argument in given.items()}


def _shape(node: Node) -> tuple[int, ...]:
    value = node.meta.get("val")
    shape = getattr(value, "shape", None)
    if shape is None:
        raise BadInput(f"{node.target} in {module_path(node)} gives several tensors or none; a graph has no such one.")
    if not all(isinstance(length, int) for length in shape):
        raise BadInput(
            f"{node.name} has a free length ({list(shape)}); export with a fixed batch of 1 and a fixed size."
        )
    return tuple(int(length) for length in shape)


def _unsupported(node: Node, target: str) -> BadInput:
    known = sorted(name.removeprefix("aten.") for name in OPERATORS)
    hint = "Fold it first: to_deploy does. " if "batch_norm" in target else ""
    return BadInput(
        f"operator {target} in {module_path(node) or 'the network itself'} cannot be lowered. {hint}Write the module "
        f"with what can be: {', '.join(known)}."
    )


def _renamed(graph: Graph) -> Graph:
    """Inputs `image`, outputs `logits`, the others numbers in the order of computation, constants c and a number."""
    names: dict[str, str] = {}
    for group, base in ((graph.inputs, INPUT), (graph.outputs, OUTPUT)):
        for i, name in enumerate(group):
            names.setdefault(name, base if len(group) == 1 else f"{base}{i}")
    for op in graph.ops:
        names.setdefault(op.outputs[0], str(len(names)))
    for i, tensor in enumerate(t for t in graph.tensors if t.data is not None):
        names[tensor.name] = f"c{i}"
    return Graph(
        graph.name,
        tuple(replace(t, name=names[t.name]) for t in graph.tensors),
        tuple(
            replace(op, inputs=tuple(names[n] for n in op.inputs), outputs=tuple(names[n] for n in op.outputs))
            for op in graph.ops
        ),
        tuple(names[n] for n in graph.inputs),
        tuple(names[n] for n in graph.outputs),
    )
