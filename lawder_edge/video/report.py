"""What a run of the video came to, as JSON or Markdown."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from lawder_edge.bench.machine import Machine, describe_machine
from lawder_edge.video.meter import Percentiles, percentiles
from lawder_edge.video.pipeline import Outcome

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class RunReport:
    """One run. latencies: capture_to_display, from a frame being captured to its picture being handed to the viewers;
    pre, infer, post, draw: what the stages took of it, which overlap between frames. All over the last 10 000 frames.

    kept_up: whether frames that nobody had time for were left out; otherwise capture_to_display holds the waits of a
    file that is read as fast as it can be. cpu_percent: of this process, 100 for one core. fps: pictures shown over
    the whole run.
    """

    source: str
    models: tuple[str, ...]
    seconds: float
    fps: float
    captured: int
    shown: int
    segmented: int
    dropped: int
    skipped: int
    reconnects: int
    failures: int
    alarms: int
    unusable: tuple[tuple[str, int], ...]
    kept_up: bool
    capture_to_display: Percentiles
    pre: Percentiles
    infer: Percentiles
    post: Percentiles
    draw: Percentiles
    cpu_percent: float
    peak_memory_mb: float
    written: tuple[str, ...]
    remarks: tuple[str, ...]
    machine: Machine

    @property
    def pre_and_post_share(self) -> float:
        """Pre- and post-processing as a share of what a frame takes with the network, by medians."""
        around = self.pre.p50_ms + self.post.p50_ms
        return around / max(around + self.infer.p50_ms, 1e-9)


def report_of(
    outcome: Outcome,
    *,
    source: str,
    models: tuple[str, ...],
    kept_up: bool,
    written: tuple[str, ...] = (),
    remarks: tuple[str, ...] = (),
) -> RunReport:
    """Put together what a run measured, and the machine."""
    meter = outcome.meter
    kept = meter.durations
    return RunReport(
        source=source,
        models=models,
        seconds=outcome.seconds,
        fps=outcome.shown / max(outcome.seconds, 1e-3),
        captured=outcome.captured,
        shown=outcome.shown,
        segmented=outcome.segmented,
        dropped=outcome.dropped,
        skipped=outcome.skipped,
        reconnects=outcome.reconnects,
        failures=outcome.failures,
        alarms=outcome.alarms,
        unusable=outcome.reasons,
        kept_up=kept_up,
        capture_to_display=percentiles(kept.shown),
        pre=percentiles(kept.pre),
        infer=percentiles(kept.infer),
        post=percentiles(kept.post),
        draw=percentiles(kept.draw),
        cpu_percent=outcome.cpu_percent,
        peak_memory_mb=meter.peak_memory_mb,
        written=written,
        remarks=remarks,
        machine=describe_machine(),
    )


def to_json(report: RunReport) -> str:
    fields = asdict(report) | {"pre_and_post_share": round(report.pre_and_post_share, 4)}
    return json.dumps({"schema_version": SCHEMA_VERSION, **fields}, indent=1) + "\n"


def to_markdown(report: RunReport) -> str:
    m = report.machine
    counts = (
        ("captured", report.captured), ("shown", report.shown), ("segmented", report.segmented),
        ("dropped", report.dropped), ("missing or unreadable", report.skipped), ("reconnects", report.reconnects),
        ("network failures", report.failures), ("alarms", report.alarms), *report.unusable,
    )  # fmt: skip
    rows = (
        ("capture to display", report.capture_to_display), ("pre", report.pre), ("network", report.infer),
        ("post", report.post), ("draw", report.draw),
    )  # fmt: skip
    lines = [
        f"# {report.source}",
        "",
        f"{', '.join(report.models)}: {report.fps:.1f} frames a second over {report.seconds:.1f} s, "
        f"CPU {report.cpu_percent:.0f} % (100 is one core), at most {report.peak_memory_mb:.0f} MB.",
        f"{m.cpu}, {m.usable_cores} of {m.cores} cores usable; {m.os}, Python {m.python}.",
        "",
        "| ms | p50 | p95 | p99 |",
        "|---|---|---|---|",
        *(f"| {name} | {p.p50_ms:.1f} | {p.p95_ms:.1f} | {p.p99_ms:.1f} |" for name, p in rows),
        "",
        f"Pre- and post-processing are {100 * report.pre_and_post_share:.0f} % of what a frame takes with the network."
        + ("" if report.kept_up else " Read as fast as it goes: capture to display holds waits between the stages."),
        "",
        "| frames | |",
        "|---|---|",
        *(f"| {name} | {count} |" for name, count in counts),
        "",
        *(f"- {text}" for text in (*report.written, *report.remarks)),
    ]
    return "\n".join(lines).rstrip() + "\n"
