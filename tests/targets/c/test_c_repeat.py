"""Resizes that are computed twice: where, that nothing else changes, and that memory is what it saves."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
import pytest
from kernel_library import WARNINGS
from networks import ByRows, Compiled, Made, compile_network, pictures, quantized_graph, waiting_graph

from lawder_edge.graph.ir import Add, AveragePool2D, Conv2D, Graph, Logistic, Mean, Mul, ResizeBilinear
from lawder_edge.graph.reference import run, trace
from lawder_edge.graph.validate import validate
from lawder_edge.targets.c.choice import Choice, needed_streams, smallest
from lawder_edge.targets.c.fuse import fused
from lawder_edge.targets.c.repeat import Repeat, copies, repeated, repeats
from lawder_edge.targets.c.work import extra_instructions


def without(graph: Graph) -> Choice:
    """The plan of the graph as it is."""
    alone, outside = fused(graph), outside_of(graph)
    return Choice.of(alone, needed_streams(alone, outside=outside), outside=outside)


def outside_of(graph: Graph) -> frozenset[str]:
    return frozenset({*graph.inputs, *graph.outputs})


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("size", [(16, 12), (20, 8)])
def test_the_second_resize_is_read_after_the_gap_and_the_graph_computes_the_same(
    size: tuple[int, int], align_corners: bool
) -> None:
    graph = waiting_graph(*size, align_corners=align_corners)
    (at,) = repeats(graph)
    assert at == Repeat("t2", "t6")
    found = repeated(graph, at)
    validate(found)
    assert [op.kind for op in found.users("t2")] == ["average_pool2d"]
    assert [op.kind for op in found.users("t2.again")] == ["mul", "add"]
    kinds = [op.outputs[0] for op in found.ops]
    assert kinds[kinds.index("t2.again") + 1] == "t6"
    assert len(kinds) == len(graph.ops) + 1
    for picture in pictures(graph, 3):
        inputs = [(picture ^ 0x80).view(np.int8)[None]]
        np.testing.assert_array_equal(run(found, inputs)[0], run(graph, inputs)[0])
        values = {t.name: value for t, value in trace(found, inputs)}
        np.testing.assert_array_equal(values["t2.again"], values["t2"])
        assert np.unique(values["t2"]).size > 20


def test_a_copy_is_told_with_what_it_copies_and_other_resizes_are_none() -> None:
    graph = waiting_graph(16, 12)
    assert copies(graph) == {}
    assert copies(repeated(graph, *repeats(graph))) == {"t2.again": "t2"}
    m = Made(8, 8)
    a, b = (m.add(ResizeBilinear(corners), "image", shape=(1, 16, 16, 3)) for corners in (False, True))
    c = m.add(ResizeBilinear(), "image", shape=(1, 16, 8, 3))
    assert copies(m.graph(m.add(Add(), m.add(Add(), a, b), m.add(ResizeBilinear(), c, shape=(1, 16, 16, 3))))) == {}


def gated(m: Made, x: str, *, times: int) -> str:
    """Scaled by the sigmoid of its mean, before which nothing can be computed row by row, a few times."""
    for _ in range(times):
        x = m.add(Mul(), x, m.add(Logistic(), m.add(Mean((1, 2)), x)))
    return x


def test_the_widest_gap_is_taken() -> None:
    m = Made(8, 8)
    large = m.add(ResizeBilinear(), m.add(Conv2D(), "image", shape=(4, 1, 1)), shape=(1, 16, 16, 4))
    x = large
    for times in (1, 2, 1):
        x = m.add(Add(), gated(m, m.add(AveragePool2D((1, 1), (1, 1)), x), times=times), large)
    graph = m.graph(m.add(Conv2D(), x, shape=(1, 1, 1)))
    second = [op.outputs[0] for op in graph.users(large) if op.kind == "add"][1]
    assert repeats(graph) == (Repeat(large, second),)


def test_what_does_not_wait_is_not_repeated() -> None:
    def made(resized: tuple[int, ...], *, wall: bool, is_output: bool = False) -> Graph:
        m = Made(8, 8)
        x = m.add(ResizeBilinear(), "image", shape=(1, *resized, 3))
        y = m.add(AveragePool2D((1, 1), (1, 1)), x)
        total = m.add(Add(), gated(m, y, times=int(wall)), x)
        return m.graph(x if is_output else total)

    assert len(repeats(made((16, 16), wall=True))) == 1
    assert repeats(made((16, 16), wall=False)) == ()
    assert repeats(made((16, 16), wall=True, is_output=True)) == ()
    assert repeats(made((8, 8), wall=True)) == ()
    assert repeats(made((4, 4), wall=True)) == ()


def test_the_largest_is_repeated_first() -> None:
    m = Made(8, 8)
    names = []
    x = "image"
    for side in (16, 32):
        names.append(m.add(ResizeBilinear(), x, shape=(1, side, side, 3)))
        x = m.add(Add(), gated(m, m.add(AveragePool2D((1, 1), (1, 1)), names[-1]), times=1), names[-1])
    graph = m.graph(m.add(Conv2D(), x, shape=(1, 1, 1)))
    assert [at.tensor for at in repeats(graph)] == names[::-1]


def test_a_resize_is_computed_twice_where_that_makes_the_arena_smaller_and_nowhere_else() -> None:
    graph = waiting_graph(32, 32)
    found, alone = smallest(graph, outside=outside_of(graph)), without(graph)
    assert copies(found.graph) == {"t2.again": "t2"}
    assert found.memory.arena_bytes < 0.6 * alone.memory.arena_bytes
    assert found.rows.arena_bytes < alone.rows.arena_bytes
    # As much again is needed elsewhere: the map may wait.
    m = Made(32, 32)
    large = m.add(ResizeBilinear(), m.add(Conv2D(), "image", shape=(1, 1, 1)), shape=(1, 64, 64, 1))
    x = m.add(
        Add(),
        gated(m, m.add(AveragePool2D((2, 2), (2, 2)), large), times=1),
        m.add(Conv2D("same", (2, 2)), large, shape=(1, 3, 3)),
    )
    wide = gated(m, m.add(Conv2D(), x, shape=(16, 1, 1)), times=2)
    graph = m.graph(m.add(Conv2D(), wide, shape=(1, 1, 1)))
    assert [at.tensor for at in repeats(graph)] == [large]
    assert copies(smallest(graph, outside=outside_of(graph)).graph) == {}


def test_what_is_computed_again_is_work() -> None:
    graph = waiting_graph(16, 12)
    assert extra_instructions(graph, ()) == 0
    assert extra_instructions(repeated(graph, *repeats(graph)), ()) == 27 * 16 * 12 * 8


def check_bits(compiled: Compiled) -> None:
    """Every operator that is whole in memory, the mask, and the mask row by row in an arena of that size."""
    for picture in pictures(compiled.graph, 2):
        expected = compiled.expected(picture)
        seen, mask = compiled.trace(picture)
        assert len(compiled.source.graph.ops) - 1 in seen
        for number, found in seen.items():
            name = compiled.source.graph.ops[number].outputs[0]
            np.testing.assert_array_equal(found, expected[name], err_msg=name)
        by_rows = ByRows(compiled, picture)
        assert (by_rows.status, by_rows.is_inside) == (0, True)
        np.testing.assert_array_equal(by_rows.mask, mask)


@pytest.mark.parametrize("align_corners", [False, True])
def test_c_that_resizes_twice_gives_the_references_bits(align_corners: bool, tmp_path: Path, needs_gcc: None) -> None:
    compiled = compile_network(waiting_graph(20, 12, align_corners=align_corners), tmp_path, *WARNINGS)
    assert copies(compiled.source.graph)
    check_bits(compiled)


@pytest.mark.slow
def test_order_takes_less_memory_with_resizes_computed_twice_and_gives_the_references_bits(
    tmp_path: Path, needs_gcc: None
) -> None:
    graph = quantized_graph("order", (64, 64))
    compiled = compile_network(graph, tmp_path, *WARNINGS)
    assert len(copies(compiled.source.graph)) >= 1
    before = without(graph)
    assert compiled.source.plan.arena_bytes < 0.9 * before.memory.arena_bytes
    assert compiled.source.rows.arena_bytes < 0.9 * before.rows.arena_bytes
    check_bits(compiled)
    rows = list(csv.DictReader(io.StringIO(compiled.source.memory)))
    ops = compiled.source.graph.ops
    assert [row["kind"] for row in rows] == [op.kind for op in ops]
    assert max(int(row["alive_bytes"]) for row in rows) == compiled.source.plan.bound_bytes
    # Both are made row by row.
    made = {name for pair in copies(compiled.source.graph).items() for name in pair}
    assert {row["row_by_row"] for row, op in zip(rows, ops, strict=True) if op.outputs[0] in made} == {"1"}
