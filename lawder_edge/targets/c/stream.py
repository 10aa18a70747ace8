"""Runs of operators that can be computed row by row, and how many rows of each tensor between them have to be kept."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from lawder_edge.graph.geometry import border
from lawder_edge.graph.ir import (
    Add,
    AveragePool2D,
    Concat,
    Conv2D,
    DepthwiseConv2D,
    Graph,
    Logistic,
    MaxPool2D,
    Mul,
    Op,
    ReduceMax,
    Relu,
    Relu6,
    ResizeBilinear,
    Sub,
    Tensor,
)
from lawder_edge.graph.windows import bilinear_sources
from lawder_edge.targets.c.calls import Argument, calls_of
from lawder_edge.targets.c.fuse import window_start
from lawder_edge.targets.c.records import record

# LW_MAX_STAGES in lawder_kernels.h.
MAX_STAGES = 64
_WIDEST_ROW = 2**16 - 1


@dataclass(frozen=True)
class Stage:
    """One operator of a stream. function: lw_stage_..., for rows in memory. params, shape: what it takes.

    inputs: one or two tensors. window, stride, dilation, pad_top: in rows of the first `windowed` inputs; of another
    one the row of the output's number. is_resize: its rows lie where the parameters say. is_eager: rows are computed as
    soon as they can be, since they are narrower than those that they are made of.
    """

    op: Op
    function: str
    params: Argument | None
    shape: Argument | None
    inputs: tuple[str, ...]
    window: int = 1
    stride: int = 1
    dilation: int = 1
    pad_top: int = 0
    is_resize: bool = False
    windowed: int = 1
    is_eager: bool = False

    @property
    def output(self) -> str:
        return self.op.outputs[0]


@dataclass(frozen=True)
class Step:
    """One row of an output, and the first and last row that it reads of each operand."""

    output: str
    row: int
    reads: tuple[tuple[str, int, int], ...]


@dataclass(frozen=True)
class Stream:
    """Operators `first` to `last` of a graph, both included, as one.

    rings: rows kept of each of their outputs. whole: those of them that an operator after the run reads: all rows.
    steps: every row of every stage in the order in which lw_stream computes them.
    """

    first: int
    last: int
    stages: tuple[Stage, ...]
    rings: Mapping[str, int]
    whole: frozenset[str]
    steps: tuple[Step, ...] = field(repr=False)

    @cached_property
    def busy(self) -> Mapping[str, int]:
        """Of each output that is not whole the steps at which a row of it is made, read, or waits to be read: bit i is
        the stream's step i."""
        made: dict[tuple[str, int], int] = {}
        read: dict[tuple[str, int], int] = {}
        for at, step in enumerate(self.steps):
            made[step.output, step.row] = at
            read |= {(x, row): at for x, first, last in step.reads if x in self.rings for row in range(first, last + 1)}
        found = {name: 0 for name in self.rings if name not in self.whole}
        for (name, row), at in made.items():
            if name in found:
                found[name] |= (1 << max(read.get((name, row), at), at) + 1) - (1 << at)
        return found


def streams(graph: Graph) -> tuple[Stream, ...]:
    """Runs of two operators or more that follow each other in the graph and can be computed row by row.

    They end where an operator cannot, where there are too many, and where no tensor crosses that is not whole in any
    case: then what one run keeps makes room for the next one.
    """
    stages = [stage_of(op, graph) for op in graph.ops]
    last_use = {name: i for i, op in enumerate(graph.ops) for name in op.inputs} | {
        n: len(stages) for n in graph.outputs
    }
    found: list[Stream] = []
    first = 0
    while first < len(stages):
        stop = first
        while stop < len(stages) and stages[stop] is not None and stop - first < MAX_STAGES:
            stop += 1
        run = [s for s in stages[first:stop] if s is not None]
        at = first
        for end in (*_free_cuts(run, first, stop, last_use), stop):
            if end - at > 1:
                found.append(stream_of(graph, at, run[at - first : end - first]))
            at = end
        first = max(stop, first + 1)
    return tuple(found)


