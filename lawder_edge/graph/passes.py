"""From one graph to an equal, simpler one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from lawder_edge.graph.ir import (
    Activation,
    Add,
    BatchMatMul,
    Conv2D,
    DepthwiseConv2D,
    Graph,
    Mul,
    Op,
    Quantization,
    Relu,
    Relu6,
    Reshape,
    Sub,
    Tensor,
    Transpose,
)


def simplify(graph: Graph) -> Graph:
    """All passes, in the order in which they prepare each other."""
    passes: tuple[Callable[[Graph], Graph], ...] = (
        remove_reshapes,
        fuse_activations,
        fold_factors,
        rescale_by_product,
        remove_dead,
    )
    for one in passes:
        graph = one(graph)
    return graph


def fuse_activations(graph: Graph) -> Graph:
    """relu and relu6 become part of the convolution, sum or product that alone feeds them.

    Not where that has a scale of its own: its rounding and saturation would go missing.
    """
    edit = _Edit(graph)
    for op in graph.ops:
        if not isinstance(op.attributes, Relu | Relu6):
            continue
        maker = edit.only_maker(op.inputs[0])
        if maker is None or edit.tensors[op.inputs[0]].quantization is not None:
            continue
        attributes = maker.attributes
        if isinstance(attributes, Conv2D | DepthwiseConv2D | Add | Sub | Mul) and attributes.activation == "none":
            activation: Activation = "relu" if isinstance(op.attributes, Relu) else "relu6"
            edit.put(replace(maker, attributes=replace(attributes, activation=activation), outputs=op.outputs))
            edit.remove(maker, op)
    return edit.graph()


def fold_factors(graph: Graph) -> Graph:
    """A product with a constant number right after a convolution or a matrix product becomes part of the weights.

    After a matrix product, of the weights of the convolution that alone makes one of its operands. In integers the
    weights' scales change and the integers stay. Where there is no such convolution the product stays; the tensor
    between gets the scale that leaves it nothing to do.
    """
    edit = _Edit(graph)
    for op in graph.ops:
        if not isinstance(op.attributes, Mul):
            continue
        factor, value = edit.constant_factor(op)
        maker = edit.only_maker(value)
        if factor is None or factor == 0 or maker is None or edit.tensors[value].quantization is not None:
            continue
        output = edit.tensors[op.outputs[0]]
        if isinstance(maker.attributes, Conv2D | DepthwiseConv2D) and maker.attributes.activation == "none":
            attributes = replace(maker.attributes, activation=op.attributes.activation)
            edit.put(replace(edit.scaled(maker, factor), attributes=attributes, outputs=op.outputs))
            edit.remove(maker, op)
        elif isinstance(maker.attributes, BatchMatMul):
            chain = _chain_to_convolution(edit, maker, factor) if op.attributes.activation == "none" else None
            if chain is not None:
                for moved in chain[1:]:
                    edit.scale_output(moved, factor)
                edit.put(edit.scaled(chain[0], factor), at=chain[0])
                edit.scale_output(chain[0], factor)
                edit.put(replace(maker, outputs=op.outputs))
                edit.remove(maker, op)
            elif output.quantization is not None:
                # -1 - z: the negated range, as -128 mirrors to 127.
                zero_point = output.zero_point if factor > 0 else -1 - output.zero_point
                between = Quantization.of(output.scale / abs(factor), zero_point)
                edit.tensors[value] = replace(edit.tensors[value], dtype="int8", quantization=between)
                number = next(edit.tensors[n] for n in op.inputs if n != value)
                edit.tensors[number.name] = _one_step(number, factor)
    return edit.graph()


def rescale_by_product(graph: Graph) -> Graph:
    """An int8 relu6 that changes the scale becomes a product with 1, clamped: TFLM's kernel clamps and no more."""
    edit = _Edit(graph)
    for op in graph.ops:
        x, y = edit.tensors[op.inputs[0]], edit.tensors[op.outputs[0]]
        if isinstance(op.attributes, Relu6) and y.dtype == "int8" and x.quantization != y.quantization:
            one = _one_step(Tensor(edit.new_name("one"), (1,) * len(x.shape), "int8"), 1)
            edit.tensors[one.name] = one
            edit.put(Op(Mul("relu6"), (x.name, one.name), op.outputs, op.source), at=op)
    return edit.graph()


def remove_reshapes(graph: Graph) -> Graph:
    """A reshape of a reshape takes the first one's input; one that changes nothing goes."""
    edit = _Edit(graph)
    for op in list(graph.ops):
        op = edit.current(op)
        if not isinstance(op.attributes, Reshape):
            continue
        maker = edit.maker(op.inputs[0])
        if maker is not None and isinstance(maker.attributes, Reshape):
            op = edit.put(replace(op, inputs=maker.inputs), at=op)
        x, y = edit.tensors[op.inputs[0]], edit.tensors[op.outputs[0]]
        if x.shape == y.shape and x.quantization == y.quantization and y.name not in graph.outputs:
            edit.remove(op)
            edit.rename_input(y.name, x.name)
            edit.tensors[x.name] = replace(x, origin=x.origin or y.origin)
    return remove_dead(edit.graph())


