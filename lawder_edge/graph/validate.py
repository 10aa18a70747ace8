"""Whether a graph holds together, and keeps to the rules of integer arithmetic that no runtime checks."""

from __future__ import annotations

from lawder_edge.errors import BadInput
from lawder_edge.graph.geometry import output_shape
from lawder_edge.graph.ir import Conv2D, DepthwiseConv2D, DType, Graph, Op, Quantization, Tensor

# Their integer kernels copy or average values and never rescale (LiteRT and TFLM do not check it).
SAME_SCALE = frozenset(
    {"max_pool2d", "average_pool2d", "resize_bilinear", "resize_nearest", "concat", "reshape", "reduce_max",
     "transpose", "pad"}
)  # fmt: skip
SQUASHED = Quantization.of(1 / 256, -128)
# Of TFLite's quantisation specification, as symmetric: kernels rely on it, and `passes` turn signs within it.
SMALLEST_WEIGHT = -127
# Kinds with another number of inputs than one.
_INPUTS = {"conv2d": 3, "depthwise_conv2d": 3, "add": 2, "sub": 2, "mul": 2, "batch_matmul": 2, "greater_equal": 2}
# What operators at the edges of a graph take and give, where that is not one type throughout.
CONVERSIONS: dict[str, frozenset[tuple[DType, DType]]] = {
    "quantize": frozenset({("float32", "int8"), ("uint8", "int8")}),
    "dequantize": frozenset({("uint8", "float32"), ("int8", "float32")}),
    "greater_equal": frozenset({("float32", "bool")}),
    "arg_max": frozenset({("float32", "int32")}),
    "cast": frozenset({("bool", "uint8"), ("int32", "uint8")}),
}
_FOUR_AXES = frozenset(
    {"conv2d", "depthwise_conv2d", "max_pool2d", "average_pool2d", "resize_bilinear", "resize_nearest"}
)


def validate(graph: Graph) -> None:
    """Raises BadInput naming the tensor or operator that is wrong, and what was wanted."""
    names = [t.name for t in graph.tensors]
    if len(set(names)) != len(names):
        twice = next(n for n in names if names.count(n) > 1)
        raise BadInput(f"graph {graph.name}: tensor {twice!r} exists twice; wanted one of a name.")
    for tensor in graph.tensors:
        _check_tensor(graph, tensor)
    known = {t.name for t in graph.tensors}
    ready = {t.name for t in graph.tensors if t.data is not None} | set(graph.inputs)
    for op in graph.ops:
        for name in (*op.inputs, *op.outputs):
            if name not in known:
                raise BadInput(f"{describe(op)}: there is no tensor {name!r}.")
        late = [name for name in op.inputs if name not in ready]
        if late:
            raise BadInput(f"{describe(op)}: input {late[0]!r} is not computed before it; order the operators.")
        if ready & set(op.outputs):
            raise BadInput(f"{describe(op)}: {op.outputs[0]!r} is computed twice, or is a constant or an input.")
        ready |= set(op.outputs)
        _check_op(graph, op)
    missing = [name for name in (*graph.inputs, *graph.outputs) if name not in ready]
    if missing:
        raise BadInput(f"graph {graph.name}: {missing[0]!r} is an input or output that nothing computes.")


def describe(op: Op) -> str:
    """An operator as errors name it."""
    return f"{op.kind}{f' of {op.source}' if op.source else ''} ({', '.join(op.outputs)})"


def _check_tensor(graph: Graph, tensor: Tensor) -> None:
    at = f"graph {graph.name}: tensor {tensor.name!r}"
    if any(length < 1 for length in tensor.shape):
        raise BadInput(f"{at} has shape {tensor.shape}; wanted lengths of at least 1.")
    data, q = tensor.data, tensor.quantization
    if data is not None and (data.shape != tensor.shape or str(data.dtype) != tensor.dtype):
        raise BadInput(f"{at} holds {data.dtype} of {data.shape}; wanted {tensor.dtype} of {tensor.shape}.")
    if tensor.dtype == "int8" and q is None:
        raise BadInput(f"{at} is int8 without a scale; wanted one.")
    if q is None:
        return
    count = 1 if q.axis is None else tensor.shape[q.axis]
    if len(q.scale) != count or len(q.zero_point) != count or not all(0 < s < float("inf") for s in q.scale):
        raise BadInput(f"{at} has scales {q.scale[:4]} along axis {q.axis}; wanted {count}, positive and finite.")


