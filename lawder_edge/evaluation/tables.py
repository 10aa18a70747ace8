"""An evaluation report as text: cells, Markdown, CSV. Pure functions."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from lawder_edge.evaluation.corruptions import SEVERITIES
from lawder_edge.evaluation.evaluate import EvalReport, Summary
from lawder_edge.evaluation.robustness import CLEAN, Robustness
from lawder_edge.intervals import Interval, bootstrap_mean

HEADER = ("dataset", "n", "Dice", "IoU", "2-class mIoU", "surface Dice 2 px", "Dice small (<2 %)")
IMAGE_COLUMNS = ("id", "dice", "iou", "mean_iou", "surface_dice", "area_fraction", "predicted_area_fraction")


def rows(report: EvalReport) -> list[tuple[str, ...]]:
    """A row a dataset, and one for all where there are several. Each metric: mean [95 % interval]."""
    summaries = [(d.dataset, d.summary) for d in report.datasets]
    if len(summaries) > 1:
        summaries.append(("all", report.overall))
    return [(name, *_cells(summary)) for name, summary in summaries]


def note(report: EvalReport) -> str:
    """The threshold, and whether the weights have seen these images."""
    return f"threshold {report.threshold:g}. {report.overlap.note}"


def to_markdown(report: EvalReport) -> str:
    """The rows as a Markdown table, the note below it."""
    return f"{markdown_table(HEADER, rows(report))}\n{note(report)}\n"


def markdown_table(header: Sequence[str], cells: Sequence[Sequence[str]]) -> str:
    """With a final newline."""
    return "".join("| " + " | ".join(row) + " |\n" for row in (header, ("---",) * len(header), *cells))


def to_csv(report: EvalReport, *, per_image: bool = False) -> str:
    """The rows, or with `per_image` a row an image, as CSV."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    if per_image:
        writer.writerow(IMAGE_COLUMNS)
        writer.writerows([getattr(score, column) for column in IMAGE_COLUMNS] for score in report.scores)
    else:
        writer.writerows((HEADER, *rows(report)))
    return text.getvalue()


def corruption_header() -> tuple[str, ...]:
    """Of `corruption_rows`."""
    return ("corruption", *(f"severity {severity}" for severity in SEVERITIES))


def corruption_rows(found: Robustness, name: str) -> list[tuple[str, ...]]:
    """A row a corruption: Dice of the predictor `name`, mean [95 % interval], at each severity."""
    kinds = dict.fromkeys(cell.kind for cell in found.cells if cell.kind != CLEAN)
    return [
        (kind, *(interval(bootstrap_mean(found.of(name, kind, severity).dice)) for severity in SEVERITIES))
        for kind in kinds
    ]


def interval(value: Interval) -> str:
    """mean [low, high], four digits."""
    return f"{value.mean:.4f} [{value.low:.4f}, {value.high:.4f}]"


def _cells(s: Summary) -> tuple[str, ...]:
    small = f"{interval(s.small.dice)} n={s.small.n}" if s.small else "-"
    return (str(s.n), *(interval(m) for m in (s.dice, s.iou, s.mean_iou, s.surface_dice)), small)
