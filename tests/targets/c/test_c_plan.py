"""Memory plans: no two tensors that are needed at once share a byte, and none that could be shared is wasted."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from lawder_edge.graph.ir import (
    Add,
    Conv2D,
    DepthwiseConv2D,
    Graph,
    MaxPool2D,
    Mul,
    Op,
    Quantization,
    Relu,
    Reshape,
    Tensor,
)
from lawder_edge.targets.c.plan import ALIGNMENT, Buffer, alive_at, place, plan, writes_in_place

Q = Quantization.of(0.1)
buffers = st.lists(
    st.tuples(st.integers(1, 5000), st.integers(0, 40), st.integers(0, 12)), min_size=1, max_size=40
).map(lambda rows: [Buffer(str(i), size, first, first + length) for i, (size, first, length) in enumerate(rows)])


@settings(max_examples=300, deadline=None, derandomize=True)
@given(wanted=buffers)
def test_buffers_that_meet_do_not_overlap_and_all_are_aligned(wanted: list[Buffer]) -> None:
    offsets, arena_bytes = place(wanted)
    assert set(offsets) == {b.name for b in wanted}
    for i, a in enumerate(wanted):
        assert offsets[a.name] % ALIGNMENT == 0
        assert 0 <= offsets[a.name] <= arena_bytes - a.size_bytes
        for b in wanted[:i]:
            if a.meets(b):
                apart = offsets[a.name] + a.size_bytes <= offsets[b.name]
                assert apart or offsets[b.name] + b.size_bytes <= offsets[a.name]
    assert (
        max(alive_at(wanted, b.first) for b in wanted) <= arena_bytes <= sum(b.size_bytes + ALIGNMENT for b in wanted)
    )
    assert place(wanted) == (offsets, arena_bytes)


def test_the_bound_is_what_lives_at_once() -> None:
    found = [Buffer("a", 16, 0, 1), Buffer("b", 32, 1, 2), Buffer("c", 40, 2, 2)]
    assert [alive_at(found, at) for at in range(4)] == [16, 48, 32 + 48, 0]
    assert place([]) == ({}, 0)


def test_rows_of_a_stream_that_are_needed_at_different_steps_share_memory() -> None:
    found = [Buffer("a", 16, 0, 5, 0b0011), Buffer("b", 32, 0, 5, 0b1100), Buffer("c", 48, 0, 5, 0b0110)]
    assert [alive_at(found, at) for at in (0, 5)] == [80, 80]
    offsets, arena_bytes = place(found)
    assert arena_bytes == 80
    assert offsets["c"] not in range(offsets["b"] - 47, offsets["b"] + 32)
    # Whole tensors are needed all along.
    assert place([*found, Buffer("d", 64, 5, 9)])[1] == 80 + 64


def chain(*kinds: object, reads_first: bool = False) -> Graph:
    """image -> each kind in turn. reads_first: the last operator also reads the first one's output."""
    shape = (1, 8, 8, 4)
    tensors = [Tensor("t0", shape, "int8", Q)]
    ops = []
    for i, kind in enumerate(kinds):
        inputs = [f"t{i}"]
        if isinstance(kind, Add | Mul):
            inputs.append("t1" if reads_first and i == len(kinds) - 1 else f"t{i}")
        tensors.append(Tensor(f"t{i + 1}", shape, "int8", Q))
        ops.append(Op(kind, tuple(inputs), (f"t{i + 1}",)))  # type: ignore[arg-type]
    return Graph("chain", tuple(tensors), tuple(ops), ("t0",), (f"t{len(kinds)}",))


POOL = MaxPool2D((3, 3), (1, 1), "same")


def test_elementwise_operators_write_over_what_nobody_reads_again() -> None:
    found = plan(chain(POOL, Relu(), Mul()))
    assert found.offsets["t1"] == found.offsets["t2"] == found.offsets["t3"]
    assert found.arena_bytes == found.bound_bytes == 2 * 256


def test_what_is_read_again_is_not_written_over() -> None:
    found = plan(chain(POOL, Relu(), POOL, Add(), reads_first=True))
    assert found.offsets["t1"] != found.offsets["t2"]
    assert found.bound_bytes == 3 * 256


def test_a_window_is_not_computed_in_place() -> None:
    found = plan(chain(POOL, POOL))
    assert found.offsets["t1"] != found.offsets["t2"]


def test_a_reshape_moves_nothing_even_where_both_are_read_on() -> None:
    found = plan(chain(POOL, Reshape(), Relu(), Add(), reads_first=True))
    assert found.offsets["t1"] == found.offsets["t2"]
    assert found.offsets["t3"] != found.offsets["t2"]


def test_memory_of_the_caller_is_in_no_arena() -> None:
    found = plan(chain(POOL, POOL), outside=frozenset({"t0", "t2"}))
    assert set(found.offsets) == {"t1"}
    assert found.arena_bytes == 256


def test_an_operand_that_repeats_is_not_written_over() -> None:
    tensors = (Tensor("a", (1, 1, 1, 4), "int8", Q), Tensor("b", (1, 2, 2, 4), "int8", Q))
    one = (*tensors, Tensor("y", (1, 2, 2, 4), "int8", Q))
    op = Op(Mul(), ("a", "b"), ("y",))
    assert writes_in_place(op, Graph("g", one, (op,), ("a", "b"), ("y",))) == ("b",)


def test_a_depthwise_convolution_of_one_pixel_is_computed_in_place() -> None:
    for size, expected in ((1, ("x",)), (3, ())):
        weights = np.ones((1, size, size, 4), np.int8)
        tensors = (
            Tensor("x", (1, 4, 4, 4), "int8", Q),
            Tensor("w", weights.shape, "int8", Q, weights),
            Tensor("b", (4,), "int32", Q, np.zeros(4, np.int32)),
            Tensor("y", (1, 4, 4, 4), "int8", Q),
        )
        for kind in (DepthwiseConv2D(), Conv2D()):
            op = Op(kind, ("x", "w", "b"), ("y",))
            found = writes_in_place(op, Graph("g", tensors, (op,), ("x",), ("y",)))
            assert found == (expected if isinstance(kind, DepthwiseConv2D) else ())
