"""A benchmark as text: table, JSON, CSV, Markdown. Pure functions."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
from collections.abc import Callable
from typing import Any

from lawder_edge.bench.latency import LatencyStats
from lawder_edge.bench.machine import Machine
from lawder_edge.bench.rows import CONVENTION, SCHEMA_VERSION, TIMED, BenchReport, BenchSpec, Measured, Row

ABSENT = "-"


def _number(value: float | None, scale: float, digits: int) -> str:
    return ABSENT if value is None else f"{value / scale:,.{digits}f}"


def _milliseconds(value: float) -> str:
    return f"{value:.2f}" if value < 100 else f"{value:,.0f}"


# Heading, and what stands below it. Numbers are decimal: 1 kB = 1000 bytes.
_COLUMNS: tuple[tuple[str, Callable[[Measured], str]], ...] = (
    ("runtime", lambda m: m.artifact.runtime),
    ("precision", lambda m: m.artifact.precision),
    ("input", lambda m: f"{m.size[0]}x{m.size[1]}"),
    ("params", lambda m: _number(m.params, 1, 0)),
    ("MACs M", lambda m: _number(m.macs, 1e6, 1)),
    ("FLOPs M", lambda m: _number(m.macs, 0.5e6, 1)),
    ("file kB", lambda m: _number(m.artifact.size_bytes, 1e3, 1)),
    ("load ms", lambda m: _milliseconds(m.load_ms)),
    ("first ms", lambda m: _milliseconds(m.infer.first_ms)),
    ("p50 ms", lambda m: _milliseconds(m.infer.p50_ms)),
    ("p90 ms", lambda m: _milliseconds(m.infer.p90_ms)),
    ("p99 ms", lambda m: _milliseconds(m.infer.p99_ms)),
    ("fps", lambda m: f"{m.infer.fps:.1f}"),
    ("frame p50 ms", lambda m: _milliseconds(m.frame.p50_ms)),
    ("memory MB", lambda m: _number(m.memory.added_bytes, 1e6, 1)),
)


def cells(row: Row) -> tuple[str, ...]:
    """One row for people: the source, then a text for every heading; the status stands where numbers are missing."""
    if row.measured is None:
        return (row.source, row.status, *[ABSENT] * (len(_COLUMNS) - 1))
    return (row.source, *(show(row.measured) for _, show in _COLUMNS))


HEADINGS = ("model", *(name for name, _ in _COLUMNS))
# The columns that hold numbers, for aligning them to the right.
NUMERIC = tuple(range(HEADINGS.index("params"), len(HEADINGS)))


def header(report: BenchReport) -> tuple[str, ...]:
    """What stands above the rows, a line each: the machine, how it was measured, what is timed and counted."""
    return (*machine_lines(report.machine), spec_line(report.spec), TIMED, CONVENTION)


def machine_lines(machine: Machine) -> tuple[str, ...]:
    """The machine in two lines: hardware, software."""
    features = f" ({', '.join(machine.features)})" if machine.features else ""
    packages = ", ".join(f"{p.name} {p.version}" for p in machine.packages if p.version)
    return (
        f"{machine.cpu}, {machine.architecture}{features}, {machine.usable_cores} of {machine.cores} cores, "
        f"{machine.memory_bytes / 1e9:.1f} GB, governor {machine.governor or 'unknown'}, "
        f"load {ABSENT if machine.load_average is None else f'{machine.load_average:g}'}",
        f"{machine.os}, Python {machine.python}, {packages}",
    )


def spec_line(spec: BenchSpec) -> str:
    """How every row was measured."""
    threads = (
        f"{spec.threads} thread{'' if spec.threads == 1 else 's'}" if spec.threads else "the runtime's own threads"
    )
    return (
        f"Batch 1, {threads}, frame {spec.frame[0]}x{spec.frame[1]}, at least {spec.rule.min_iters} calls and "
        f"{spec.rule.min_time_s:g} s after warm-up, every call counted."
    )


def notes(report: BenchReport) -> tuple[str, ...]:
    """What stands below the rows: hashes of what was measured, rows that failed and why, warnings."""
    hashes = [
        f"{row.source}: {row.measured.artifact.file} sha256 {row.measured.artifact.sha256[:8]}"
        for row in report.rows
        if row.measured and row.measured.artifact.file
    ]
    lost = [f"{row.source}: {row.status}: {row.reason}" for row in report.rows if row.status != "ok"]
    return (*hashes, *lost, *(f"warning: {text}" for text in report.warnings))


def to_markdown(report: BenchReport) -> str:
    """Header, table and notes as Markdown."""
    rule = ["--:" if i in NUMERIC else ":--" for i in range(len(HEADINGS))]
    lines = [HEADINGS, rule, *(cells(row) for row in report.rows)]
    table = ["| " + " | ".join(text.replace("|", "\\|").replace("\n", " ") for text in line) + " |" for line in lines]
    below = [f"- {text}" for text in notes(report)]
    return "\n".join([*(f"{line}  " for line in header(report)), "", *table, "", *below]).rstrip() + "\n"


def phase(stats: LatencyStats) -> dict[str, Any]:
    """Latency of one phase for JSON; names as in optimum-benchmark, the unit apart."""
    return {
        "unit": "ms",
        "first": stats.first_ms,
        "count": stats.count,
        "total": sum(stats.values_ms),
        "mean": stats.mean_ms,
        "stdev": stats.stdev_ms,
        "p50": stats.p50_ms,
        "p90": stats.p90_ms,
        "p95": stats.p95_ms,
        "p99": stats.p99_ms,
        "fps": stats.fps,
        "warmup_count": stats.warmup_count,
        "steady": stats.steady,
        "values": list(stats.values_ms),
    }


def _row_fields(row: Row) -> dict[str, Any]:
    fields: dict[str, Any] = {"source": row.source, "status": row.status, "reason": row.reason}
    m = row.measured
    if m is None:
        return fields | {"exit_code": row.exit_code, "log": row.log}
    return {
        **fields,
        **dataclasses.asdict(m.artifact),
        "height": m.size[0],
        "width": m.size[1],
        "channels": m.channels,
        "params": m.params,
        "macs": m.macs,
        "flops": None if m.macs is None else 2 * m.macs,
        "load_ms": m.load_ms,
        "memory": {**dataclasses.asdict(m.memory), "added_bytes": m.memory.added_bytes},
        "infer": phase(m.infer),
        "frame": phase(m.frame),
    }


def to_json(report: BenchReport) -> str:
    """Everything, with every single latency. `schema_version` changes when a key changes its meaning."""
    document = {
        "schema_version": SCHEMA_VERSION,
        "timed": TIMED,
        "flops_convention": CONVENTION,
        "machine": dataclasses.asdict(report.machine),
        "spec": dataclasses.asdict(report.spec),
        "rows": [_row_fields(row) for row in report.rows],
        "warnings": list(report.warnings),
    }
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


_PHASE_MS = ("first", "mean", "stdev", "p50", "p90", "p95", "p99")
CSV_COLUMNS = (
    *("source", "status", "reason", "runtime", "model", "precision", "file", "sha256", "size_bytes"),
    *("height", "width", "channels", "params", "macs", "flops", "load_ms"),
    *(f"{p}_{name}" for p in ("infer", "frame") for name in ("count", *(f"{k}_ms" for k in _PHASE_MS), "fps")),
    *("memory_baseline_bytes", "memory_peak_bytes", "memory_added_bytes"),
)


def to_csv(report: BenchReport) -> str:
    """One line a row, raw numbers with the unit in the column's name, nothing where there is none."""
    out = io.StringIO()
    writer = csv.DictWriter(out, CSV_COLUMNS, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    for row in report.rows:
        fields = _row_fields(row)
        for name in ("infer", "frame"):
            for key, value in fields.pop(name, {}).items():
                fields[f"{name}_{key}_ms" if key in _PHASE_MS else f"{name}_{key}"] = value
        for key, value in fields.pop("memory", {}).items():
            fields[f"memory_{key}"] = value
        writer.writerow(fields)
    return out.getvalue()
