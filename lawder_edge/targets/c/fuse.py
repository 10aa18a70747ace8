"""What a convolution does by itself in C: a padding before it, and a concatenation that convolutions alone read. Pure.

Neither is a copy then: windows that reach over the border skip those taps, as zeros would add nothing, and two tensors
are read where they lie, channels of the first before those of the second.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace

from lawder_edge.graph.geometry import border
from lawder_edge.graph.ir import Concat, Conv2D, DepthwiseConv2D, Graph, Op, Pad, Pair, Shape

# LW_MAX_WINDOW_ROWS in lawder_kernels.h.
MAX_WINDOW_ROWS = 32
# What uint8 holds in lw_conv2d_params.
_MOST_BEFORE = 255


@dataclass(frozen=True)
class FusedConv2D(Conv2D):
    """As Conv2D of x, or of two tensors (1, H, W, I1) and (1, H, W, I2) before the weights, I = I1 + I2.

    before: rows above and columns left of the picture that the first window reaches; None: as `padding` has it.
    """

    before: Pair | None = None


@dataclass(frozen=True)
class FusedDepthwiseConv2D(DepthwiseConv2D):
    """As DepthwiseConv2D. before: as of FusedConv2D."""

    before: Pair | None = None


def fused(graph: Graph, *, joined: frozenset[str] = frozenset()) -> Graph:
    """The same values in fewer operators; tensors that are gone from its operators are gone from it.

    joined: outputs of concatenations that stay operators.
    """

    def take(graph: Graph, op: Op, reader: Op) -> Op | None:
        return None if op.outputs[0] in joined else _convolution_concat(graph, op, reader)

    return _without(_without(graph, _convolution_pad), take)


def window_start(attributes: Conv2D | DepthwiseConv2D, shape: Shape, size: Shape) -> Pair:
    """Rows above and columns left of a picture (1, H, W, C) that windows of `size` reach."""
    if isinstance(attributes, FusedConv2D | FusedDepthwiseConv2D) and attributes.before is not None:
        return attributes.before
    top, left = (
        border(n, k, stride=s, padding=attributes.padding, dilation=d)[0]
        for n, k, s, d in zip(shape[1:3], size, attributes.stride, attributes.dilation, strict=True)
    )
    return top, left


_Take = Callable[[Graph, Op, Op], "Op | None"]


def _without(graph: Graph, take: _Take) -> Graph:
    """Leaves out operators that all their readers take. take: (graph, one, a reader) -> what the reader becomes."""
    taken: dict[str, Mapping[int, Op]] = {}
    number = {id(op): i for i, op in enumerate(graph.ops)}
    made = list(graph.ops)
    for op in graph.ops:
        output = op.outputs[0]
        readers = [*graph.users(output)]
        changed = {number[id(r)]: take(graph, op, made[number[id(r)]]) for r in readers}
        if readers and output not in graph.outputs and all(changed.values()):
            taken[output] = {i: r for i, r in changed.items() if r is not None}
            for i, reader in taken[output].items():
                made[i] = reader
    ops = tuple(op for op in made if op.outputs[0] not in taken)
    return replace(graph, ops=ops, tensors=tuple(t for t in graph.tensors if t.name not in taken))


def _convolution_pad(graph: Graph, op: Op, reader: Op) -> Op | None:
    """A padding of rows and columns before a convolution that has none."""
    conv = reader.attributes
    if not isinstance(op.attributes, Pad) or not isinstance(conv, Conv2D | DepthwiseConv2D) or conv.padding != "valid":
        return None
    around = op.attributes.amounts
    before = (around[1][0], around[2][0]) if len(around) == 4 else (0, 0)
    if len(around) != 4 or any(sum(around[i]) for i in (0, 3)) or max(before) > _MOST_BEFORE:
        return None
    kind: type[FusedConv2D] | type[FusedDepthwiseConv2D] = (
        FusedConv2D if isinstance(conv, Conv2D) else FusedDepthwiseConv2D
    )
    values = {f.name: getattr(conv, f.name) for f in fields(conv)} | {"before": before}
    return replace(reader, attributes=kind(**values), inputs=(op.inputs[0], *reader.inputs[1:]))


def _convolution_concat(graph: Graph, op: Op, reader: Op) -> Op | None:
    """A concatenation of two tensors' channels before a dense convolution. A picture's bytes are read by others."""
    conv = reader.attributes
    parts = graph.of(op.inputs)
    if not isinstance(op.attributes, Concat) or not isinstance(conv, Conv2D) or len(parts) != 2:
        return None
    computed = all(t.data is None and t.name not in graph.inputs for t in parts)
    window = graph.tensor(reader.inputs[-2]).shape[1]
    if op.attributes.axis != 3 or len(parts[0].shape) != 4 or not computed or 2 * window > MAX_WINDOW_ROWS:
        return None
    values = {f.name: getattr(conv, f.name) for f in fields(conv)}
    return replace(reader, attributes=FusedConv2D(**values), inputs=(*op.inputs, *reader.inputs[-2:]))