def _free_cuts(run: list[Stage], first: int, stop: int, last_use: Mapping[str, int]) -> list[int]:
    """Operators before which a run from `first` to `stop` can end: what is made before and read from there on is read
    after the run, too, and therefore whole."""
    made = [(first + i, last_use.get(s.output, 0)) for i, s in enumerate(run)]
    return [at for at in range(first + 1, stop) if not any(start < at <= last < stop for start, last in made)]


def stream_of(graph: Graph, first: int, stages: list[Stage]) -> Stream:
    """Some stages that follow each other from operator `first` on."""
    last = first + len(stages) - 1
    stages = [replace(s, is_eager=_narrows(graph, s, stages)) for s in stages]
    read_later = {name for op in (*graph.ops[:first], *graph.ops[last + 1 :]) for name in op.inputs} | {*graph.outputs}
    steps = tuple(_schedule(graph, stages))
    needed = _rows_needed(steps, stages)
    whole = frozenset(s.output for s in stages) & read_later
    rings = {name: _height(graph, name) if name in whole else rows for name, rows in needed.items()}
    return Stream(first, last, tuple(stages), rings, whole, steps)


def _narrows(graph: Graph, stage: Stage, stages: Sequence[Stage]) -> bool:
    """Whether a stage makes of each row a narrower one, of a tensor that a stage makes and others read, too: if
    it is read much later than by them, its own rows are what should wait."""
    x = stage.inputs[0]
    is_shared = sum(x in s.inputs for s in stages) > 1 and any(s.output == x for s in stages)
    one_row = (stage.window, stage.stride, len(stage.inputs)) == (1, 1, 1) and not stage.is_resize
    return one_row and is_shared and graph.tensor(stage.output).size < graph.tensor(x).size


