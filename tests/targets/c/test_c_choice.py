"""Plans by a budget: the smallest arena without one, the least work that fits with one, and the same bits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from dense import dense_graph
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_library import WARNINGS
from networks import ByRows, Made, compile_network, pictures, waiting_graph

from lawder_edge.graph.ir import Concat, Conv2D, Logistic, Mean, Mul
from lawder_edge.targets.c.budget import Need
from lawder_edge.targets.c.choice import Choice, needed_streams, smallest, within
from lawder_edge.targets.c.fuse import fused
from lawder_edge.targets.c.network import write
from lawder_edge.targets.c.repeat import copies
from lawder_edge.targets.c.stream import streams
from lawder_edge.targets.c.work import extra_instructions, handing_over

GRAPHS = {
    "dense": dense_graph(32, 32, gated=False),
    "gated": dense_graph(32, 32, gated=True),
    "waiting": waiting_graph(32, 32),
}
FRAME_BYTES = 32 * 32 * 4
OUTSIDE = {name: frozenset({*graph.inputs, *graph.outputs}) for name, graph in GRAPHS.items()}
# More than any plan of theirs needs.
PLENTY = 2**20


def chosen(name: str, ram_bytes: int) -> tuple[Choice, int]:
    """What is chosen in a budget, and the work that it is."""
    found = within(GRAPHS[name], ram_bytes, frame_bytes=FRAME_BYTES, outside=OUTSIDE[name])
    return found, found.instructions + handing_over(found.need(FRAME_BYTES), ram_bytes)


@settings(max_examples=9, deadline=None, derandomize=True)
@given(name=st.sampled_from([*GRAPHS]), budgets=st.lists(st.integers(1, 14_000), min_size=2, max_size=3))
def test_a_plan_fits_its_budget_and_a_larger_one_never_gives_more_work(name: str, budgets: list[int]) -> None:
    least = smallest(GRAPHS[name], outside=OUTSIDE[name]).need(FRAME_BYTES).least_bytes
    work: list[int] = []
    for ram_bytes in sorted(budgets):
        found, instructions = chosen(name, ram_bytes)
        if ram_bytes < least:
            assert found.need(FRAME_BYTES).least_bytes == least
        else:
            assert found.need(FRAME_BYTES).least_bytes <= ram_bytes
            work.append(instructions)
    assert work == sorted(work, reverse=True)


@pytest.mark.parametrize(("name", "concatenations"), [("dense", 2), ("gated", 2), ("waiting", 0)])
def test_plenty_gives_less_work_than_the_smallest_arena_and_the_smallest_budget_gives_that(
    name: str, concatenations: int
) -> None:
    small, (fast, _) = smallest(GRAPHS[name], outside=OUTSIDE[name]), chosen(name, PLENTY)
    assert small.bytes < fast.bytes
    assert fast.instructions < small.instructions
    assert small.streams
    assert not fast.streams
    assert sum(op.kind == "concat" for op in fast.graph.ops) == concatenations
    assert not copies(fast.graph)
    tight, _ = chosen(name, small.need(FRAME_BYTES).least_bytes)
    assert tight.bytes == small.bytes


def test_handing_over_picture_and_mask_is_work_where_both_do_not_fit() -> None:
    need = Need(arena_bytes=1000, frame_bytes=4000, rows_arena_bytes=1200)
    assert [handing_over(need, ram_bytes) for ram_bytes in (5000, 4999)] == [0, 4 * 4000]


def test_a_concatenation_is_an_operator_where_that_costs_no_memory() -> None:
    m = Made(16, 16)
    a, b = (m.add(Conv2D("same"), "image", shape=(n, 3, 3)) for n in (2, 3))
    x = m.add(Conv2D("same"), m.add(Concat(3), a, b), shape=(2, 3, 3))
    for channels in (24, 16):  # The most memory is needed between these two, after the concatenation's run.
        wide = m.add(Conv2D(), x, shape=(channels, 1, 1))
        x = m.add(Mul(), wide, m.add(Logistic(), m.add(Mean((1, 2)), wide)))
    graph = m.graph(m.add(Conv2D(), x, shape=(1, 1, 1)))
    outside = frozenset({*graph.inputs, *graph.outputs})
    alone = fused(graph)
    folded = Choice.of(alone, needed_streams(alone, outside=outside), outside=outside)
    found = smallest(graph, outside=outside)
    assert [sum(op.kind == "concat" for op in c.graph.ops) for c in (folded, found)] == [0, 1]
    assert found.bytes == folded.bytes
    assert found.instructions < folded.instructions


def test_work_is_rows_of_streams_pieces_of_windows_and_bytes_that_are_copied() -> None:
    m = Made(6, 8)
    a, b = (m.add(Conv2D("same"), "image", shape=(n, 3, 3)) for n in (2, 3))
    graph = m.graph(m.add(Conv2D("same"), m.add(Concat(3), a, b), shape=(1, 3, 3)))
    # Of each of 6 x 3 rows of windows six columns lie inside, two reach over the border by three taps.
    pieces = 6 * 3 * (6 + 2 * 3)
    assert extra_instructions(fused(graph), ()) == 40 * pieces
    assert extra_instructions(graph, ()) == 3 * 6 * 8 * 5
    (run,) = streams(graph)
    assert extra_instructions(graph, (run,)) == 340 * 4 * 6 + 3 * 6 * 8 * 5


@pytest.mark.parametrize("name", ["gated", "waiting"])
@pytest.mark.parametrize("ram_bytes", [5_000, PLENTY])
def test_every_plan_gives_the_integer_references_bits(
    name: str, ram_bytes: int, tmp_path: Path, needs_gcc: None
) -> None:
    graph = GRAPHS[name]
    compiled = compile_network(graph, tmp_path, *WARNINGS, ram_bytes=ram_bytes)
    (picture,) = pictures(graph, 1)
    expected = compiled.expected(picture)
    seen, mask = compiled.trace(picture)
    assert seen
    for number, found in seen.items():
        output = compiled.source.graph.ops[number].outputs[0]
        np.testing.assert_array_equal(found, expected[output], err_msg=output)
    by_rows = ByRows(compiled, picture)
    assert (by_rows.status, by_rows.is_inside) == (0, True)
    np.testing.assert_array_equal(by_rows.mask, mask)
    assert np.unique(expected[graph.outputs[0]]).size > 20


def test_plans_of_different_budgets_differ_in_their_c() -> None:
    small, fast = (write(GRAPHS["gated"], name="net", version="1", ram_bytes=b) for b in (None, PLENTY))
    texts = [dict(s.files)["net.c"] for s in (small, fast)]
    assert ["lw_stream(" in text for text in texts] == [True, False]
    assert fast.instructions < small.instructions
