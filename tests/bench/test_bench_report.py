"""The same rows as JSON, CSV, Markdown."""

from __future__ import annotations

import csv
import dataclasses
import io
import json

import pytest

from lawder_edge.bench.report import (
    CSV_COLUMNS,
    HEADINGS,
    NUMERIC,
    header,
    labels,
    notes,
    table,
    to_csv,
    to_json,
    to_markdown,
)
from lawder_edge.bench.rows import BenchReport, Measured


def test_json_has_the_phases_with_unit_spread_and_every_value(bench_report: BenchReport) -> None:
    document = json.loads(to_json(bench_report))
    assert document["schema_version"] == 2
    good, _, bad = document["rows"]
    infer = good["infer"]
    assert infer["unit"] == "ms"
    assert infer["count"] == 3
    assert infer["total"] == 15.0
    assert infer["values"] == [4.0, 5.0, 6.0]
    assert (infer["mean"], infer["p50"], infer["first"]) == (5.0, 5.0, 50.0)
    assert {"stdev", "jitter", "p90", "p95", "p99"} <= infer.keys()
    assert {"pre", "post", "frame"} <= good.keys()
    assert good["accuracy"]["dice"] == 0.81
    assert document["noise"]["spread_percent"] == pytest.approx(4.0)
    assert good["flops"] == 2 * good["macs"] == 105_880_672
    assert good["memory"]["added_bytes"] == 20_000_000
    assert (good["peak_activations"], good["peak_activation_bytes"]) == (500_000, 2_000_000)
    assert bad["status"] == "failed"
    assert "infer" not in bad


def test_csv_has_the_same_columns_for_every_row_and_raw_numbers(bench_report: BenchReport) -> None:
    good, fast, bad = csv.DictReader(io.StringIO(to_csv(bench_report)))
    assert tuple(good) == CSV_COLUMNS
    assert good["infer_p50_ms"] == "5.0"
    assert good["frame_count"] == "3"
    assert good["macs"] == "52940336"
    assert good["sha256"] == "ab" * 32
    assert good["memory_added_bytes"] == "20000000"
    assert good["peak_activation_bytes"] == "2000000"
    assert bad["reason"] == "its process was killed by SIGSEGV"
    assert bad["infer_p50_ms"] == bad["params"] == ""
    assert all(fast[name] != "" for name in CSV_COLUMNS if name != "reason")
    assert (fast["times_faster"], good["times_faster"]) == ("2.0", "")


def test_a_row_for_people_has_a_cell_for_every_heading(bench_report: BenchReport) -> None:
    good, fast, bad = table(bench_report)
    assert len(good) == len(fast) == len(bad) == len(HEADINGS)
    shown = dict(zip(HEADINGS, good, strict=True))
    assert shown["params"] == "42,016"
    assert shown["MACs M"] == "52.9"
    assert shown["FLOPs M"] == "105.9"
    assert shown["file kB"] == "1.2"
    assert shown["plan kB"] == "2,000.0"
    assert shown["p50 ms"] == "5.00"
    assert shown["fps"] == "200.0"
    assert (shown["Dice"], shown["drop"]) == ("0.8100", "0.0100")
    # 105.9 MFLOP in 5 ms are 21.2 GFLOP/s; at 13.2 FLOPs a byte and 10 GB/s the roof is that of products, 100.
    assert shown["of roof %"] == "21"
    faster = dict(zip(HEADINGS, fast, strict=True))
    assert faster["times faster [95 %]"] == "2.00 [1.90, 2.10]"
    assert faster["times less cpu [95 %]"] == "2.50 [2.40, 2.60]"
    assert bad[:2] == ("bad", "failed")
    assert {HEADINGS[i] for i in NUMERIC}.isdisjoint({"model", "runtime", "precision", "input"})


def test_memory_by_plan_is_the_files_own_arena_or_else_counted_at_the_precision_computed_in(measured: Measured) -> None:
    def shown(scalar_bytes: int, *, arena_bytes: int | None = None, is_counted: bool = True) -> int | None:
        artifact = dataclasses.replace(measured.artifact, scalar_bytes=scalar_bytes, arena_bytes=arena_bytes)
        static = measured.static if is_counted else None
        return dataclasses.replace(measured, artifact=artifact, static=static).peak_activation_bytes

    assert [shown(size) for size in (4, 2, 1)] == [2_000_000, 1_000_000, 500_000]
    assert shown(1, arena_bytes=142_624) == 142_624
    assert shown(1, arena_bytes=142_624, is_counted=False) == 142_624
    assert shown(4, is_counted=False) is None


def test_the_header_says_what_is_timed_how_flops_are_counted_and_on_what(bench_report: BenchReport) -> None:
    text = "\n".join(header(bench_report))
    for words in (
        "FLOPs = 2 x MACs",
        "Timed:",
        "Example CPU",
        "governor performance",
        "1 thread,",
        "numpy 2.0.0",
        "p95 +4 %",
        "2400 to 2600 MHz",
        "100.0 GFLOP/s",
    ):
        assert words in text
    assert "torch" not in text


def test_notes_carry_hashes_reasons_and_warnings(bench_report: BenchReport) -> None:
    assert notes(bench_report) == (
        "good: model.fake sha256 abababab, certified on 8 phantom frames",
        "fast: model.fake sha256 abababab, certified on 8 phantom frames",
        "bad: failed: its process was killed by SIGSEGV",
        "warning: something | doubtful",
    )


def test_markdown_is_a_table_with_a_line_a_row(bench_report: BenchReport) -> None:
    lines = [line for line in to_markdown(bench_report).splitlines() if line.startswith("|")]
    assert len(lines) == 5
    assert {line.count("|") for line in lines} == {len(HEADINGS) + 1}


def test_rows_are_named_by_as_much_of_their_paths_as_tells_them_apart() -> None:
    assert labels(["order", "out/order/onnx", "out/order/tflite"]) == {
        "order": "order",
        "out/order/onnx": "onnx",
        "out/order/tflite": "tflite",
    }
    assert labels(["a/onnx", "b/onnx"]) == {"a/onnx": "a/onnx", "b/onnx": "b/onnx"}
    assert labels(["x", "x"]) == {"x": "x"}
