"""A budget of RAM, and the table and picture of where it goes."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
import pytest
from int8_network import quantized_tiny

from lawder_edge.errors import BadInput, OverBudget
from lawder_edge.targets.c.budget import Need, bytes_of, check_ram
from lawder_edge.targets.c.memory import draw_memory
from lawder_edge.targets.c.network import Source, write
from lawder_edge.targets.nhwc import to_graph
from lawder_edge.targets.registry import ExportSpec, get_target

NEED = Need(arena_bytes=1000, frame_bytes=4000, rows_arena_bytes=1200)


def test_budgets_are_bytes_or_thousands_of_twenty_four() -> None:
    assert [bytes_of(t) for t in ("131072", "128K", "128 KiB", "128kB", "2M", "2m")] == [131072] * 4 + [2 * 1024**2] * 2
    for text in ("", "K", "1.5M", "-1", "0", "12G", "a lot"):
        with pytest.raises(BadInput, match="such as 256K"):
            bytes_of(text)


def test_a_network_fits_with_its_frame_or_row_by_row_or_not_at_all() -> None:
    assert "picture and mask in memory: 5000" in check_ram(NEED, 5000)
    assert "row by row (run_rows): 1200" in check_ram(NEED, 4999)
    assert "row by row (run_rows): 1200" in check_ram(NEED, 1200)
    with pytest.raises(OverBudget, match=r"smallest budget that works is 1200, or 5000 with") as caught:
        check_ram(NEED, 1199)
    assert caught.value.exit_code == 5


@pytest.fixture(scope="module")
def tiny() -> Source:
    spec = ExportSpec(name="tiny", size=(64, 96), precision="int8")
    return write(to_graph(quantized_tiny().program((64, 96)), spec), name="tiny", version="1")


def test_the_smallest_budget_that_is_told_is_enough_and_one_byte_less_is_not(tiny: Source, tmp_path: Path) -> None:
    target, program = get_target("c"), quantized_tiny().program((64, 96))
    least = tiny.need.least_bytes

    def spec(ram_bytes: int) -> ExportSpec:
        return ExportSpec(name="tiny", size=(64, 96), precision="int8", ram_bytes=ram_bytes)

    with pytest.raises(OverBudget, match=f"The smallest budget that works is {least},"):
        target.export(program, spec(least - 1), tmp_path / "tiny.c")
    assert list(tmp_path.iterdir()) == []
    assert any(
        f"fits {least} bytes row by row" in r for r in target.export(program, spec(least), tmp_path / "a.c").remarks
    )
    assert tiny.need.frame_bytes == 64 * 96 * 4


def test_other_targets_do_not_read_it() -> None:
    with pytest.raises(BadInput, match="does not read --ram"):
        get_target("onnx").check(ExportSpec(ram_bytes=1000))


def test_the_table_has_a_line_an_operator_and_its_peak_is_the_arena(tiny: Source) -> None:
    rows = list(csv.DictReader(io.StringIO(tiny.memory)))
    assert [int(row["operator"]) for row in rows] == [*range(len(rows))]
    alive = np.array([int(row["alive_bytes"]) for row in rows])
    assert alive.max() == tiny.plan.bound_bytes
    assert all(int(row["alive_bytes_one_after_the_other"]) > 0 for row in rows)
    assert {row["row_by_row"] for row in rows} == {"0", "1"}
    assert rows[0]["kind"] == "conv2d"


def test_the_picture_is_a_png_of_the_table(tiny: Source) -> None:
    import cv2

    data = draw_memory(tiny.memory, title="tiny")
    picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    assert picture.shape == (440, 990, 3)
    # Both curves are there: the blue of what is generated, the grey of one operator after the other.
    colours = {tuple(int(v) for v in c) for c in np.unique(picture.reshape(-1, 3), axis=0)}
    assert {(0xA8, 0x5F, 0x1F), (0xD6, 0xC4, 0xB8)} <= colours
