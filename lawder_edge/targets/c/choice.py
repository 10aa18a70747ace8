"""Which operators are computed row by row, where such runs end, which resizes are computed twice, and which
concatenations are operators: whatever takes the least memory, or the least work in a budget. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from lawder_edge.graph.ir import Concat, Graph
from lawder_edge.targets.c.budget import Need
from lawder_edge.targets.c.fuse import fused
from lawder_edge.targets.c.plan import FrameRows, Plan, frame_rows, plan
from lawder_edge.targets.c.repeat import repeated, repeats
from lawder_edge.targets.c.stream import MAX_STAGES, Stream, stage_of, stream_of, streams
from lawder_edge.targets.c.work import extra_instructions, handing_over

# Places for a cut that are tried because they keep little more; beside 6 to 15 waists of a network.
_CHEAP = 8


@dataclass(frozen=True)
class Choice:
    """graph: as it is computed, `streams` of it row by row. rows: what is added to `memory` where picture and mask are
    handed over row by row. instructions: `extra_instructions` of it.
    """

    graph: Graph
    streams: tuple[Stream, ...]
    memory: Plan
    rows: FrameRows
    instructions: int

    @classmethod
    def of(cls, graph: Graph, streams: tuple[Stream, ...], *, outside: frozenset[str]) -> Choice:
        memory = plan(graph, outside=outside, streams=streams)
        return cls(graph, streams, memory, frame_rows(graph, memory, streams), extra_instructions(graph, streams))

    @property
    def bytes(self) -> tuple[int, int]:
        """Of the arena, alone and with rows of picture and logits."""
        return self.memory.arena_bytes, self.rows.arena_bytes

    def need(self, frame_bytes: int) -> Need:
        return Need(self.memory.arena_bytes, frame_bytes, self.rows.arena_bytes)


def smallest(graph: Graph, *, outside: frozenset[str] = frozenset()) -> Choice:
    """Of the plans that are tried the one of the smallest arena. graph: before `fused`.

    Concatenations that cost no memory are operators: a window over one tensor is gathered in fewer pieces.
    """
    return _with_concatenations(*_repeating(graph, outside)[-1], outside)


def within(graph: Graph, ram_bytes: int, *, frame_bytes: int, outside: frozenset[str] = frozenset()) -> Choice:
    """Of the plans that fit the budget, with picture and mask in memory or row by row, the one of the least work.

    Starting from the smallest one, and from the smallest ones of fewer resizes computed twice, what saves work for the
    fewest bytes is done first. The plans on the way are the same for every budget, so that a larger one never gives
    more work. Where none fits, the one that needs least.
    """
    tried: list[Choice] = []
    for repeating, folded in _repeating(graph, outside):
        steps = [_with_concatenations(repeating, folded, outside)]
        while steps:
            tried += steps
            best = min(steps, key=lambda c: (c.need(frame_bytes).least_bytes, c.instructions))
            steps = [*_steps(repeating, best, outside)]

    def work(choice: Choice) -> tuple[int, tuple[int, int]]:
        return choice.instructions + handing_over(choice.need(frame_bytes), ram_bytes), choice.bytes

    fitting = [c for c in tried if c.need(frame_bytes).least_bytes <= ram_bytes]
    return min(fitting, key=work) if fitting else min(tried, key=lambda c: c.need(frame_bytes).least_bytes)


def _repeating(graph: Graph, outside: frozenset[str]) -> list[tuple[Graph, Choice]]:
    """The graph, then each time with one resize more computed twice, as that makes memory smaller; and of each the plan
    with as few operators as can be."""

    def folded(graph: Graph) -> tuple[Graph, Choice]:
        alone = fused(graph)
        return graph, Choice.of(alone, needed_streams(alone, outside=outside), outside=outside)

    found = [folded(graph)]
    for at in repeats(graph):
        last = found[-1]
        more = folded(repeated(last[0], at))
        if _is_no_larger(more[1], last[1]) and more[1].bytes != last[1].bytes:
            found.append(more)
    return found


def _with_concatenations(graph: Graph, found: Choice, outside: frozenset[str]) -> Choice:
    """With those as operators that cost no memory."""
    for name in _taken(graph, found):
        more = _joined(graph, found, name, outside)
        if more is not None and _is_no_larger(more, found):
            found = more
    return found


def _is_no_larger(one: Choice, other: Choice) -> bool:
    return all(a <= b for a, b in zip(one.bytes, other.bytes, strict=True))


def _steps(graph: Graph, at: Choice, outside: frozenset[str]) -> Iterator[Choice]:
    """What takes less work: one concatenation more as an operator, or one run less row by row."""
    for name in _taken(graph, at):
        more = _joined(graph, at, name, outside)
        if more is not None:
            yield more
    for stream in at.streams:
        yield Choice.of(at.graph, tuple(s for s in at.streams if s is not stream), outside=outside)


def _taken(graph: Graph, at: Choice) -> list[str]:
    """Concatenations that are no operators."""
    there = {op.outputs[0] for op in at.graph.ops}
    return [op.outputs[0] for op in graph.ops if isinstance(op.attributes, Concat) and op.outputs[0] not in there]


def _joined(graph: Graph, at: Choice, name: str, outside: frozenset[str]) -> Choice | None:
    """With one concatenation more as an operator, of the run that begins after it or that it stands in. None where that
    run cannot take it, or where it is no less work.
    """
    taken = {*_taken(graph, at)} - {name}
    more = fused(graph, joined=frozenset(t.name for t in graph.tensors) - taken)
    number = {op.outputs[0]: i for i, op in enumerate(more.ops)}
    runs: list[Stream] = []
    for run in at.streams:
        first, last = number[run.stages[0].output], number[run.stages[-1].output]
        first -= int(number[name] == first - 1)
        stages = [s for op in more.ops[first : last + 1] if (s := stage_of(op, more)) is not None]
        if len(stages) <= last - first or len(stages) > MAX_STAGES:
            return None
        runs.append(stream_of(more, first, stages))
    found = Choice.of(more, tuple(runs), outside=outside)
    return found if found.instructions < at.instructions else None


def needed_streams(graph: Graph, *, outside: frozenset[str] = frozenset()) -> tuple[Stream, ...]:
    """Runs that can be computed row by row, cut where that makes memory smaller, without those that save none.

    Memory is the arena, with the rows of picture and logits where a program gives and takes them one by one. A run that
    is cut keeps what crosses the cut whole, and only the line buffers of one part at a time; whether that is less
    depends on how far the windows of the whole run reach. Runs that save nothing cost tables and time, and are left
    out one by one, the smallest first.
    """

    def cost(runs: tuple[Stream, ...]) -> tuple[int, int]:
        memory = plan(graph, outside=outside, streams=runs)
        return memory.arena_bytes, frame_rows(graph, memory, runs).arena_bytes

    kept = streams(graph)
    least = cost(kept)
    tried: dict[tuple[int, int, int], tuple[Stream, ...]] = {}
    is_smaller = True
    while is_smaller:
        options = []
        # Only a run that needs most of all can be cut for less.
        alive = plan(graph, outside=outside, streams=kept).alive_bytes
        highest = [i for i, run in enumerate(kept) if alive[run.first] == max(alive)]
        for i, at in [(number, at) for number in highest for at in _places(graph, kept[number])]:
            key = (kept[i].first, kept[i].last, at)
            if key not in tried:
                tried[key] = _halves(graph, kept[i], at)
            runs = (*kept[:i], *tried[key], *kept[i + 1 :])
            options.append((cost(runs), at, runs))
        best = min(options, key=lambda option: option[:2], default=None)
        is_smaller = best is not None and best[0] < least
        if best is not None and is_smaller:
            least, _, kept = best
    for stream in sorted(kept, key=lambda s: sum(graph.tensor(stage.output).size for stage in s.stages)):
        fewer = tuple(s for s in kept if s is not stream)
        found = cost(fewer)
        if all(a <= b for a, b in zip(found, least, strict=True)):
            kept = fewer
    return kept


def _places(graph: Graph, run: Stream) -> list[int]:
    """Operators before which a run may be cut: where no more bytes cross than at both neighbours, and the `_CHEAP` ones
    at which the fewest bytes are kept on top of those that are kept anyway."""
    last_read = {x: i for i, stage in enumerate(run.stages) for x in stage.inputs}
    bytes_across: list[int] = []
    bytes_more: list[tuple[int, int]] = []
    for at in range(1, len(run.stages)):
        crossing = [graph.tensor(s.output) for s in run.stages[:at] if last_read.get(s.output, 0) >= at]
        kept = [t.size // t.shape[1] * run.rings[t.name] for t in crossing]
        bytes_across.append(sum(t.size for t in crossing))
        bytes_more.append((bytes_across[-1] - sum(kept), at))
    before, after = [*bytes_across[:1], *bytes_across[:-1]], [*bytes_across[1:], *bytes_across[-1:]]
    waists = {i + 1 for i, here in enumerate(bytes_across) if before[i] >= here <= after[i]}
    return [run.first + at for at in sorted(waists | {at for _, at in sorted(bytes_more)[:_CHEAP]})]


def _halves(graph: Graph, run: Stream, at: int) -> tuple[Stream, ...]:
    """A part of one operator is none: it is computed whole."""
    parts = ((run.first, run.stages[: at - run.first]), (at, run.stages[at - run.first :]))
    return tuple(stream_of(graph, first, [*stages]) for first, stages in parts if len(stages) > 1)