def stage_of(op: Op, graph: Graph) -> Stage | None:
    """An operator as a stage, None where a row of its output needs more than a few rows of its inputs."""
    tensors = [t for t in graph.of(op.inputs) if t.data is None]
    output = graph.tensor(op.outputs[0])
    if any(len(t.shape) != 4 or t.size // t.shape[1] > _WIDEST_ROW for t in (*tensors, output)):
        return None
    inputs = tuple(t.name for t in tensors)
    match op.attributes:
        case Conv2D() | DepthwiseConv2D() as conv:
            (call,) = calls_of(op, graph)
            size = graph.tensor(op.inputs[-2]).shape[1:3]
            return Stage(
                op, f"lw_stage_{op.kind}", call.arguments[0], None, inputs, size[0], conv.stride[0], conv.dilation[0],
                window_start(conv, tensors[0].shape, size)[0], windowed=len(inputs),
            )  # fmt: skip
        case MaxPool2D() | AveragePool2D() as pool:
            (call,) = calls_of(op, graph)
            top = border(tensors[0].shape[1], pool.size[0], stride=pool.stride[0], padding=pool.padding)[0]
            return Stage(
                op, _name(call.kernel), call.arguments[0], None, inputs, pool.size[0], pool.stride[0], pad_top=top
            )
        case ResizeBilinear():
            (call,) = calls_of(op, graph)
            return Stage(op, _name(call.kernel), call.arguments[0], None, inputs, is_resize=True)
        case Add() | Sub() | Mul() if len(inputs) == 2:
            (call,) = calls_of(op, _one_row(op, graph))
            return Stage(op, _name(call.kernel), call.arguments[0], call.arguments[1], inputs)
        case Relu() | Relu6() | Logistic():
            (call,) = calls_of(op, _one_row(op, graph))
            row = record("lw_reduce_shape", outer=1, count=output.size // output.shape[1], inner=1)
            return Stage(op, _name(call.kernel), call.arguments[0], row, inputs)
        case ReduceMax(axes=(3,), keep_dims=True):
            (call,) = calls_of(op, _one_row(op, graph))
            return Stage(op, _name(call.kernel), None, call.arguments[0], inputs)
        case Concat(axis=3) if len(inputs) == len(op.inputs) == 2:
            a, b = tensors
            pixels = record("lw_reduce_shape", outer=a.shape[2], count=a.shape[3], inner=b.shape[3])
            return Stage(op, "lw_stage_concat", None, pixels, inputs)
        case _:
            return None


def _name(kernel: str) -> str:
    return kernel.replace("lw_", "lw_stage_", 1)


def _one_row(op: Op, graph: Graph) -> Graph:
    """The same operator on tensors of one row."""

    def cut(t: Tensor) -> Tensor:
        return replace(t, shape=(t.shape[0], 1, *t.shape[2:])) if t.data is None else t

    names = (*op.inputs, *op.outputs)
    return Graph(graph.name, tuple(cut(t) for t in graph.tensors if t.name in names), (op,), op.inputs, op.outputs)


def _height(graph: Graph, name: str) -> int:
    return graph.tensor(name).shape[1]


def _rows_needed(steps: Sequence[Step], stages: Sequence[Stage]) -> dict[str, int]:
    """Rows of each stage's output that have to be kept."""
    done = {s.output: 0 for s in stages}
    kept = {s.output: 1 for s in stages}
    for step in steps:
        for name, first, _ in step.reads:
            if name in done:
                kept[name] = max(kept[name], done[name] - first)
        done[step.output] += 1
    return kept


def rows_kept(stream: Stream, name: str) -> int:
    """Rows of a tensor from outside of the stream that have to be kept where each is read when it is needed."""
    read = kept = 0
    for step in stream.steps:
        for x, first, last in step.reads:
            if x == name:
                read = max(read, last + 1)
                kept = max(kept, read - first)
    return kept


def lag(graph: Graph, stream: Stream, *, old: str, new: str) -> int:
    """Rows by which the rows of `new`, an output of the stream, have to lie before those of `old`, a tensor that it
    reads, so that none is written where one is still to be read."""
    most, oldest = 0, _height(graph, old)
    for step in reversed(stream.steps):
        oldest = min((oldest, *(first for name, first, _ in step.reads if name == old)))
        if step.output == new:
            most = max(most, step.row - oldest + 1)
    return most


def _schedule(graph: Graph, stages: Sequence[Stage]) -> Iterator[Step]:
    """What lw_stream does, without its arithmetic."""
    maker = {s.output: i for i, s in enumerate(stages)}
    done = [0] * len(stages)
    reads = [[(x, maker.get(x), _spans(graph, s, i)) for i, x in enumerate(s.inputs)] for s in stages]

    def waits_for(number: int) -> int | None:
        row = done[number]
        for _, made, spans in reads[number]:
            if made is not None and done[made] <= spans[row][1]:
                return made
        return None

    def step_of(number: int) -> Step:
        row = done[number]
        done[number] += 1
        return Step(stages[number].output, row, tuple((x, *spans[row]) for x, _, spans in reads[number]))

    for last in reversed(range(len(stages))):
        while done[last] < _height(graph, stages[last].output):
            number, before = last, waits_for(last)
            while before is not None:
                number, before = before, waits_for(before)
            yield step_of(number)
            for i, stage in enumerate(stages):
                while stage.is_eager and done[i] < _height(graph, stage.output) and waits_for(i) is None:
                    yield step_of(i)


def _spans(graph: Graph, stage: Stage, operand: int) -> list[tuple[int, int]]:
    """Of each row of a stage's output, the first and last row of an operand that it reads."""
    if operand == 0 and stage.is_resize:
        return _resize_rows(graph, stage)
    last = _height(graph, stage.inputs[operand]) - 1
    rows = range(_height(graph, stage.output))
    if operand >= stage.windowed:
        return [(min(row, last), min(row, last)) for row in rows]
    starts = [row * stage.stride - stage.pad_top for row in rows]
    return [(min(max(a, 0), last), min(a + (stage.window - 1) * stage.dilation, last)) for a in starts]


def _resize_rows(graph: Graph, stage: Stage) -> list[tuple[int, int]]:
    """Of each row of a resize's output, the two rows that it lies between."""
    _, lower, upper = bilinear_sources(
        _height(graph, stage.inputs[0]),
        _height(graph, stage.output),
        align_corners=stage.op.attributes == ResizeBilinear(True),
    )
    return [(int(a), int(b)) for a, b in zip(lower, upper, strict=True)]
