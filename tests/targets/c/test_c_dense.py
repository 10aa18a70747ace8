"""Dense networks: paddings and concatenations are no operators of their own, and memory is skips and line buffers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from dense import AROUND, Dense, dense_graph, up
from kernel_library import WARNINGS
from networks import ByRows, Made, compile_network, pictures, quantized_graph
from numpy.typing import NDArray

from lawder_edge.graph.ir import (
    Concat,
    Conv2D,
    DepthwiseConv2D,
    Graph,
    MaxPool2D,
    Pad,
)
from lawder_edge.graph.reference import trace
from lawder_edge.targets.c.fuse import fused
from lawder_edge.targets.c.network import RowByRow, write
from lawder_edge.targets.c.stream import streams

ROW_BY_ROW: tuple[RowByRow, ...] = ("never", "always", "needed")


def check(graph: Graph, folder: Path, count: int = 2) -> None:
    """Every operator that is whole in memory, logits and rows, against the reference of the graph that is not fused."""
    for row_by_row in ROW_BY_ROW:
        compiled = compile_network(graph, folder, *WARNINGS, row_by_row=row_by_row)
        for picture in pictures(graph, count):
            expected = expected_of(graph, picture)
            seen, mask = compiled.trace(picture)
            for number, found in seen.items():
                name = compiled.source.graph.ops[number].outputs[0]
                np.testing.assert_array_equal(found, expected[name], err_msg=f"{row_by_row} {name}")
            by_rows = ByRows(compiled, picture)
            assert (by_rows.status, by_rows.is_inside) == (0, True)
            np.testing.assert_array_equal(by_rows.mask, mask)
            assert np.unique(expected[graph.outputs[0]]).size > 20


def expected_of(graph: Graph, picture: NDArray[np.uint8]) -> dict[str, NDArray[np.int8]]:
    return {t.name: value for t, value in trace(graph, [(picture ^ 0x80).view(np.int8)[None]])}


@pytest.mark.parametrize(("height", "width", "gated"), [(48, 32, False), (24, 40, True)])
def test_a_dense_network_gives_the_bits_of_the_graph_that_is_not_fused(
    height: int, width: int, gated: bool, tmp_path: Path, needs_gcc: None
) -> None:
    graph = dense_graph(height, width, gated=gated)
    kinds = [op.kind for op in fused(graph).ops]
    assert "pad" not in kinds
    assert "concat" not in kinds
    check(graph, tmp_path)


def test_of_a_dense_network_skips_are_whole_and_all_else_is_rows() -> None:
    size = 64
    skips = size**2 // 4 * 5 + size**2 // 16 * 6
    # Of each tensor before a 3x3 window and of what is resized 3 rows, of the rest 1; the middle is 8 x 8 x 7.
    lines = size // 2 * (3 * 3 + 3 * 5 + 5 + 2) + size // 4 * (3 * 7 + 3 * 6 + 6) + size**2 // 64 * 7
    memory = write(dense_graph(size, size, gated=True), name="net", version="1").plan
    assert skips < memory.arena_bytes <= skips + lines
    # Where nothing waits for the whole picture not even skips are whole.
    assert write(dense_graph(size, size, gated=False), name="net", version="1").plan.arena_bytes < skips


def test_only_what_every_reader_can_take_upon_itself_is_left_out() -> None:
    m = Made(8, 8)
    a, b = (m.add(Conv2D("same"), "image", shape=(n, 3, 3)) for n in (2, 3))
    joined, pooled = m.add(Concat(3), a, b), m.add(Concat(3), b, a)
    three = m.add(Concat(3), a, b, m.add(Conv2D("same"), joined, shape=(2, 1, 1)))
    padded = m.add(AROUND, pooled)
    window = m.add(DepthwiseConv2D("valid"), padded, shape=(5, 3, 3))
    m.add(MaxPool2D((2, 2), (2, 2)), pooled)
    y = m.add(Concat(3), m.add(Conv2D("same"), three, shape=(2, 3, 3)), window)
    with_image = m.add(Concat(3), y, "image")
    graph = m.graph(m.add(Concat(3), m.add(Conv2D("same"), with_image, shape=(2, 3, 3)), y))
    left = {op.outputs[0] for op in graph.ops} - {op.outputs[0] for op in fused(graph).ops}
    # Joined is read by a convolution alone, padded by one that it stands before.
    assert left == {joined, padded}


def test_a_padding_and_a_concatenation_of_one_convolution_are_both_left_out(tmp_path: Path, needs_gcc: None) -> None:
    m = Made(19, 17, weight_scale=0.008)
    a, b = (m.add(Conv2D("same"), "image", shape=(n, 3, 3)) for n in (2, 3))
    padded = m.add(Pad(((0, 0), (3, 1), (2, 4), (0, 0))), m.add(Concat(3), a, b))
    x = m.add(Conv2D("valid", (2, 1), (2, 3)), padded, shape=(4, 3, 2))
    y = m.add(DepthwiseConv2D("valid", (1, 2)), m.add(Pad(((0, 0), (5, 0), (0, 9), (0, 0))), x), shape=(4, 3, 3))
    graph = m.graph(m.add(Conv2D(), y, shape=(1, 1, 1)))
    assert [op.kind for op in fused(graph).ops] == ["conv2d", "conv2d", "conv2d", "depthwise_conv2d", "conv2d"]
    check(graph, tmp_path)


@pytest.mark.slow
def test_a_quantised_dense_network_has_an_arena_within_the_goals(tmp_path: Path, needs_gcc: None) -> None:
    """Skips of 8 channels at H/2 and 12 at H/4 (10 miss the second goal), weights at random, ranges from noise."""
    for size, most in ((64, 24 * 1024), (128, 60 * 1024)):
        graph = quantized_graph(Dense(), (size, size))
        assert write(graph, name="net", version="1").plan.arena_bytes <= most
    check(quantized_graph(Dense(), (32, 64)), tmp_path, 1)


def test_of_a_skip_that_is_narrowed_the_narrow_rows_wait(tmp_path: Path, needs_gcc: None) -> None:
    m = Made(32, 16, weight_scale=0.006)
    wide = m.add(Conv2D("same", activation="relu"), "image", shape=(8, 3, 3))
    narrow = m.add(Conv2D(), wide, shape=(2, 1, 1))
    low = m.add(Conv2D("same"), m.add(MaxPool2D((2, 2), (2, 2)), wide), shape=(3, 9, 1))
    both = m.add(Conv2D("same"), m.add(Concat(3), up(m, low), narrow), shape=(4, 3, 3))
    graph = m.graph(m.add(Conv2D(), both, shape=(1, 1, 1)))
    (found,) = streams(fused(graph))
    assert found.rings[wide] == 2 < found.rings[narrow]
    check(graph, tmp_path, 1)
