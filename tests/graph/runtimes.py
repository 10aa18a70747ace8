"""The two runtimes that the integer arithmetic has to equal bit for bit, and small graphs to hold them against."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from numpy.typing import NDArray

from lawder_edge.graph.ir import Array, Attributes, DType, Graph, Op, Quantization, Tensor
from lawder_edge.graph.validate import validate
from lawder_edge.targets.tflite.writer import write


def one_op(
    attributes: Attributes,
    inputs: Sequence[Tensor],
    shape: tuple[int, ...],
    quantization: Quantization | None = None,
    *,
    dtype: DType = "int8",
) -> Graph:
    """A graph of one operator: `inputs` that hold no data are its inputs."""
    output = Tensor("y", shape, dtype, quantization)
    names = tuple(dict.fromkeys(t.name for t in inputs if t.data is None))
    tensors = (*{t.name: t for t in inputs}.values(), output)
    graph = Graph("one", tensors, (Op(attributes, tuple(t.name for t in inputs), ("y",)),), names, ("y",))
    validate(graph)
    return graph


def all_int8(shape: tuple[int, ...], seed: int = 0) -> NDArray[np.int8]:
    """Every int8 value at least once where there is room, shuffled."""
    rng = np.random.default_rng(seed)
    size = int(np.prod(shape))
    values = np.concatenate([np.arange(-128, 128)[:size], rng.integers(-128, 128, max(0, size - 256))])
    return rng.permutation(values).astype(np.int8).reshape(shape)


def litert_reference(data: bytes, inputs: Sequence[Array], *, keep: bool = False) -> Interpreter:
    """An interpreter with LiteRT's reference kernels, invoked. keep: every tensor can be read."""
    interpreter = Interpreter(
        model_content=data,
        experimental_op_resolver_type=OpResolverType.BUILTIN_REF,
        experimental_preserve_all_tensors=keep,
    )
    interpreter.allocate_tensors()
    for detail, value in zip(interpreter.get_input_details(), inputs, strict=True):
        interpreter.set_tensor(detail["index"], value)
    interpreter.invoke()
    return interpreter


def run_litert(graph: Graph, inputs: Sequence[Array]) -> Array:
    interpreter = litert_reference(write(graph).data, inputs)
    output: Array = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    return output


def run_micro(graph: Graph, inputs: Sequence[Array], *, arena: int = 1 << 22) -> Array:
    """TensorFlow Lite Micro."""
    from tflite_micro.python.tflite_micro import runtime

    interpreter = runtime.Interpreter.from_bytes(write(graph).data, arena_size=arena)
    for i, value in enumerate(inputs):
        interpreter.set_input(value, i)
    interpreter.invoke()
    output: Array = interpreter.get_output(0)
    return output
