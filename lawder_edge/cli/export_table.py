"""What became of exports as text. Pure functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lawder_edge.bench.rows import Measured, Row
from lawder_edge.exporting.outcome import ExportOutcome

HEADER = ("target", "precision", "status", "file", "kB", "sha256", "mask Dice mean", "worst", "max |logit diff|")
NUMERIC = (4, 6, 7, 8)
MEASURED_HEADER = (*HEADER, "p50 ms", "p99 ms", "frame p50 ms", "memory MB")
MEASURED_NUMERIC = (*NUMERIC, 9, 10, 11, 12)
_REFERENCE = ("pytorch", "fp32", "reference", *["-"] * 6)


def cells(row: ExportOutcome) -> tuple[str, ...]:
    """One export under `HEADER`; kB are 1000 bytes."""
    largest = "-" if row.logit_difference is None else f"{row.logit_difference:.1e}"
    agreement = (
        (f"{row.mask_dice_mean:.5f}", f"{row.mask_dice_worst:.5f}", largest)
        if row.mask_dice_mean is not None
        else ("-", "-", "-")
    )
    size = f"{row.size_bytes / 1000:.1f}" if row.size_bytes else "-"
    return (row.target, row.precision, row.status, row.file or "-", size, row.sha256[:8] or "-", *agreement)


def measured_rows(
    found: Sequence[ExportOutcome], timed: Mapping[str, Measured | None], *, model: str
) -> list[tuple[str, ...]]:
    """PyTorch and every export under `MEASURED_HEADER`. timed: by model name and bundle path."""
    rows = [(*_REFERENCE, *_speed(timed.get(model)))]
    return rows + [(*cells(row), *_speed(timed.get(row.bundle))) for row in found]


def remarks(row: ExportOutcome) -> tuple[str, ...]:
    """The verdict in words, what the target said, and the drop in Dice with its interval where one was measured."""
    said = [f"{row.target}: {text}" for text in (row.reason, *row.remarks) if text]
    if row.dice_drop is not None:
        said.append(
            f"{row.target}: Dice drop {row.dice_drop:+.5f} [95 % {row.dice_drop_low:+.5f}, {row.dice_drop_high:+.5f}] "
            f"on {row.source}"
        )
    return tuple(said)


def unmeasured(rows: Sequence[Row]) -> tuple[str, ...]:
    """Which rows of a benchmark have no numbers, and why."""
    return tuple(f"{row.source}: not measured ({row.status}): {row.reason}" for row in rows if row.measured is None)


def _speed(m: Measured | None) -> tuple[str, ...]:
    if m is None:
        return ("-",) * 4
    memory = f"{m.memory.added_bytes / 1e6:.0f}" if m.memory.added_bytes else "-"
    return (f"{m.infer.p50_ms:.1f}", f"{m.infer.p99_ms:.1f}", f"{m.frame.p50_ms:.1f}", memory)
