"""What a plan costs in instructions beyond the arithmetic of its operators, which is the same in every plan. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from lawder_edge.graph.ir import Concat, Conv2D, Graph, Op
from lawder_edge.targets.c.budget import Need
from lawder_edge.targets.c.fuse import window_start
from lawder_edge.targets.c.repeat import copies
from lawder_edge.targets.c.stream import Stream

# Instructions, fitted to counts under qemu of a dense network at 128 pixels a side and one of 7x7 windows over two
# channels at 64, on Cortex-M4 and M55: finding a row's turn and its operands in a stream (340 and 332), a piece more of
# a window that is gathered (38 and 46), a byte that a concatenation copies (3.6 and 2.4; on M55 since it copies with
# vectors .8 to 1.5).
_STREAM_ROW, _PIECE, _BYTE = 340, 40, 3
# A byte that a bilinear resize of 16 channels makes, counted likewise with two of ORDER's at 128 pixels a side called
# twice (27.4 on M4; on M55 with vectors 7.0).
_RESIZED_BYTE = 27
# A byte that a program's own loop copies into or out of a row: load, store, compare, branch.
_HANDED_BYTE = 4


def extra_instructions(graph: Graph, streams: Sequence[Stream]) -> int:
    """Estimated, of one frame.

    A stream looks for its next row before it computes it. A convolution of two tensors gathers each row of a window
    from both: one piece more than of a concatenation, and at the left and right border, where taps are gathered one by
    one, as many more as there are taps. A concatenation that is an operator copies every byte, and a resize that is
    computed twice makes every byte again.
    """
    rows = sum(len(s.steps) for s in streams)
    pieces = sum(_pieces_more(op, graph) for op in graph.ops)
    copied = sum(graph.tensor(op.outputs[0]).size for op in graph.ops if isinstance(op.attributes, Concat))
    resized = sum(graph.tensor(name).size for name in copies(graph))
    return _STREAM_ROW * rows + _PIECE * pieces + _BYTE * copied + _RESIZED_BYTE * resized


def handing_over(need: Need, ram_bytes: int) -> int:
    """Estimated instructions that a program takes to hand over picture and mask row by row, where both do not fit."""
    return 0 if need.whole_bytes <= ram_bytes else _HANDED_BYTE * need.frame_bytes


def _pieces_more(op: Op, graph: Graph) -> int:
    conv = op.attributes
    if not isinstance(conv, Conv2D) or len(op.inputs) < 4:
        return 0
    shape = graph.tensor(op.inputs[0]).shape
    _, height, width, _ = graph.tensor(op.inputs[-2]).shape
    _, out_height, out_width, _ = graph.tensor(op.outputs[0]).shape
    left = window_start(conv, shape, (height, width))[1]
    starts = [column * conv.stride[1] - left for column in range(out_width)]
    inside = sum(conv.dilation[1] == 1 and 0 <= start <= shape[2] - width for start in starts)
    return out_height * height * (inside + (out_width - inside) * width)
