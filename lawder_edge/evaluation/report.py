"""An evaluation report as JSON values."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from lawder_edge.evaluation.evaluate import SMALL_AREA, EvalReport, SizeClass, Summary
from lawder_edge.evaluation.false_positives import FalsePositives
from lawder_edge.evaluation.overlap import Overlap
from lawder_edge.intervals import Interval

METRICS = ("dice", "iou", "mean_iou", "surface_dice", "precision", "recall")
_DIGITS = 6


def to_json(report: EvalReport, *, per_image: bool = False) -> dict[str, Any]:
    """The report as values that `json.dumps` takes, every number rounded to 6 digits and none of them NaN.

    Keys: one a metric (`dice`, `iou`, `mean_iou`, `surface_dice`, `precision`, `recall`), each with `mean`, `low`,
    `high` (95 % bootstrap); `n`, `n_empty`, `n_clusters`; `classes` (empty for one class; see
    `ClassSummary`); `false_positives` (null without empty masks; see
    `FalsePositives`); `sizes` with `small` and `large` (null where there are none) split at `small_below`; `threshold`;
    `datasets` by name with the same keys; `overlap` with counts, ids and a note; with `per_image` also `images`.
    """
    values = {
        **_summary(report.overall),
        "threshold": report.threshold,
        "datasets": {d.dataset: _summary(d.summary) for d in report.datasets},
        "overlap": _overlap(report.overlap),
    }
    if per_image:
        values["images"] = [rounded({k: v for k, v in asdict(s).items() if k != "classes" or v}) for s in report.scores]
    return values


def _summary(summary: Summary) -> dict[str, Any]:
    return {
        **{metric: _interval(getattr(summary, metric)) for metric in METRICS},
        "n": summary.n,
        "n_empty": summary.n_empty,
        "n_clusters": summary.n_clusters,
        "classes": [
            {"n": c.n, "dice": c.dice and _interval(c.dice), "n_without": c.n_without, "n_false": c.n_false}
            for c in summary.classes
        ],
        "false_positives": summary.false_positives and false_positive_values(summary.false_positives),
        "sizes": {
            "small_below": SMALL_AREA,
            "small": summary.small and _size_class(summary.small),
            "large": summary.large and _size_class(summary.large),
        },
    }


def false_positive_values(found: FalsePositives) -> dict[str, Any]:
    """As values that `json.dumps` takes; areas are shares of the frame."""
    return {
        "n": found.n,
        "area": _interval(found.area),
        "p95": rounded(asdict(found.p95)),
        "worst": round(found.worst, _DIGITS),
        "worst_id": found.worst_id,
        "above": [{"area": a.area, "images": _interval(a.images)} for a in found.above],
    }


def _size_class(scores: SizeClass) -> dict[str, Any]:
    return {"n": scores.n, "dice": _interval(scores.dice), "surface_dice": _interval(scores.surface_dice)}


def _overlap(overlap: Overlap) -> dict[str, Any]:
    return {
        "known": overlap.known,
        "n_trained": len(overlap.trained),
        "n_selected": len(overlap.selected),
        "n_sequence": len(overlap.sequence),
        "trained": list(overlap.trained),
        "selected": list(overlap.selected),
        "sequence": list(overlap.sequence),
        "note": overlap.note,
    }


def _interval(interval: Interval) -> dict[str, Any]:
    return rounded(asdict(interval))


def rounded(values: dict[str, Any]) -> dict[str, Any]:
    """Numbers to 6 digits, all else as it is."""
    return {k: round(v, _DIGITS) if isinstance(v, float) else v for k, v in values.items()}
