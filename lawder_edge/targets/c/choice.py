"""Which runs of operators are computed row by row, and where they end: whatever takes the least memory. Pure."""

from __future__ import annotations

from lawder_edge.graph.ir import Graph
from lawder_edge.targets.c.plan import frame_rows, plan
from lawder_edge.targets.c.stream import Stream, stream_of, streams

# Places for a cut that are tried because they keep little more; beside 6 to 15 waists of a network.
_CHEAP = 8


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
