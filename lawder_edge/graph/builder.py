"""A graph while it grows, and values that know how their logical axes are stored."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from lawder_edge.errors import BadInput
from lawder_edge.graph.ir import (
    Array,
    Attributes,
    DType,
    Graph,
    Op,
    Origin,
    Quantization,
    Reshape,
    Shape,
    Tensor,
    Transpose,
)
from lawder_edge.graph.layout import Layout, identity, merged_transpose, same_order, stored
from lawder_edge.graph.validate import SAME_SCALE, describe


@dataclass(frozen=True)
class Value:
    """A tensor of the program: its logical shape, the layout it is stored in, and the tensor of the graph."""

    name: str
    shape: Shape
    layout: Layout


class Builder:
    """Collects tensors and operators. `source` is noted in each operator: the module that is being lowered."""

    def __init__(self) -> None:
        self.source = ""
        self._tensors: dict[str, Tensor] = {}
        self._ops: list[Op] = []
        self._maker: dict[str, Op] = {}
        # Names of tensors whose scale the program states, rather than one taken over from their input.
        self._stated: set[str] = set()

    def tensor(self, value: Value) -> Tensor:
        """The tensor of the graph that a value is stored in, as far as it is known now."""
        return self._tensors[value.name]

    def add_input(self, name: str, shape: Shape, layout: Layout) -> Value:
        """An input of the graph, of logical `shape`, float32 until `state_scale`."""
        self._tensors[name] = Tensor(name, stored(shape, layout), "float32")
        return Value(name, shape, layout)

    def constant(self, data: Array, quantization: Quantization | None = None) -> Value:
        """A constant, stored as it is. data: float32, int8 or int32."""
        name = f"c{len(self._tensors)}"
        data = np.ascontiguousarray(data)
        dtype: DType = "float32" if data.dtype == np.float32 else "int8" if data.dtype == np.int8 else "int32"
        self._tensors[name] = Tensor(name, data.shape, dtype, quantization, data)
        return Value(name, data.shape, identity(data.ndim))

    def op(self, attributes: Attributes, inputs: tuple[Value, ...], shape: Shape, layout: Layout) -> Value:
        """An operator whose result has this logical shape in this layout.

        Its type is float32 until `state_scale`, unless its kernel keeps the scale of its first input.
        """
        name = f"t{len(self._tensors)}"
        first = self.tensor(inputs[0])
        keeps = attributes.kind in SAME_SCALE and first.dtype == "int8"
        self._tensors[name] = Tensor(
            name, stored(shape, layout), "int8" if keeps else "float32", first.quantization if keeps else None
        )
        op = Op(attributes, tuple(v.name for v in inputs), (name,), self.source)
        self._ops.append(op)
        self._maker[name] = op
        return Value(name, shape, layout)

    def state_scale(self, value: Value, quantization: Quantization, *, node: str | None = None) -> None:
        """The program quantises a value so. node: of the program, by name, that gives its integers.

        Raises BadInput where it has been quantised differently.
        """
        tensor = self.tensor(value)
        if value.name in self._stated and tensor.quantization != quantization:
            maker = self._maker.get(value.name)
            where = describe(maker) if maker else f"input {value.name!r}"
            raise BadInput(
                f"{where} is quantised twice: with scale {tensor.scale:.6g}, zero point {tensor.zero_point}, and with "
                f"{quantization.scale[0]:.6g}, {quantization.zero_point[0]}. Give it one quantiser (share the "
                "observer)."
            )
        self._stated.add(value.name)
        origin = tensor.origin or (Origin(node, value.layout) if node else None)
        self._tensors[value.name] = replace(tensor, dtype="int8", quantization=quantization, origin=origin)

    def to_layout(self, value: Value, layout: Layout) -> Value:
        """The same value stored in `layout`: as it is, by a reshape where only axes of length 1 move, or transposed."""
        if value.layout == layout:
            return value
        tensor = self.tensor(value)
        order = tuple(value.layout.index(axis) for axis in layout)
        if tensor.data is not None:
            moved = self.constant(tensor.data.transpose(order), tensor.quantization)
            return Value(moved.name, value.shape, layout)
        if same_order(value.shape, value.layout, layout):
            return self.reshape(value, value.shape, layout)
        lengths, merged = merged_transpose(tensor.shape, order)
        flat = self.reshape(value, lengths, identity(len(lengths)))
        moved = self.op(Transpose(merged), (flat,), tuple(lengths[i] for i in merged), identity(len(lengths)))
        return self.reshape(moved, value.shape, layout)

    def reshape(self, value: Value, shape: Shape, layout: Layout) -> Value:
        """The same elements in the same stored order under another logical shape and layout."""
        if self.tensor(value).data is not None:
            tensor = self.tensor(value)
            data = np.asarray(tensor.data).reshape(stored(shape, layout))
            return Value(self.constant(data, tensor.quantization).name, shape, layout)
        if self.tensor(value).shape == stored(shape, layout):
            return Value(value.name, shape, layout)
        return self.op(Reshape(), (value,), shape, layout)

    def graph(self, name: str, inputs: tuple[Value, ...], outputs: tuple[Value, ...]) -> Graph:
        """All that was collected, as it is: neither simplified nor checked."""
        return Graph(
            name,
            tuple(self._tensors.values()),
            tuple(self._ops),
            tuple(v.name for v in inputs),
            tuple(v.name for v in outputs),
        )
