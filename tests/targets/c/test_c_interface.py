"""Calls of a network's functions: what they write and where, rows, and what they say of a wrong call."""

from __future__ import annotations

import ctypes
import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_library import KERNELS, SANITIZERS, SOURCES, WARNINGS, run
from networks import READ_ROW, ByRows, Compiled, aligned, compile_network, pictures, small_graph, write_files

from lawder_edge.targets.c.network import RowByRow
from lawder_edge.targets.c.probability import reference_mask


def test_a_call_that_cannot_be_served_says_why_and_writes_nothing(small: Compiled) -> None:
    picture = pictures(small.graph, 1)[0]
    need = small.source.plan.arena_bytes
    out, arena = np.full((5, 7), 7, np.uint8), aligned(need + 16)
    for name in ("run", "logits"):
        assert small.call(name, None, out) == 1
        assert small.call(name, picture, None) == 1
        assert small.call(name, picture, out, arena=0, arena_bytes=need) == 1
        for off in range(1, 16):
            assert small.call(name, picture, out, arena=arena[off:], arena_bytes=need) == 2
        for size in (0, 1, need - 1):
            assert small.call(name, picture, out, arena=arena, arena_bytes=size) == 3
    assert (out == 7).all()
    assert (arena == 0x55).all()
    assert small.call("run", picture, out, arena=arena, arena_bytes=need) == 0
    assert (arena[need:] == 0x55).all()


ROWS_PROGRAM = """
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "network.h"

#define ROW (LW_NETWORK_WIDTH * LW_NETWORK_CHANNELS)

static int read_row(void *file, uint32_t row, uint8_t *rgb)
{
    (void)row;
    return fread(rgb, 1, ROW, (FILE *)file) != ROW;
}

static int write_row(void *file, uint32_t row, const uint8_t *mask)
{
    (void)file;
    (void)row;
    return fwrite(mask, 1, LW_NETWORK_OUT_WIDTH, stdout) != LW_NETWORK_OUT_WIDTH;
}

int main(void)
{
    /* Of exactly the size that is needed, so that the sanitiser sees a byte more. */
    void *arena = malloc(LW_NETWORK_ROWS_ARENA_BYTES);
    const lw_status status = lw_network_run_rows(read_row, write_row, stdin, arena, LW_NETWORK_ROWS_ARENA_BYTES);
    free(arena);
    return (int)status;
}
"""


