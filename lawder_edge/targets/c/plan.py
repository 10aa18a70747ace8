"""Where each tensor lies in the arena: offsets by lifetime, with as few copies as the operators allow. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lawder_edge.graph.ir import Add, DepthwiseConv2D, Graph, Logistic, Mul, Op, Relu, Relu6, Reshape, Softmax, Sub
from lawder_edge.targets.c.stream import Stream, lag, rows_kept

# Bytes: what a 128-bit load wants. LW_ARENA_ALIGNMENT in lawder_kernels.h.
ALIGNMENT = 16


@dataclass(frozen=True)
class Buffer:
    """Bytes that are needed from operator `first` to operator `last`, both included.

    busy: of rows that one stream, these operators, keeps: bit i is set where they are needed at its step i; None: at
    every one.
    """

    name: str
    size_bytes: int
    first: int
    last: int
    busy: int | None = None

    def meets(self, other: Buffer) -> bool:
        """Whether both are needed at some operator, or step of a stream."""
        at_one = self.first <= other.last and other.first <= self.last
        return at_one and (self.busy is None or other.busy is None or self.busy & other.busy != 0)


@dataclass(frozen=True)
class Plan:
    """offsets: of each tensor in the arena, in bytes; tensors that share memory have the same. arena_bytes: all of it.

    bound_bytes: the most that is alive at one operator, which no placement can go below. alive_bytes: at each operator.
    """

    offsets: Mapping[str, int]
    arena_bytes: int
    bound_bytes: int
    alive_bytes: tuple[int, ...]


def plan(graph: Graph, *, outside: frozenset[str] = frozenset(), streams: Sequence[Stream] = ()) -> Plan:
    """outside: tensors whose memory is the caller's: they get no offset. Constants get none either.

    streams: runs that are computed row by row: all that they touch is needed from their first operator to their last.
    """
    apart = _homes(graph, outside, streams)
    return min(
        (_placed(graph, home, streams) for home in (_overlaid(graph, apart, streams), apart)),
        key=lambda found: found.arena_bytes,
    )


@dataclass(frozen=True)
class FrameRows:
    """Where picture and logits lie while a program gives and takes them row by row: after the arena, row r at r % rows.

    picture_offset, logits_offset: in bytes. picture_rows, logits_rows: kept there, all of them where no stream reads or
    makes them alone. arena_bytes: with what they take.
    """

    picture_offset: int
    picture_rows: int
    logits_offset: int
    logits_rows: int
    arena_bytes: int


def frame_rows(graph: Graph, memory: Plan, streams: Sequence[Stream]) -> FrameRows:
    """memory: of the same graph and streams."""
    picture, logits = graph.tensor(graph.inputs[0]), graph.tensor(graph.outputs[0])
    arena_bytes = memory.arena_bytes
    found: list[tuple[int, int]] = []
    for tensor, rows in ((picture, _picture_rows(graph, memory, streams)), (logits, _logits_rows(graph, streams))):
        if rows == tensor.shape[1] and tensor.name in memory.offsets:
            found.append((memory.offsets[tensor.name], rows))
        else:
            found.append((arena_bytes, rows))
            arena_bytes += _aligned(tensor.size // tensor.shape[1] * rows)
    return FrameRows(*found[0], *found[1], arena_bytes)


def _picture_rows(graph: Graph, memory: Plan, streams: Sequence[Stream]) -> int:
    name = graph.inputs[0]
    readers = {i for i, op in enumerate(graph.ops) if name in op.inputs}
    alone = [s for s in streams if readers <= {*range(s.first, s.last + 1)}]
    return rows_kept(alone[0], name) if alone and name not in memory.offsets else graph.tensor(name).shape[1]


def _logits_rows(graph: Graph, streams: Sequence[Stream]) -> int:
    name = graph.outputs[0]
    makers = [i for i, op in enumerate(graph.ops) if name in op.outputs]
    is_streamed = any(s.first <= i <= s.last for s in streams for i in makers) and not [*graph.users(name)]
    return 1 if is_streamed else graph.tensor(name).shape[1]


@dataclass(frozen=True)
class _Home:
    """Whose memory a tensor takes, itself where it has its own, and how many bytes after its start."""

    root: str
    shift: int = 0


def _placed(graph: Graph, home: Mapping[str, _Home], streams: Sequence[Stream]) -> Plan:
    buffers = _buffers(graph, home, streams)
    offsets, arena_bytes = place(buffers)
    found = {name: offsets[at.root] + at.shift for name, at in home.items()}
    # What a stream needs, it needs from its first operator to its last.
    start = {i: s.first for s in streams for i in range(s.first, s.last + 1)}
    alive: list[int] = []
    for i in range(len(graph.ops)):
        alive.append(alive[start[i]] if start.get(i, i) < i else alive_at(buffers, i))
    return Plan(found, arena_bytes, max(alive, default=0), tuple(alive))


def place(buffers: Sequence[Buffer]) -> tuple[dict[str, int], int]:
    """Offsets in bytes, multiples of `ALIGNMENT`, at which no two buffers that meet overlap, and the sum of it all.

    First fit, largest first; where that leaves holes, the best of that, longest first, and first needed first.
    """
    orders = (
        sorted(buffers, key=lambda b: (-b.size_bytes, b.first, b.name)),
        sorted(buffers, key=lambda b: (b.first - b.last, -b.size_bytes, b.name)),
        sorted(buffers, key=lambda b: (b.first, -b.size_bytes, b.name)),
    )
    return min((_first_fit(order) for order in orders), key=lambda found: found[1])


def alive_at(buffers: Sequence[Buffer], operator: int) -> int:
    """Bytes needed at an operator, at the step of a stream that needs most."""
    there = [b for b in buffers if b.first <= operator <= b.last]
    always = sum(_aligned(b.size_bytes) for b in there if b.busy is None)
    rows = [(_aligned(b.size_bytes), b.busy) for b in there if b.busy is not None]
    length = max((busy.bit_length() for _, busy in rows), default=0) // 8 + 1
    steps = np.zeros(8 * length, np.int64)
    for size_bytes, busy in rows:
        bits = np.frombuffer(busy.to_bytes(length, "little"), np.uint8)
        steps += size_bytes * np.unpackbits(bits, bitorder="little").astype(np.int64)
    return always + int(steps.max())


def writes_in_place(op: Op, graph: Graph) -> tuple[str, ...]:
    """The inputs of an operator whose memory its output may take, because element i is read before it is written."""
    output = graph.tensor(op.outputs[0])
    match op.attributes:
        case Add() | Sub() | Mul() | Relu() | Relu6() | Logistic() | Softmax():
            candidates = op.inputs
        case DepthwiseConv2D(stride=(1, 1), multiplier=1) if graph.tensor(op.inputs[-2]).shape[1:3] == (1, 1):
            candidates = op.inputs[:1]
        case _:
            return ()
    tensors = graph.of(candidates)
    # An operand that is repeated would be overwritten while it is still read.
    return tuple(t.name for t in tensors if t.data is None and t.size == output.size)


def _first_fit(order: Sequence[Buffer]) -> tuple[dict[str, int], int]:
    offsets: dict[str, int] = {}
    placed: list[Buffer] = []
    for buffer in order:
        at = 0
        for other in sorted((b for b in placed if b.meets(buffer)), key=lambda b: offsets[b.name]):
            if offsets[other.name] - at >= _aligned(buffer.size_bytes):
                break
            at = max(at, offsets[other.name] + _aligned(other.size_bytes))
        offsets[buffer.name] = at
        placed.append(buffer)
    return offsets, max((offsets[b.name] + _aligned(b.size_bytes) for b in order), default=0)


def _aligned(size_bytes: int) -> int:
    return -(-size_bytes // ALIGNMENT) * ALIGNMENT


def _homes(graph: Graph, outside: frozenset[str], streams: Sequence[Stream]) -> dict[str, _Home]:
    """Tensors that need no memory of their own take that of an operand, element for element."""
    stream_at = {i: s for s in streams for i in range(s.first, s.last + 1)}
    last_use = {name: i for i, op in enumerate(graph.ops) for name in op.inputs}
    last_use |= {name: len(graph.ops) for name in graph.outputs}
    home = {name: name for name in graph.inputs if name not in outside}
    # Of each home, the last operator that reads any tensor in it so far.
    busy = {name: last_use.get(name, 0) for name in home}
    for i, op in enumerate(graph.ops):
        name = op.outputs[0]
        if name in outside:
            continue
        if i in stream_at:
            shared = _shared_rows(op, graph, stream_at[i])
        else:
            shared = tuple(x for x in _shared_inputs(op, graph) if x in home and _is_free(op, busy[home[x]], i))
        taken = next((home[x] for x in shared if x in home), name)
        home[name] = taken
        busy[taken] = max(busy.get(taken, i), last_use.get(name, i))
    return {name: _Home(root) for name, root in home.items()}


def _overlaid(graph: Graph, home: Mapping[str, _Home], streams: Sequence[Stream]) -> dict[str, _Home]:
    """What a stream writes row by row over a tensor of the same size that nobody reads after it.

    The new tensor lies before the old one by as many rows as it would otherwise run ahead of what is still read.
    """
    made = dict(home)
    alone = {root for root, count in Counter(at.root for at in home.values()).items() if count == 1}
    last_use = {name: i for i, op in enumerate(graph.ops) for name in op.inputs} | {
        name: len(graph.ops) for name in graph.outputs
    }
    for stream in streams:
        read = dict.fromkeys(x for stage in stream.stages for x in stage.inputs)
        dying = [x for x in read if x in alone and x not in stream.rings and last_use[x] <= stream.last]
        for new in (stage.output for stage in stream.stages):
            if new not in stream.whole or new not in alone:
                continue
            shape = graph.tensor(new).shape
            old = next((x for x in dying if graph.tensor(x).shape == shape), None)
            if old is None:
                continue
            ahead = lag(graph, stream, old=old, new=new) * (graph.tensor(new).size // shape[1])
            made[new], made[old] = _Home(old), _Home(old, _aligned(ahead))
            dying.remove(old)
            alone -= {old, new}
    return made


def _shared_inputs(op: Op, graph: Graph) -> tuple[str, ...]:
    return op.inputs if isinstance(op.attributes, Reshape) else writes_in_place(op, graph)


def _shared_rows(op: Op, graph: Graph, stream: Stream) -> tuple[str, ...]:
    """The inputs of an operator in a stream over whose one kept row its output's one row can be written.

    Nobody else reads that row, and the next one is made only when this operator goes on: after the readers of its own
    output are done with the row before. Of an eager one it is made earlier.
    """
    rings, eager = stream.rings, {s.output for s in stream.stages if s.is_eager}
    if rings[op.outputs[0]] > 1:
        return ()
    lonely = (x for x in writes_in_place(op, graph) if x not in graph.outputs and len([*graph.users(x)]) == 1)
    return tuple(x for x in lonely if rings.get(x) == 1 and x not in eager)


def _is_free(op: Op, last_read: int, at: int) -> bool:
    """A reshape changes nothing, so that its input may be read later on."""
    return isinstance(op.attributes, Reshape) or last_read <= at


def _buffers(graph: Graph, home: Mapping[str, _Home], streams: Sequence[Stream]) -> tuple[Buffer, ...]:
    span = {i: s for s in streams for i in range(s.first, s.last + 1)}
    kept = {name: rows for s in streams for name, rows in s.rings.items()}
    first: dict[str, int] = {}
    last: dict[str, int] = {}
    size: dict[str, int] = {}

    def needed(name: str, at: int) -> None:
        if name in home:
            root = home[name].root
            first[root] = min(first.get(root, at), at)
            last[root] = max(last.get(root, at), at)
            tensor = graph.tensor(name)
            rows = kept.get(name)
            size_bytes = tensor.size if rows is None else tensor.size // tensor.shape[1] * rows
            size[root] = max(size.get(root, 0), size_bytes + home[name].shift)

    for name in graph.inputs:
        needed(name, 0)
    for i, op in enumerate(graph.ops):
        for name in (*op.inputs, *op.outputs):
            for at in (span[i].first, span[i].last) if i in span else (i,):
                needed(name, at)
    for name in graph.outputs:
        needed(name, len(graph.ops))
    busy = _busy(streams, home)
    return tuple(Buffer(root, size[root], first[root], last[root], busy.get(root)) for root in first)


def _busy(streams: Sequence[Stream], home: Mapping[str, _Home]) -> dict[str, int]:
    """`Buffer.busy` of those that hold rows of one stream and nothing else."""
    kept = {name: rows for s in streams for name, rows in s.busy.items() if name in home}
    shared = {at.root for name, at in home.items() if name not in kept}
    found: dict[str, int] = {}
    for name, steps in kept.items():
        root = home[name].root
        if root not in shared:
            found[root] = found.get(root, 0) | steps
    return found
