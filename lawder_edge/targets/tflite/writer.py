"""A graph as a .tflite file: the flatbuffer is built directly, without TensorFlow.

Equal vectors and tables are stored once and pointed to from wherever they occur, which the format allows; that and
short names make half of what a converter writes. The same graph gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from lawder_edge.graph.ir import (
    ArgMax,
    Array,
    Attributes,
    AveragePool2D,
    BatchMatMul,
    Conv2D,
    DepthwiseConv2D,
    Graph,
    MaxPool2D,
    Mean,
    Op,
    Pad,
    Quantization,
    ReduceMax,
    Reshape,
    ResizeBilinear,
    ResizeNearest,
    Tensor,
    Transpose,
)
from lawder_edge.graph.validate import validate

# Boards still ship it, and every operator version below is one that it has.
MIN_RUNTIME_VERSION = "2.14.0"
_BUFFER_ALIGNMENT = 16
_ACTIVATIONS = {"none": 0, "relu": 1, "relu6": 3}
# Of the schema's TensorType.
_INT32 = 2
_PADDINGS = {"same": 0, "valid": 1}


@dataclass(frozen=True)
class _Kind:
    """Builtin operator, its options table, and its version for float32 and int8."""

    builtin: str
    options: str | None
    float_version: int = 1
    int8_version: int = 2


_KINDS = {
    "conv2d": _Kind("CONV_2D", "Conv2DOptions", 1, 3),
    "depthwise_conv2d": _Kind("DEPTHWISE_CONV_2D", "DepthwiseConv2DOptions", 2, 3),
    "add": _Kind("ADD", "AddOptions"),
    "sub": _Kind("SUB", "SubOptions"),
    "mul": _Kind("MUL", "MulOptions"),
    "relu": _Kind("RELU", None),
    "relu6": _Kind("RELU6", None),
    "logistic": _Kind("LOGISTIC", None),
    "softmax": _Kind("SOFTMAX", "SoftmaxOptions"),
    "max_pool2d": _Kind("MAX_POOL_2D", "Pool2DOptions"),
    "average_pool2d": _Kind("AVERAGE_POOL_2D", "Pool2DOptions"),
    "mean": _Kind("MEAN", "ReducerOptions"),
    "reduce_max": _Kind("REDUCE_MAX", "ReducerOptions"),
    "concat": _Kind("CONCATENATION", "ConcatenationOptions"),
    "reshape": _Kind("RESHAPE", "ReshapeOptions", 1, 1),
    "transpose": _Kind("TRANSPOSE", "TransposeOptions"),
    "pad": _Kind("PAD", "PadOptions"),
    "resize_bilinear": _Kind("RESIZE_BILINEAR", "ResizeBilinearOptions", 3, 3),
    "resize_nearest": _Kind("RESIZE_NEAREST_NEIGHBOR", "ResizeNearestNeighborOptions"),
    "batch_matmul": _Kind("BATCH_MATMUL", "BatchMatMulOptions"),
    "quantize": _Kind("QUANTIZE", "QuantizeOptions", 1, 1),
    "dequantize": _Kind("DEQUANTIZE", "DequantizeOptions"),
    "greater_equal": _Kind("GREATER_EQUAL", "GreaterEqualOptions"),
    "arg_max": _Kind("ARG_MAX", "ArgMaxOptions"),
    "cast": _Kind("CAST", None),
}
_TRANSPOSE_VERSION_ABOVE_RANK_4 = 4


@dataclass(frozen=True)
class SizeReport:
    """Where the bytes of a file go, alignment included. `tables`: all that is not listed before it."""

    weights: int
    biases: int
    scales: int
    other_constants: int
    operators: int
    metadata: int
    tables: int
    total: int


@dataclass(frozen=True)
class TfliteFile:
    """data: the flatbuffer, as it goes to disk. sizes: where its bytes go."""

    data: bytes
    sizes: SizeReport


def write(graph: Graph, *, notes: Sequence[tuple[str, str]] = ()) -> TfliteFile:
    """notes: key and value of metadata, beside `min_runtime_version`. Raises BadInput for a graph that is not valid."""
    validate(graph)
    return _Writer(graph).write((("min_runtime_version", MIN_RUNTIME_VERSION), *sorted(notes)))


class _Writer:
    def __init__(self, graph: Graph) -> None:
        import flatbuffers
        from ai_edge_litert import schema_py_generated

        self._graph = graph
        self._schema: Any = schema_py_generated
        self._builder: Any = flatbuffers.Builder(1 << 16)
        self._memo: dict[Hashable, int] = {}
        self._bytes: dict[str, int] = {}
        self._owner: str | None = None
        self._buffers: list[int] = []
        self._tensors: list[int] = []
        self._index: dict[str, int] = {}
        self._codes: list[tuple[str, int]] = []

    def write(self, notes: Sequence[tuple[str, str]]) -> TfliteFile:
        b = self._builder
        self._buffer(None)
        for name in self._graph.inputs:
            self._tensor(self._graph.tensor(name))
        with self._counted("operators"):
            operators = [self._operator(op) for op in self._graph.ops]
        subgraph = self._table(
            "SubGraph",
            Tensors=self._offsets(self._tensors),
            Inputs=self._integers([self._index[n] for n in self._graph.inputs]),
            Outputs=self._integers([self._index[n] for n in self._graph.outputs]),
            Operators=self._offsets(operators),
        )
        with self._counted("metadata"):
            metadata = [
                self._table("Metadata", Name=self._string(key), Buffer=self._buffer(np.frombuffer(text, np.uint8)))
                for key, text in ((k, v.encode()) for k, v in notes)
            ]
        codes = [self._operator_code(builtin, version) for builtin, version in self._codes]
        model = self._table(
            "Model",
            Version=3,
            OperatorCodes=self._offsets(codes),
            Subgraphs=self._offsets([subgraph]),
            Description=self._string(self._graph.name),
            Buffers=self._offsets(self._buffers),
            Metadata=self._offsets(metadata),
        )
        b.Finish(model, b"TFL3")
        data = bytes(b.Output())
        return TfliteFile(data, self._size_report(len(data)))

    def _size_report(self, total: int) -> SizeReport:
        kinds = ("weights", "biases", "scales", "other_constants", "operators", "metadata")
        sizes = {kind: self._bytes.get(kind, 0) for kind in kinds}
        return SizeReport(**sizes, tables=total - sum(sizes.values()), total=total)

    @contextmanager
    def _counted(self, kind: str) -> Iterator[None]:
        """What is written inside belongs to `kind`, but for what an inner call counts."""
        outer, start = self._owner, self._builder.Offset()
        inner = sum(self._bytes.values())
        self._owner = kind
        try:
            yield
        finally:
            own = self._builder.Offset() - start - (sum(self._bytes.values()) - inner)
            self._bytes[kind] = self._bytes.get(kind, 0) + own
            self._owner = outer

    def _once(self, key: Hashable, make: Callable[[], int]) -> int:
        if key not in self._memo:
            self._memo[key] = make()
        return self._memo[key]

    def _table(self, name: str, **fields: int) -> int:
        start, end = (getattr(self._schema, f"{name}{part}") for part in ("Start", "End"))
        start(self._builder)
        for field, value in fields.items():
            getattr(self._schema, f"{name}Add{field}")(self._builder, value)
        return int(end(self._builder))

    def _string(self, text: str) -> int:
        return self._once(("string", text), lambda: int(self._builder.CreateString(text)))

    def _integers(self, values: Sequence[int], dtype: str = "int32") -> int:
        key = (dtype, tuple(values))
        return self._once(key, lambda: int(self._builder.CreateNumpyVector(np.array(values, dtype))))

    def _offsets(self, offsets: Sequence[int]) -> int:
        b = self._builder
        b.StartVector(4, len(offsets), 4)
        for offset in reversed(offsets):
            b.PrependUOffsetTRelative(offset)
        return int(b.EndVector())

    def _buffer(self, data: Array | None) -> int:
        """The index of a buffer with this data; of the empty one, 0, for None."""
        raw = None if data is None else np.ascontiguousarray(data).tobytes()

        def make() -> int:
            b = self._builder
            fields = {}
            if raw is not None:
                b.StartVector(1, len(raw), _BUFFER_ALIGNMENT)
                b.head = b.head - len(raw)
                b.Bytes[b.head : b.head + len(raw)] = raw
                fields["Data"] = int(b.EndVector())
            self._buffers.append(self._table("Buffer", **fields))
            return len(self._buffers) - 1

        return self._once(("buffer", raw), make)

    def _tensor(self, tensor: Tensor) -> int:
        """The index of a tensor; constants with the same content share one."""
        if tensor.name in self._index:
            return self._index[tensor.name]
        if tensor.data is None:
            index = self._new_tensor(tensor, self._string(tensor.name))
        else:
            key = ("constant", tensor.dtype, tensor.shape, tensor.quantization, tensor.data.tobytes())
            index = self._once(key, lambda: self._new_tensor(tensor, None))
        self._index[tensor.name] = index
        return index

    def _new_tensor(self, tensor: Tensor, name: int | None) -> int:
        buffer = 0
        if tensor.data is not None:
            with self._counted(_kind_of_constant(tensor)):
                buffer = self._buffer(tensor.data)
        fields = {
            "Shape": self._integers(tensor.shape),
            "Type": getattr(self._schema.TensorType, tensor.dtype.upper()),
            "Buffer": buffer,
        }
        if name is not None:
            fields["Name"] = name
        if tensor.quantization is not None:
            with self._counted("scales"):
                fields["Quantization"] = self._quantization(tensor.quantization)
        self._tensors.append(self._table("Tensor", **fields))
        return len(self._tensors) - 1

    def _quantization(self, q: Quantization) -> int:
        def make() -> int:
            scales = self._once(
                ("scales", q.scale), lambda: int(self._builder.CreateNumpyVector(np.array(q.scale, np.float32)))
            )
            return self._table(
                "QuantizationParameters",
                Scale=scales,
                ZeroPoint=self._integers(q.zero_point, "int64"),
                QuantizedDimension=q.axis or 0,
            )

        return self._once(q, make)

    def _constant(self, values: Array) -> int:
        """The index of an int32 constant."""
        return self._tensor(Tensor(f"int32 {values.tolist()}", values.shape, "int32", None, values.astype(np.int32)))

    def _operator(self, op: Op) -> int:
        inputs, output = self._graph.of(op.inputs), self._graph.tensor(op.outputs[0])
        kind = _KINDS[op.kind]
        indices = [self._tensor(t) for t in inputs]
        extra = _extra_input(op.attributes, output)
        if extra is not None:
            indices.append(self._constant(extra))
        code = (kind.builtin, _version(op, kind, inputs[0]))
        if code not in self._codes:
            self._codes.append(code)
        fields = {
            "OpcodeIndex": self._codes.index(code),
            "Inputs": self._integers(indices),
            "Outputs": self._integers([self._tensor(output)]),
        }
        if kind.options is not None:
            fields["BuiltinOptionsType"] = getattr(self._schema.BuiltinOptions, kind.options)
            fields["BuiltinOptions"] = self._options(kind.options, op.attributes)
        return self._table("Operator", **fields)

    def _options(self, name: str, attributes: Attributes) -> int:
        def make() -> int:
            table = getattr(self._schema, f"{name}T")()
            for field, value in _options_of(attributes).items():
                if not hasattr(table, field):
                    raise AttributeError(f"{name} has no field {field}")
                setattr(table, field, value)
            return int(table.Pack(self._builder))

        return self._once((name, attributes), make)

    def _operator_code(self, builtin: str, version: int) -> int:
        code = getattr(self._schema.BuiltinOperator, builtin)
        # Files from before operator 127 hold the code in one byte; readers take the larger of both.
        return self._table("OperatorCode", DeprecatedBuiltinCode=min(code, 127), Version=version, BuiltinCode=code)


def _kind_of_constant(tensor: Tensor) -> str:
    if tensor.quantization is None and tensor.dtype == "int32":
        return "other_constants"
    return "biases" if len(tensor.shape) == 1 else "weights"


def _version(op: Op, kind: _Kind, x: Tensor) -> int:
    if isinstance(op.attributes, Transpose) and len(x.shape) > 4:
        return _TRANSPOSE_VERSION_ABOVE_RANK_4
    return kind.int8_version if x.dtype == "int8" else kind.float_version


def _extra_input(attributes: Attributes, output: Tensor) -> Array | None:
    """What TFLite takes as an int32 tensor and the graph as an attribute or from the output's shape."""
    match attributes:
        case Mean(axes=axes) | ReduceMax(axes=axes):
            return np.array(axes)
        case ArgMax():
            return np.array(len(output.shape))
        case Reshape():
            return np.array(output.shape)
        case Transpose(permutation=order):
            return np.array(order)
        case Pad(amounts=amounts):
            return np.array(amounts)
        case ResizeBilinear() | ResizeNearest():
            return np.array(output.shape[1:3])
        case _:
            return None


