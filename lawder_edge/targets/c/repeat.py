"""Resizes that are computed twice, so that what waits between readers that stand apart is the small map. Pure.

A resized map of which all rows are kept for a later reader takes four times the bytes of the map that it is made of, or
more. Made again where that reader stands, it is computed row by row both times.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise

from lawder_edge.graph.ir import Graph, ResizeBilinear
from lawder_edge.targets.c.fuse import fused
from lawder_edge.targets.c.stream import stage_of


@dataclass(frozen=True)
class Repeat:
    """tensor: what a resize makes. reader: output of the operator that is the first to read it made again."""

    tensor: str
    reader: str


def repeats(graph: Graph) -> tuple[Repeat, ...]:
    """Of bilinear resizes that enlarge, those whose readers stand apart, the largest first. graph: before `fused`.

    Apart: between two that follow each other stands an operator that cannot be computed row by row.
    """
    made = [op for op in graph.ops if isinstance(op.attributes, ResizeBilinear)]
    larger = [x for op in made if graph.tensor(x := op.outputs[0]).size > graph.tensor(op.inputs[0]).size]
    read_twice = [x for x in larger if x not in graph.outputs and len([*graph.users(x)]) > 1]
    alone = fused(graph) if read_twice else graph
    walls = {op.outputs[0] for op in alone.ops if stage_of(op, alone) is None} if read_twice else set()
    found: list[Repeat] = []
    for name in sorted(read_twice, key=lambda x: -graph.tensor(x).size):
        readers = [i for i, op in enumerate(graph.ops) if name in op.inputs]
        gaps = [(b - a, b) for a, b in pairwise(readers) if any(op.outputs[0] in walls for op in graph.ops[a + 1 : b])]
        if gaps:
            found.append(Repeat(name, graph.ops[max(gaps)[1]].outputs[0]))
    return tuple(found)


def repeated(graph: Graph, at: Repeat) -> Graph:
    """The same values: from `at.reader` on a second resize just before it is read, of a tensor NAME.again."""
    first = next(i for i, op in enumerate(graph.ops) if at.reader in op.outputs)
    resize = next(op for op in graph.ops if at.tensor in op.outputs)
    again = replace(graph.tensor(at.tensor), name=f"{at.tensor}.again")
    later = [
        replace(op, inputs=tuple(again.name if x == at.tensor else x for x in op.inputs)) for op in graph.ops[first:]
    ]
    ops = (*graph.ops[:first], replace(resize, outputs=(again.name,)), *later)
    return replace(graph, tensors=(*graph.tensors, again), ops=ops)


def copies(graph: Graph) -> Mapping[str, str]:
    """Of each bilinear resize that an earlier one equals what it makes, and what that one makes."""
    first: dict[tuple[object, ...], str] = {}
    found: dict[str, str] = {}
    for op in graph.ops:
        if isinstance(op.attributes, ResizeBilinear):
            name = op.outputs[0]
            known = first.setdefault((op.attributes, op.inputs, graph.tensor(name).shape), name)
            if known != name:
                found[name] = known
    return found
