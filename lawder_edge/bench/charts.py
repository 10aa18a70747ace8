"""What a benchmark shows as charts. Pure functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from lawder_edge.bench.latency import percentile
from lawder_edge.bench.report import labels
from lawder_edge.bench.rows import BenchReport, Measured
from lawder_edge.bench.svg import COLOURS, Axis, Line, Point, axis, bars, legend, plot


def measured_rows(report: BenchReport) -> list[tuple[str, Measured, str]]:
    """(short name, numbers, colour) of the rows that were measured."""
    names = labels([row.source for row in report.rows])
    found = [(names[row.source], row.measured) for row in report.rows if row.measured is not None]
    return [(name, m, COLOURS[i % len(COLOURS)]) for i, (name, m) in enumerate(found)]


def latency_cdf(report: BenchReport) -> str:
    """Share of calls of the bare network that took at most so long. "" where nothing was measured."""
    rows = measured_rows(report)
    if not rows:
        return ""
    shares = [i / 2 for i in range(201)]
    lines = []
    for name, m, colour in rows:
        ordered = sorted(m.infer.values_ms)
        lines.append(Line(name, tuple((percentile(ordered, q), q / 100) for q in shares), colour))
    x = axis("infer, ms", [p[0] for line in lines for p in line.points], log=True, room=0.03)
    chart = plot(x, Axis("share of calls", 0, 1), lines=lines, title="Cumulative distribution of latency")
    return chart + legend([(name, colour) for name, _, colour in rows])


def pareto(
    report: BenchReport, dice: Mapping[str, float] | None = None, *, of: Literal["infer", "cpu"] = "infer"
) -> str:
    """Dice against latency, or the processor's time, the best joined. "" where fewer than two rows have both.

    dice: by source, in place of what certificates say.
    """
    sources = [row.source for row in report.rows if row.measured is not None]
    points = []
    for source, (name, m, colour) in zip(sources, measured_rows(report), strict=True):
        accuracy, took = m.artifact.accuracy, m.infer if of == "infer" else m.cpu
        found = dice.get(source) if dice is not None else None if accuracy is None else accuracy.dice
        if found is not None and took is not None:
            points.append(Point(name, took.p50_ms, found, colour))
    if len(points) < 2:
        return ""
    label = "infer p50, ms" if of == "infer" else "processor's time of infer, p50, ms"
    x = axis(label, [p.x for p in points], log=True)
    y = axis("Dice", [p.y for p in points], room=0.15)
    front = front_of(points)
    lines = (
        [Line("not beaten in both", tuple((p.x, p.y) for p in front), "#999", dashed=True)] if len(front) > 1 else []
    )
    return plot(x, y, lines=lines, points=points, title="Dice against latency")


def front_of(points: Sequence[Point]) -> list[Point]:
    """Points that no other beats: none is as fast (x) and as good (y) and better in one, by rising x."""
    best: list[Point] = []
    for point in sorted(points, key=lambda p: (p.x, -p.y)):
        if not best or point.y > best[-1].y:
            best.append(point)
    return best


def roofline(report: BenchReport) -> str:
    """Each row under what the machine allows. "" where there is no roof or no row with counted FLOPs."""
    roof = report.roof
    names = labels([row.source for row in report.rows])
    points = [
        Point(names[row.source], row.measured.static.intensity, speed, COLOURS[i % len(COLOURS)])
        for i, row in enumerate(row for row in report.rows if row.measured is not None)
        if row.measured is not None and row.measured.static is not None and (speed := report.gflops(row)) is not None
    ]
    if roof is None or not points:
        return ""
    knee = roof.gflops / roof.gbytes
    x = axis("FLOPs a byte moved", [*(p.x for p in points), knee / 20, knee * 8], log=True)
    y = axis("GFLOP/s", [*(p.y for p in points), roof.gflops, roof.allows(x.low)], log=True)
    lines = [Line("roof", ((x.low, roof.allows(x.low)), (knee, roof.gflops), (x.high, roof.gflops)), "#444")]
    return plot(x, y, lines=lines, points=points, title="Roofline")


def memory(report: BenchReport) -> str:
    """Memory above what was before loading. "" where nothing was measured."""
    rows = [(name, m.memory.added_bytes / 1e6, colour) for name, m, colour in measured_rows(report)]
    return bars(rows, unit="MB", title="Memory") if rows else ""