def _options_of(attributes: Attributes) -> dict[str, object]:
    """Fields of the options table, by the schema's names."""
    a = attributes
    fields: dict[str, object] = {}
    if isinstance(a, Conv2D | DepthwiseConv2D):
        fields |= {"dilationHFactor": a.dilation[0], "dilationWFactor": a.dilation[1]}
    if isinstance(a, Conv2D | DepthwiseConv2D | MaxPool2D | AveragePool2D):
        fields |= {"padding": _PADDINGS[a.padding], "strideH": a.stride[0], "strideW": a.stride[1]}
    if isinstance(a, MaxPool2D | AveragePool2D):
        fields |= {"filterHeight": a.size[0], "filterWidth": a.size[1]}
    if isinstance(a, DepthwiseConv2D):
        fields["depthMultiplier"] = a.multiplier
    activation = getattr(a, "activation", None)
    if activation is not None:
        fields["fusedActivationFunction"] = _ACTIVATIONS[activation]
    match a:
        case Mean(keep_dims=keep) | ReduceMax(keep_dims=keep):
            fields["keepDims"] = keep
        case BatchMatMul(adj_x=adj_x, adj_y=adj_y):
            fields |= {"adjX": adj_x, "adjY": adj_y}
        case ResizeBilinear(align_corners=align):
            fields |= {"alignCorners": align, "halfPixelCenters": not align}
        case ArgMax():
            fields["outputType"] = _INT32
        case _ if a.kind == "softmax":
            fields["beta"] = 1.0
        case _ if a.kind == "concat":
            fields["axis"] = a.axis  # type: ignore[union-attr]
    return fields
