"""A benchmark as text: table, JSON, CSV, Markdown. Pure functions."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
from collections.abc import Callable, Sequence
from typing import Any

from lawder_edge.bench.latency import LatencyStats
from lawder_edge.bench.machine import Machine
from lawder_edge.bench.rows import (
    CONVENTION,
    SCHEMA_VERSION,
    TIMED,
    Accuracy,
    BenchReport,
    BenchSpec,
    Measured,
    Noise,
    Ratio,
    Roof,
    Row,
)

ABSENT = "-"


def _number(value: float | None, scale: float, digits: int) -> str:
    return ABSENT if value is None else f"{value / scale:,.{digits}f}"


def _milliseconds(value: float) -> str:
    return f"{value:.2f}" if value < 100 else f"{value:,.0f}"


def _accuracy(value: Callable[[Accuracy], float | None], digits: int) -> Callable[[Measured], str]:
    return lambda m: ABSENT if m.artifact.accuracy is None else _number(value(m.artifact.accuracy), 1, digits)


def _static(value: Callable[[Any], float], scale: float, digits: int) -> Callable[[Measured], str]:
    return lambda m: ABSENT if m.static is None else _number(value(m.static), scale, digits)


# Heading, and what stands below it. Numbers are decimal: 1 kB = 1000 bytes.
_COLUMNS: tuple[tuple[str, Callable[[Measured], str]], ...] = (
    ("runtime", lambda m: m.artifact.runtime),
    ("precision", lambda m: m.artifact.precision),
    ("input", lambda m: f"{m.size[0]}x{m.size[1]}"),
    ("params", _static(lambda s: s.params, 1, 0)),
    ("MACs M", _static(lambda s: s.macs, 1e6, 1)),
    ("FLOPs M", _static(lambda s: s.macs, 0.5e6, 1)),
    ("file kB", lambda m: _number(m.artifact.size_bytes, 1e3, 1)),
    ("Dice", _accuracy(lambda a: a.dice, 4)),
    ("drop", _accuracy(lambda a: a.dice_drop, 4)),
    ("load ms", lambda m: _milliseconds(m.load_ms)),
    ("first ms", lambda m: _milliseconds(m.infer.first_ms)),
    ("p50 ms", lambda m: _milliseconds(m.infer.p50_ms)),
    ("p90 ms", lambda m: _milliseconds(m.infer.p90_ms)),
    ("p95 ms", lambda m: _milliseconds(m.infer.p95_ms)),
    ("p99 ms", lambda m: _milliseconds(m.infer.p99_ms)),
    ("jitter ms", lambda m: _milliseconds(m.infer.jitter_ms)),
    ("fps", lambda m: f"{m.infer.fps:.1f}"),
    ("cpu ms", lambda m: ABSENT if m.cpu is None else _milliseconds(m.cpu.p50_ms)),
    ("pre ms", lambda m: _milliseconds(m.pre.p50_ms)),
    ("post ms", lambda m: _milliseconds(m.post.p50_ms)),
    ("frame p50 ms", lambda m: _milliseconds(m.frame.p50_ms)),
    ("memory MB", lambda m: _number(m.memory.added_bytes, 1e6, 1)),
    ("plan kB", lambda m: _number(m.peak_activation_bytes, 1e3, 1)),
)
HEADINGS = ("model", *(name for name, _ in _COLUMNS), "of roof %", "times faster [95 %]", "times less cpu [95 %]")
# The columns that hold numbers, for aligning them to the right.
NUMERIC = tuple(range(HEADINGS.index("params"), len(HEADINGS)))


def table(report: BenchReport) -> list[tuple[str, ...]]:
    """Every row for people: what it is, then a text for every heading; the status stands where numbers are missing."""
    of = {(ratio.source, ratio.of): ratio for ratio in report.ratios}
    names = labels([row.source for row in report.rows])
    lines = []
    for row in report.rows:
        m = row.measured
        if m is None:
            lines.append((names[row.source], row.status, *[ABSENT] * (len(HEADINGS) - 2)))
            continue
        share = _number(report.share_of_roof(row), 0.01, 0)
        faster = (_ratio(of.get((row.source, "infer"))), _ratio(of.get((row.source, "cpu"))))
        lines.append((names[row.source], *(show(m) for _, show in _COLUMNS), share, *faster))
    return lines


def _ratio(ratio: Ratio | None) -> str:
    return ABSENT if ratio is None else f"{ratio.median:.2f} [{ratio.low:.2f}, {ratio.high:.2f}]"


def labels(sources: Sequence[str]) -> dict[str, str]:
    """Short names: as many of the last parts of each path as tell all of them apart."""
    parts = {source: source.rstrip("/").split("/") for source in sources}
    for count in range(1, max(map(len, parts.values()), default=0) + 1):
        found = {source: "/".join(part[-count:]) for source, part in parts.items()}
        if len(set(found.values())) == len(found):
            return found
    return {source: source for source in sources}


def header(report: BenchReport) -> tuple[str, ...]:
    """What stands above the rows, a line each: machine, noise, roof, how it was measured, what is timed and counted."""
    roof = () if report.roof is None else (roof_line(report.roof),)
    noise = noise_line(report.noise)
    return (*machine_lines(report.machine), noise, *roof, spec_line(report.spec), TIMED, CONVENTION)


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


def noise_line(noise: Noise) -> str:
    """What else went on."""
    clock = f", clock {noise.mhz[0]:.0f} to {noise.mhz[1]:.0f} MHz" if noise.mhz else ""
    heat = "" if noise.throttled is None else f", slowed down for heat {noise.throttled} times"
    return (
        f"Noise: other work {noise.busy_percent:.0f} % of the CPU, a fixed computation between turns p50 "
        f"{noise.p50_ms:.2f} ms, p95 {noise.spread_percent:+.0f} %{clock}{heat}"
    )


def roof_line(roof: Roof) -> str:
    """What the machine does at the most."""
    return f"Roof: {roof.gflops:.1f} GFLOP/s in a float32 product, {roof.gbytes:.1f} GB/s in a sum of arrays in memory"


def spec_line(spec: BenchSpec) -> str:
    """How every row was measured."""
    threads = (
        f"{spec.threads} thread{'' if spec.threads == 1 else 's'}" if spec.threads else "the runtime's own threads"
    )
    pinned = f" on core {', '.join(map(str, spec.pin))}" if spec.pin else ""
    return (
        f"Batch 1, {threads}{pinned}, frame {spec.frame[0]}x{spec.frame[1]} ({' + '.join(spec.include)}), at least "
        f"{spec.rule.min_iters} calls and {spec.rule.min_time_s:g} s after warm-up in {spec.rule.turns} turns, rows "
        "taking turns; every call counted but the first two of a turn. Times faster: than the first row, by turns."
    )


def notes(report: BenchReport) -> tuple[str, ...]:
    """What stands below the rows: hashes and certificates of what was measured, rows that failed, warnings."""
    hashes = [
        f"{row.source}: {row.measured.artifact.file} sha256 {row.measured.artifact.sha256[:8]}"
        + (f", {a.status} on {a.images}" if (a := row.measured.artifact.accuracy) else "")
        for row in report.rows
        if row.measured and row.measured.artifact.file
    ]
    lost = [f"{row.source}: {row.status}: {row.reason}" for row in report.rows if row.status != "ok"]
    return (*hashes, *lost, *(f"warning: {text}" for text in report.warnings))


def to_markdown(report: BenchReport) -> str:
    """Header, table and notes as Markdown."""
    rule = ["--:" if i in NUMERIC else ":--" for i in range(len(HEADINGS))]
    lines = [HEADINGS, rule, *table(report)]
    written = ["| " + " | ".join(text.replace("|", "\\|").replace("\n", " ") for text in line) + " |" for line in lines]
    below = [f"- {text}" for text in notes(report)]
    return "\n".join([*(f"{line}  " for line in header(report)), "", *written, "", *below]).rstrip() + "\n"


def phase(stats: LatencyStats) -> dict[str, Any]:
    """Latency of one phase for JSON; names as in optimum-benchmark, the unit apart."""
    return {
        "unit": "ms",
        "first": stats.first_ms,
        "count": stats.count,
        "total": sum(stats.values_ms),
        "mean": stats.mean_ms,
        "stdev": stats.stdev_ms,
        "jitter": stats.jitter_ms,
        "p50": stats.p50_ms,
        "p90": stats.p90_ms,
        "p95": stats.p95_ms,
        "p99": stats.p99_ms,
        "fps": stats.fps,
        "warmup_count": stats.warmup_count,
        "steady": stats.steady,
        "turns": list(stats.turns_ms),
        "values": list(stats.values_ms),
    }


def _row_fields(row: Row) -> dict[str, Any]:
    fields: dict[str, Any] = {"source": row.source, "status": row.status, "reason": row.reason}
    m = row.measured
    if m is None:
        return fields | {"exit_code": row.exit_code, "log": row.log}
    static = {} if m.static is None else dataclasses.asdict(m.static)
    return {
        **fields,
        **dataclasses.asdict(m.artifact),
        "height": m.size[0],
        "width": m.size[1],
        "channels": m.channels,
        "params": static.get("params"),
        "macs": static.get("macs"),
        "flops": None if m.static is None else 2 * m.static.macs,
        "activations": static.get("activations"),
        "moved": static.get("moved"),
        "flops_per_byte": None if m.static is None else m.static.intensity,
        "peak_activations": static.get("peak_activations"),
        "peak_activation_bytes": m.peak_activation_bytes,
        "load_ms": m.load_ms,
        "memory": {**dataclasses.asdict(m.memory), "added_bytes": m.memory.added_bytes},
        "infer": phase(m.infer),
        "cpu": None if m.cpu is None else phase(m.cpu),
        "pre": phase(m.pre),
        "post": phase(m.post),
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
        "noise": {**dataclasses.asdict(report.noise), "spread_percent": report.noise.spread_percent},
        "roof": None if report.roof is None else dataclasses.asdict(report.roof),
        "rows": [_row_fields(row) | {"share_of_roof": report.share_of_roof(row)} for row in report.rows],
        "ratios": [dataclasses.asdict(ratio) for ratio in report.ratios],
        "warnings": list(report.warnings),
    }
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


_PHASE_MS = ("first", "mean", "stdev", "jitter", "p50", "p90", "p95", "p99")
_PHASES = ("infer", "cpu", "pre", "post", "frame")
_ACCURACY = ("status", "images", "dice", "dice_drop", "mask_dice", "mask_dice_worst")
CSV_COLUMNS = (
    *("source", "status", "reason", "runtime", "model", "precision", "file", "sha256", "size_bytes"),
    *("height", "width", "channels", "params", "macs", "flops", "activations", "moved", "flops_per_byte"),
    *("peak_activations", "peak_activation_bytes", "load_ms"),
    *(f"{p}_{name}" for p in _PHASES for name in ("count", *(f"{k}_ms" for k in _PHASE_MS), "fps")),
    *("memory_baseline_bytes", "memory_peak_bytes", "memory_added_bytes"),
    *("times_faster", "times_faster_low", "times_faster_high"),
    *(f"accuracy_{name}" for name in _ACCURACY),
)


def to_csv(report: BenchReport) -> str:
    """One line a row, raw numbers with the unit in the column's name, nothing where there is none."""
    out = io.StringIO()
    writer = csv.DictWriter(out, CSV_COLUMNS, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    of = {ratio.source: ratio for ratio in report.ratios if ratio.of == "infer"}
    for row in report.rows:
        fields = _row_fields(row)
        for name in _PHASES:
            for key, value in (fields.pop(name, None) or {}).items():
                fields[f"{name}_{key}_ms" if key in _PHASE_MS else f"{name}_{key}"] = value
        for name in ("memory", "accuracy"):
            for key, value in (fields.pop(name, None) or {}).items():
                fields[f"{name}_{key}"] = value
        if row.source in of:
            ratio = of[row.source]
            fields |= {"times_faster": ratio.median, "times_faster_low": ratio.low, "times_faster_high": ratio.high}
        writer.writerow(fields)
    return out.getvalue()