@pytest.mark.parametrize("row_by_row", ["never", "needed"])
def test_rows_stay_inside_an_arena_of_the_size_that_is_told(
    row_by_row: RowByRow, tmp_path: Path, needs_gcc: None
) -> None:
    graph = small_graph()
    write_files(graph, tmp_path, row_by_row=row_by_row)
    (tmp_path / "rows.c").write_text(ROWS_PROGRAM)
    program = tmp_path / "rows"
    run([
        "gcc", "-std=c99", *WARNINGS, *SANITIZERS, f"-I{KERNELS}", f"-I{tmp_path}", str(tmp_path / "rows.c"),
        str(tmp_path / "net.c"), *map(str, SOURCES), "-o", str(program),
    ])  # fmt: skip
    picture = pictures(graph, 1)[0]
    done = subprocess.run([str(program)], input=picture.tobytes(), capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout == reference_mask(graph, picture, 0.5).tobytes()
    # A picture that ends too early is what the program says of it.
    done = subprocess.run([str(program)], input=picture.tobytes()[:-1], capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (4, b"")


@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    name=st.sampled_from(["run", "logits", "run_rows"]),
    null=st.sets(st.sampled_from(["first", "second", "arena"]), max_size=2),
    offset=st.sampled_from([0, 0, 16, *range(1, 16)]),
    size=st.one_of(st.integers(0, 4096), st.sampled_from([2**31, 2**32 - 1, 2**63])),
)
def test_any_call_gives_the_status_that_it_must_and_writes_only_where_it_may(
    small: Compiled, name: str, null: set[str], offset: int, size: int
) -> None:
    need = small.source.rows.arena_bytes if name == "run_rows" else small.source.plan.arena_bytes
    memory, out = aligned(need + 64), np.full(35 + 32, 0x55, np.uint8)
    picture = pictures(small.graph, 1)[0]
    written: list[int] = []

    def read(_: int, row: int, to: int) -> int:
        ctypes.memmove(to, picture[row].tobytes(), picture[row].size)
        return 0

    def write_row(_: int, row: int, __: int) -> int:
        written.append(row)
        return 0

    functions = (READ_ROW(read), READ_ROW(write_row))
    arena = ctypes.c_void_p(None if "arena" in null else memory.ctypes.data + 16 + offset)
    if name == "run_rows":
        first, second = (
            READ_ROW() if side in null else f for side, f in zip(("first", "second"), functions, strict=True)
        )
        status = small.library.lw_net_run_rows(first, second, None, arena, ctypes.c_size_t(size))
    else:
        first, second = (
            ctypes.c_void_p(None if side in null else array.ctypes.data)
            for side, array in (("first", picture), ("second", out[16:]))
        )
        status = getattr(small.library, f"lw_net_{name}")(first, second, arena, ctypes.c_size_t(size))
    assert status == (1 if null else 2 if offset % 16 else 3 if size < need else 0)
    start = 16 + offset
    assert (memory[:start] == 0x55).all()
    assert (memory[start + need :] == 0x55).all()
    assert (out[:16] == 0x55).all()
    assert (out[16 + 35 :] == 0x55).all()
    if status:
        assert (memory == 0x55).all()
        assert (out == 0x55).all()
        assert written == []
    elif name == "run_rows":
        assert written == [*range(5)]


def test_rows_are_read_when_they_are_needed_and_given_as_they_are_made(small: Compiled) -> None:
    picture = pictures(small.graph, 1)[0]
    # A window of three rows, and one of three on top: the first row of the mask needs three of the picture.
    assert ByRows(small, picture).events[:5] == [("read", 0), ("read", 1), ("read", 2), ("write", 0), ("read", 3)]
    assert small.source.rows.picture_rows == 3
    assert small.source.rows.logits_rows == 1
    assert small.source.rows.arena_bytes < small.source.plan.arena_bytes + picture.size


@pytest.mark.parametrize("row_by_row", ["never", "needed"])
def test_a_row_that_cannot_be_read_or_written_stops_the_network(
    row_by_row: RowByRow, tmp_path: Path, needs_gcc: None
) -> None:
    graph = small_graph()
    compiled = compile_network(graph, tmp_path, row_by_row=row_by_row)
    for stop in (("read", 0), ("read", 3), ("write", 0), ("write", 4)):
        found = ByRows(compiled, pictures(graph, 1)[0], stop=stop)
        assert found.status == 4
        assert found.events[-1] == stop


def test_a_call_by_rows_that_cannot_be_served_writes_nothing(small: Compiled) -> None:
    need = small.source.rows.arena_bytes
    memory = aligned(need + 16)
    called: list[int] = []
    function = small.library.lw_net_run_rows

    def told(_: int, row: int, __: int) -> int:
        called.append(row)
        return 0

    rows, none = READ_ROW(told), READ_ROW()
    at = memory.ctypes.data
    for arguments, status in (
        ((none, rows, at, need), 1), ((rows, none, at, need), 1), ((rows, rows, None, need), 1),
        ((rows, rows, at + 4, need), 2), ((rows, rows, at, need - 1), 3), ((rows, rows, at, 0), 3),
    ):  # fmt: skip
        read, write, arena, size = arguments
        assert function(read, write, None, ctypes.c_void_p(arena), ctypes.c_size_t(size)) == status
    assert (memory == 0x55).all()
    assert called == []


def test_nothing_outside_of_arena_and_mask_is_written_and_nothing_kept(small: Compiled) -> None:
    need = small.source.plan.arena_bytes
    memory = aligned(need + 64)
    masks = np.full((5, 7 * 5 + 64), 0x55, np.uint8).reshape(-1)
    picture, other = pictures(small.graph, 2)
    first = masks[32 : 32 + 35]
    assert small.call("run", picture, first, arena=memory[32:], arena_bytes=need) == 0
    assert (memory[:32] == 0x55).all()
    assert (memory[32 + need :] == 0x55).all()
    assert (masks[:32] == 0x55).all()
    assert (masks[67:] == 0x55).all()
    kept = first.copy()
    small.call("run", other, np.zeros(35, np.uint8))
    memory[:] = 0xAA
    assert small.call("run", picture, first, arena=memory[32:], arena_bytes=need) == 0
    np.testing.assert_array_equal(first, kept)
