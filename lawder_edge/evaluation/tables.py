"""An evaluation report as text: cells, Markdown, CSV. Pure functions."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

import numpy as np

from lawder_edge.evaluation.corruptions import SEVERITIES
from lawder_edge.evaluation.evaluate import EvalReport, Summary
from lawder_edge.evaluation.false_positives import AREAS, FalsePositives
from lawder_edge.evaluation.robustness import CLEAN, Robustness
from lawder_edge.intervals import Interval, QuantileInterval

HEADER = ("dataset", "n", "Dice", "IoU", "2-class mIoU", "surface Dice 2 px", "Dice small (<2 %)")
FALSE_POSITIVE_HEADER = (
    *("dataset", "n empty", "false area", "95 % have at most", "largest"),
    *(f"images with more than {area * 100:g} %" if area else "images with any" for area in AREAS),
)
CLASS_HEADER = ("dataset", "n with it", "Dice where it is", "claimed where it is not")
IMAGE_COLUMNS = ("id", "dice", "iou", "mean_iou", "surface_dice", "area_fraction", "predicted_area_fraction")


def rows(report: EvalReport) -> list[tuple[str, ...]]:
    """A row a dataset, and one for all where there are several. Each metric: mean [95 % interval].

    A dataset whose masks are all empty has no row: its Dice is a convention and no score.
    """
    return [(name, *_cells(s)) for name, s in _summaries(report) if s.n_empty < s.n]


def false_positive_rows(report: EvalReport) -> list[tuple[str, ...]]:
    """A row a dataset with empty masks: how much of the frame is claimed there, as a share; a rate of images."""
    return [
        (name, *false_positive_cells(s.false_positives))
        for name, s in _summaries(report)
        if s.false_positives is not None
    ]


def false_positive_cells(found: FalsePositives) -> tuple[str, ...]:
    """Under all but the first name of `FALSE_POSITIVE_HEADER`."""
    above = (interval(a.images) for a in found.above)
    return (str(found.n), interval(found.area), interval(found.p95), f"{found.worst:.4f}", *above)


def parts(report: EvalReport) -> list[tuple[tuple[str, ...], list[tuple[str, ...]]]]:
    """The tables of a report that have rows, each with its header."""
    several = bool(report.overall.classes)
    header = tuple("mIoU" if several and name == "2-class mIoU" else name for name in HEADER)
    all_of_them = [
        (header, rows(report)),
        (CLASS_HEADER, class_rows(report)),
        (FALSE_POSITIVE_HEADER, false_positive_rows(report)),
    ]
    return [(header, cells) for header, cells in all_of_them if cells]


def class_rows(report: EvalReport) -> list[tuple[str, ...]]:
    """A row a dataset, and one for all, and a class, where there are several."""
    return [
        (f"{name}, class {k}", str(c.n), "-" if c.dice is None else interval(c.dice), f"{c.n_false} of {c.n_without}")
        for name, summary in _summaries(report)
        for k, c in enumerate(summary.classes, start=1)
    ]


def note(report: EvalReport) -> str:
    """The threshold, what empty masks mean, and whether the weights have seen these images."""
    overall = report.overall
    empty = ""
    if overall.n_empty == overall.n:
        empty = "Every mask is empty: all that was found is false, shares are of the frame. "
    elif overall.n_empty:
        empty = (
            f"{overall.n_empty} of {overall.n} masks are empty: scores there are 1 where nothing was found, else 0; "
            "false area is a share of the frame. "
        )
    cut = "Of several classes the most probable one" if overall.classes else f"threshold {report.threshold:g}"
    if overall.classes:
        empty += "The means count a class that an image lacks as 1 where it is not claimed, and as 0 where it is. "
    return f"{cut}. {empty}{report.overlap.note}"


def to_markdown(report: EvalReport) -> str:
    """The tables in Markdown, the note below them."""
    return "\n".join([*(markdown_table(header, cells) for header, cells in parts(report)), f"{note(report)}\n"])


def markdown_table(header: Sequence[str], cells: Sequence[Sequence[str]]) -> str:
    """With a final newline."""
    return "".join("| " + " | ".join(row) + " |\n" for row in (header, ("---",) * len(header), *cells))


def mean_and_spread(values: Sequence[float | None], *, digits: int) -> str:
    """Mean of what is there, and behind it the standard deviation in brackets where it is several; "-" for none."""
    there = [value for value in values if value is not None]
    if not there:
        return "-"
    spread = f" ({np.std(there, ddof=1):.{digits}f})" if len(there) > 1 else ""
    return f"{np.mean(there):.{digits}f}{spread}"


def to_csv(report: EvalReport, *, per_image: bool = False) -> str:
    """One table with the columns of all, "-" where a dataset has no such row; or with `per_image` a row an image."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    if per_image:
        writer.writerow(IMAGE_COLUMNS)
        writer.writerows([getattr(score, column) for column in IMAGE_COLUMNS] for score in report.scores)
    else:
        found = [(header[1:], {row[0]: row[1:] for row in cells}) for header, cells in parts(report)]
        writer.writerow((HEADER[0], *(column for header, _ in found for column in header)))
        for name, _ in _summaries(report):
            writer.writerow((name, *(c for header, cells in found for c in cells.get(name, ("-",) * len(header)))))
    return text.getvalue()


def corruption_header() -> tuple[str, ...]:
    """Of `corruption_rows`."""
    return ("corruption", *(f"severity {severity}" for severity in SEVERITIES))


def corruption_rows(found: Robustness, name: str) -> list[tuple[str, ...]]:
    """A row a corruption: Dice of the predictor `name`, mean [95 % interval], at each severity."""
    kinds = dict.fromkeys(cell.kind for cell in found.cells if cell.kind != CLEAN)
    return [(kind, *(interval(found.mean_dice(name, kind, severity)) for severity in SEVERITIES)) for kind in kinds]


def interval(value: Interval | QuantileInterval) -> str:
    """mean, or quantile, [low, high], four digits."""
    middle = value.mean if isinstance(value, Interval) else value.value
    return f"{middle:.4f} [{value.low:.4f}, {value.high:.4f}]"


def _summaries(report: EvalReport) -> list[tuple[str, Summary]]:
    """Of each dataset, and of all where there are several."""
    summaries = [(d.dataset, d.summary) for d in report.datasets]
    return [*summaries, ("all", report.overall)] if len(summaries) > 1 else summaries


def _cells(s: Summary) -> tuple[str, ...]:
    small = f"{interval(s.small.dice)} n={s.small.n}" if s.small else "-"
    return (str(s.n), *(interval(m) for m in (s.dice, s.iou, s.mean_iou, s.surface_dice)), small)
