"""Runs that are computed row by row: which operators they take, and that the rows kept are as few as can be."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import Compiled, Made, aligned, compile_network, pictures
from numpy.typing import NDArray

from lawder_edge.graph.ir import (
    Add,
    AveragePool2D,
    Concat,
    Conv2D,
    DepthwiseConv2D,
    Logistic,
    MaxPool2D,
    Mean,
    Mul,
    ReduceMax,
    Relu,
    ResizeBilinear,
)
from lawder_edge.graph.reference import run
from lawder_edge.targets.c.choice import needed_streams
from lawder_edge.targets.c.stream import streams


def mask_of(compiled: Compiled, picture: NDArray[np.uint8]) -> NDArray[np.int8]:
    logits = np.zeros(compiled.graph.tensor(compiled.graph.outputs[0]).shape, np.int8)
    arena = aligned(compiled.source.plan.arena_bytes + 64)
    assert compiled.call("logits", picture, logits, arena=arena, arena_bytes=compiled.source.plan.arena_bytes) == 0
    assert (arena[-64:] == 0x55).all()
    return logits


def block(m: Made, x: str) -> str:
    """An expansion, depthwise windows of 1, 3 and 5 pixels, their sum, a projection and what goes past it."""
    wide = m.add(Conv2D(), x, shape=(8, 1, 1))
    branches = [m.add(DepthwiseConv2D("same"), wide, shape=(8, k, k)) for k in (1, 3, 5)]
    total = m.add(Add(), m.add(Add(), *branches[:2]), branches[2])
    return m.add(Add(), m.add(Conv2D(), total, shape=(4, 1, 1)), m.add(Conv2D(), x, shape=(4, 1, 1)))


def test_a_block_keeps_the_rows_of_its_tallest_window_and_one_of_all_else() -> None:
    m = Made(32, 16)
    (found,) = streams(m.graph(m.add(Conv2D(), block(m, "image"), shape=(1, 1, 1))))
    assert (found.first, found.last) == (0, 9)
    assert [found.rings[s.output] for s in found.stages[:-1]] == [5, 1, 1, 1, 1, 1, 1, 1, 1]
    assert found.whole == {"t9"}


def test_runs_end_at_operators_that_need_all_rows_and_where_nothing_but_whole_tensors_crosses() -> None:
    m = Made(32, 16)
    a = m.add(MaxPool2D((2, 2), (2, 2)), block(m, "image"))
    b = m.add(MaxPool2D((2, 2), (2, 2)), block(m, a))
    scale = m.add(Logistic(), m.add(Mean((1, 2)), b))
    up = m.add(ResizeBilinear(), m.add(Mul(), b, scale), shape=(1, 16, 8, 4))
    graph = m.graph(m.add(Add(), up, a))
    # The first pool's output is read at the end: whole, so that a new run starts after it.
    assert [(s.first, s.last) for s in streams(graph)] == [(0, 9), (10, 19), (21, 24)]


def test_a_stream_writes_over_a_whole_tensor_behind_what_is_still_read(
    tmp_path_factory: pytest.TempPathFactory, needs_gcc: None
) -> None:
    for seed, rows in ((0, 1), (1, 3), (2, 5)):
        m = Made(16, 12, seed=seed)
        old = m.add(MaxPool2D((2, 2), (1, 1), "same"), "image")
        scaled = m.add(Mul(), old, m.add(Logistic(), m.add(Mean((1, 2)), old)))
        new = m.add(Add(), m.add(DepthwiseConv2D("same"), old, shape=(3, rows, 3)), scaled)
        again = m.add(Mul(), new, m.add(Logistic(), m.add(Mean((1, 2)), new)))
        graph = m.graph(m.add(Conv2D(), again, shape=(1, 1, 1)))
        compiled = compile_network(graph, tmp_path_factory.mktemp("overlaid"), row_by_row="always")
        offsets = compiled.source.plan.offsets
        # When a row of the sum is written, the next row's window of 2n + 1 rows is still to read n rows above itself.
        ahead = rows // 2 * 12 * 3
        assert offsets[old] - offsets[new] == -(-ahead // 16) * 16
        assert compiled.source.plan.arena_bytes < 2.5 * 16 * 12 * 3
        for picture in pictures(graph, 3):
            expected = run(graph, [(picture ^ 0x80).view(np.int8)[None]])[0]
            np.testing.assert_array_equal(mask_of(compiled, picture), expected)


def test_runs_that_save_no_memory_are_left_out() -> None:
    m = Made(32, 16)
    a = m.add(MaxPool2D((2, 2), (2, 2)), block(m, "image"))
    scale = m.add(Logistic(), m.add(Mean((1, 2)), a))
    small = m.add(Logistic(), m.add(Mul(), a, scale))
    graph = m.graph(m.add(Conv2D(), small, shape=(1, 1, 1)))
    assert [(s.first, s.last) for s in streams(graph)] == [(0, 9), (11, 14)]
    # The second one works on a quarter of the picture, in place even without rings.
    assert [(s.first, s.last) for s in needed_streams(graph)] == [(0, 9)]


@settings(max_examples=15, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**16))
def test_random_networks_give_the_references_bits(seed: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    rng = np.random.default_rng(seed)
    m = Made(int(rng.integers(5, 20)), int(rng.integers(3, 12)), int(rng.choice([1, 3])), seed)
    graph = m.graph(random_network(m, rng))
    compiled = compile_network(graph, tmp_path_factory.mktemp("random"), row_by_row="always")
    assert "lw_stream(" in dict(compiled.source.files)["net.c"]
    for picture in pictures(graph, 2):
        expected = run(graph, [(picture ^ 0x80).view(np.int8)[None]])[0]
        np.testing.assert_array_equal(mask_of(compiled, picture), expected)


def random_network(m: Made, rng: np.random.Generator) -> str:
    """A dozen operators, each reading earlier tensors of its size."""
    names = ["image"]

    def shape(name: str) -> tuple[int, ...]:
        return next(t.shape for t in m.tensors if t.name == name)

    def quantization(name: str) -> Any:
        return next(t.quantization for t in m.tensors if t.name == name)

    for _ in range(14):
        x = names[-1] if rng.random() < 0.6 else str(rng.choice(names))
        h, w, c = shape(x)[1:]
        kind = int(rng.integers(0, 10))
        alike = [n for n in names if shape(n) == shape(x)]
        if kind == 0:
            size = (int(rng.integers(1, 6)), int(rng.integers(1, 4)))
            stride = (int(rng.integers(1, 3)), int(rng.integers(1, 3)))
            names.append(m.add(Conv2D("same", stride), x, shape=(int(rng.integers(1, 5)), *size)))
        elif kind == 1:
            names.append(m.add(DepthwiseConv2D("same", dilation=(2, 1)), x, shape=(c, 3, 3)))
        elif kind == 2:
            names.append(m.add(DepthwiseConv2D("same"), x, shape=(c, int(rng.integers(1, 6)), 3)))
        elif kind == 3 and min(h, w) > 1:
            pool = MaxPool2D if rng.random() < 0.5 else AveragePool2D
            size = int(rng.integers(2, 4))
            names.append(m.add(pool((size, size), (2, 2), "same"), x))
        elif kind == 4 and max(h, w) < 24:
            names.append(m.add(ResizeBilinear(bool(rng.random() < 0.5)), x, shape=(1, 2 * h, 2 * w, c)))
        elif kind == 5:
            names.append(m.add(Add("relu"), x, str(rng.choice(alike))))
        elif kind == 6:
            pixel = m.add(Logistic(), m.add(ReduceMax((3,)), x))
            names.append(m.add(Mul(), *((x, pixel) if rng.random() < 0.5 else (pixel, x)), shape=(1, h, w, c)))
        elif kind == 7 and rng.random() < 0.5:
            names.append(m.add(Mul(), x, m.add(Logistic(), m.add(Mean((1, 2)), x))))
        elif kind == 8:
            same = [n for n in names if shape(n)[1:3] == (h, w) and quantization(n) == quantization(x)]
            names.append(m.add(Concat(3), x, str(rng.choice(same))))
        else:
            names.append(m.add(Relu(), x))
    return m.add(Conv2D(), names[-1], shape=(int(rng.integers(1, 3)), 1, 1))