def _check_op(graph: Graph, op: Op) -> None:
    inputs, outputs = graph.of(op.inputs), graph.of(op.outputs)
    wanted = _INPUTS.get(op.kind, 1)
    if len(outputs) != 1 or (len(inputs) != wanted if op.kind != "concat" else len(inputs) < 1):
        raise BadInput(f"{describe(op)}: {len(inputs)} inputs and {len(outputs)} outputs; wanted {wanted} and 1.")
    (output,) = outputs
    if op.kind in _FOUR_AXES and not len(inputs[0].shape) == len(output.shape) == 4:
        raise BadInput(f"{describe(op)}: input of shape {inputs[0].shape}; wanted (1, height, width, channels).")
    try:
        shape = output_shape(op.attributes, [t.shape for t in inputs])
    except ValueError as error:
        raise BadInput(f"{describe(op)}: shapes do not fit: {error}.") from error
    if shape is not None and shape != output.shape:
        raise BadInput(f"{describe(op)}: gives {shape}, its output is declared as {output.shape}.")
    if op.kind == "reshape" and inputs[0].size != output.size:
        raise BadInput(f"{describe(op)}: {inputs[0].shape} cannot become {output.shape}.")
    _check_types(op, inputs, output)
    if output.dtype == "int8":
        _check_scales(op, inputs, output)


def _check_types(op: Op, inputs: tuple[Tensor, ...], output: Tensor) -> None:
    if op.kind in CONVERSIONS:
        bad = [t for t in inputs if (t.dtype, output.dtype) not in CONVERSIONS[op.kind]]
        if bad:
            known = " or ".join(f"{a} to {b}" for a, b in sorted(CONVERSIONS[op.kind]))
            raise BadInput(f"{describe(op)}: makes {output.dtype} of {bad[0].dtype}; wanted {known}.")
        return
    got: list[str] = [t.dtype for t in inputs]
    wanted: list[str] = [output.dtype] * len(inputs)
    if isinstance(op.attributes, Conv2D | DepthwiseConv2D) and output.dtype == "int8":
        wanted[2] = "int32"
    if got != wanted or output.dtype not in ("float32", "int8"):
        raise BadInput(
            f"{describe(op)}: takes {', '.join(got)} and gives {output.dtype}; wanted {', '.join(wanted)}. A tensor "
            "without a scale inside an integer network has to get one, or its operator to be fused."
        )


def _check_scales(op: Op, inputs: tuple[Tensor, ...], output: Tensor) -> None:
    if op.kind in ("logistic", "softmax") and output.quantization != SQUASHED:
        raise BadInput(
            f"{describe(op)}: its output has scale {output.scale:.6g} and zero point {output.zero_point}; TFLite fixes "
            "them at 1/256 and -128. Quantise it so."
        )
    # LiteRT's relu6 rescales, TFLM's only clamps.
    if op.kind in SAME_SCALE or op.kind == "relu6":
        for x in inputs:
            if x.quantization != output.quantization:
                raise BadInput(
                    f"{describe(op)}: {x.name!r} has scale {x.scale:.6g}, zero point {x.zero_point}, and "
                    f"{output.name!r} has {output.scale:.6g}, {output.zero_point}; its integer kernel does not "
                    "rescale. Give both one quantiser (share the observer)."
                )
    if isinstance(op.attributes, Conv2D | DepthwiseConv2D):
        _check_weights(op, inputs)


def _check_weights(op: Op, inputs: tuple[Tensor, ...]) -> None:
    weights, bias = inputs[1], inputs[2]
    q = weights.quantization
    axis = 0 if op.kind == "conv2d" else 3
    if q is None or q.axis not in (axis, None) or any(q.zero_point) or weights.data is None or bias.data is None:
        raise BadInput(
            f"{describe(op)}: weights and bias must be constants, the weights symmetric, with one scale in all or one "
            f"an output channel (axis {axis})."
        )
    if int(weights.data.min()) < SMALLEST_WEIGHT:
        raise BadInput(
            f"{describe(op)}: weights hold {weights.data.min()}; TFLite's int8 weights lie in {SMALLEST_WEIGHT}..127. "
            f"Quantise them with a quant_min of {SMALLEST_WEIGHT}."
        )
