"""An evaluation report as text: cells, Markdown, CSV. Pure functions."""

from __future__ import annotations

import csv
import io

from lawder_edge.evaluation.evaluate import EvalReport, Summary
from lawder_edge.intervals import Interval

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
    lines = ("| " + " | ".join(cells) + " |" for cells in (HEADER, ("---",) * len(HEADER), *rows(report)))
    return "\n".join(lines) + f"\n\n{note(report)}\n"


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


def interval(value: Interval) -> str:
    """mean [low, high], four digits."""
    return f"{value.mean:.4f} [{value.low:.4f}, {value.high:.4f}]"


def _cells(s: Summary) -> tuple[str, ...]:
    small = f"{interval(s.small.dice)} n={s.small.n}" if s.small else "-"
    return (str(s.n), *(interval(m) for m in (s.dice, s.iou, s.mean_iou, s.surface_dice)), small)