def remove_dead(graph: Graph) -> Graph:
    """Operators and tensors that no output needs go. Inputs stay."""
    needed = set(graph.outputs)
    kept: list[Op] = []
    for op in reversed(graph.ops):
        if needed & set(op.outputs):
            needed |= set(op.inputs)
            kept.append(op)
    needed |= set(graph.inputs)
    return replace(graph, ops=tuple(reversed(kept)), tensors=tuple(t for t in graph.tensors if t.name in needed))


def _chain_to_convolution(edit: _Edit, product: Op, factor: float) -> list[Op] | None:
    """The convolution, then the reshapes, that alone make one operand of a product and can take a factor, or None."""
    for name in reversed(product.inputs):
        chain: list[Op] = []
        maker = edit.only_maker(name)
        while maker is not None and isinstance(maker.attributes, Reshape | Transpose):
            chain.insert(0, maker)
            maker = edit.only_maker(maker.inputs[0])
        if maker is not None and isinstance(maker.attributes, Conv2D | DepthwiseConv2D):
            makers = [maker, *chain]
            # Integers of a negated asymmetric tensor would not fit its zero point.
            exact = factor > 0 or all(edit.tensors[op.outputs[0]].quantization is None for op in makers)
            if exact and maker.attributes.activation == "none":
                return makers
    return None


class _Edit:
    """A graph under change. Operators keep their places: one that is put without a place takes its output's maker's."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self.tensors = {t.name: t for t in graph.tensors}
        self._ops: list[Op | None] = list(graph.ops)
        self._place = {name: i for i, op in enumerate(graph.ops) for name in op.outputs}
        self._uses = Counter(name for op in graph.ops for name in op.inputs)
        self._uses.update(graph.outputs)

    def graph(self) -> Graph:
        ops = tuple(op for op in self._ops if op is not None)
        return remove_dead(replace(self._graph, tensors=tuple(self.tensors.values()), ops=ops))

    def maker(self, name: str) -> Op | None:
        """The operator that computes a tensor."""
        place = self._place.get(name)
        return None if place is None else self._ops[place]

    def only_maker(self, name: str) -> Op | None:
        """As `maker`, None where the tensor is used more than once or is an output."""
        return self.maker(name) if self._uses[name] == 1 and name not in self._graph.outputs else None

    def current(self, op: Op) -> Op:
        """What stands in an operator's place now."""
        return self.maker(op.outputs[0]) or op

    def put(self, op: Op, *, at: Op | None = None) -> Op:
        place = self._place[(at or op).outputs[0]]
        self._ops[place] = op
        self._place[op.outputs[0]] = place
        return op

    def remove(self, *ops: Op) -> None:
        """Take operators out; a place where by now another one stands is left alone."""
        for op in ops:
            place = self._place[op.outputs[0]]
            if self._ops[place] == op:
                self._ops[place] = None

    def rename_input(self, old: str, new: str) -> None:
        for i, op in enumerate(self._ops):
            if op is not None and old in op.inputs:
                self._ops[i] = replace(op, inputs=tuple(new if n == old else n for n in op.inputs))
        self._uses[new] += self._uses.pop(old) - 1

    def new_name(self, stem: str) -> str:
        n = 0
        while f"{stem}{n}" in self.tensors:
            n += 1
        return f"{stem}{n}"

    def constant_factor(self, op: Op) -> tuple[float | None, str]:
        """The number that a product multiplies by, or None, and the other operand."""
        for number, value in (op.inputs, op.inputs[::-1]):
            tensor = self.tensors[number]
            if tensor.data is not None and tensor.size == 1:
                q = float(tensor.data.reshape(-1)[0])
                return (q if tensor.quantization is None else (q - tensor.zero_point) * tensor.scale), value
        return None, op.inputs[0]

    def scaled(self, conv: Op, factor: float) -> Op:
        """The convolution whose result is `factor` times that of `conv`: with constants of its own."""
        names = [conv.inputs[0]]
        for name in conv.inputs[1:]:
            tensor = self.tensors[name]
            new = replace(_times(tensor, factor), name=self.new_name(name + "x"))
            self.tensors[new.name] = new
            names.append(new.name)
        return replace(conv, inputs=tuple(names))

    def scale_output(self, op: Op, factor: float) -> None:
        """Note that an operator's result has become `factor` times what it was; its integers have not changed."""
        tensor = self.tensors[op.outputs[0]]
        if tensor.quantization is not None:
            scale = tensor.scale * abs(factor)
            self.tensors[tensor.name] = replace(tensor, quantization=Quantization.of(scale, tensor.zero_point))


def _one_step(tensor: Tensor, number: float) -> Tensor:
    """A constant number as int8: one step, of a scale of its size."""
    data = np.full(tensor.shape, np.sign(number), np.int8)
    return replace(tensor, dtype="int8", quantization=Quantization.of(abs(number)), data=data)


def _times(tensor: Tensor, factor: float) -> Tensor:
    """A constant times a number. Of integers the scale changes, and the sign."""
    data, q = np.asarray(tensor.data), tensor.quantization
    if q is None:
        return replace(tensor, data=(data * np.float32(factor)).astype(data.dtype))
    scales = tuple(float(np.float32(s * abs(factor))) for s in q.scale)
    data = data if factor > 0 else -data
    return replace(tensor, data=data, quantization=replace(q, scale=scales))
