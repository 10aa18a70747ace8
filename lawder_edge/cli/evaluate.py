"""`lawder-edge eval`"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

if TYPE_CHECKING:
    from lawder_edge.evaluation.bootstrap import Interval
    from lawder_edge.evaluation.evaluate import EvalReport, Summary


def evaluate(
    model: Annotated[str, tyro.conf.arg(aliases=["-m"])],
    data: Path,
    split: tuple[Path, ...] = (),
    threshold: float | None = None,
    per_image: bool = False,
    sheet: Path | None = None,
    skip_bad: bool = False,
    overwrite: bool = False,
    threads: int = 0,
    format: Literal["table", "json", "csv", "md"] = "table",
) -> int:
    """Score a model on images with masks: Dice, IoU, surface Dice, with 95 % bootstrap intervals.

    Example: lawder-edge eval --model order --data polyps --split test.txt --sheet worst.png

    Args:
        model: model name, checkpoint (.safetensors) or bundle folder.
        data: dataset folder, or a folder of such folders.
        split: files with one folder/stem a line; all pairs when left out.
        threshold: probability from which a pixel is foreground; the one stored with the weights when left out.
        per_image: with --format json or csv, every image's scores.
        sheet: PNG to write: the worst, the median and the best cases.
        skip_bad: leave out files that cannot be read, and count them.
        overwrite: replace the --sheet file.
        threads: of the runtime; 0 leaves the choice to it.
        format: of the result on stdout.
    """
    from lawder_edge.cli.progress import progress
    from lawder_edge.errors import BadInput, OutputExists
    from lawder_edge.evaluation.evaluate import evaluate as score
    from lawder_edge.evaluation.folder import listed_samples, read_pairs
    from lawder_edge.evaluation.overlap import TrainedOn
    from lawder_edge.evaluation.report import to_json
    from lawder_edge.loading import load_predictor

    if sheet is not None and sheet.exists() and not overwrite:
        raise OutputExists(f"{sheet} exists. Add --overwrite, or name another file.")
    if threshold is not None and not 0 < threshold < 1:
        raise BadInput(f"threshold {threshold}: wanted a probability between 0 and 1.")
    predictor = load_predictor(model, threads=threads)
    samples = listed_samples(data, split)
    bad: list[str] = []

    def on_bad(name: str, reason: str) -> None:
        bad.append(name)
        print(f"left out {name}: {reason}", file=sys.stderr)

    classes = predictor.runner.classes
    pairs = read_pairs(samples, classes=classes, on_bad=on_bad if skip_bad else None)
    trained = TrainedOn(frozenset(predictor.train_ids), frozenset(predictor.train_groups), frozenset(predictor.val_ids))
    cut = predictor.threshold if threshold is None else threshold
    with progress("evaluating") as report:
        found = score(
            predictor.runner.predict if classes == 1 else predictor.runner.predict_classes,
            pairs,
            threshold=cut,
            trained_on=trained if trained.ids else None,
            progress=report,
            total=len(samples),
        )
    if sheet is not None:
        from lawder_edge.evaluation.sheet import Case, contact_sheet, pick_cases, write_contact_sheet

        by_id = {s.id: s for s in samples}
        cases = []
        for pick in pick_cases(found.scores):
            pair = next(read_pairs([by_id[pick.scores.id]], classes=classes))
            probability = predictor.runner.predict(pair.frame)
            cases.append(Case(pair.id, pick.rank, pick.scores.dice, pair.frame, pair.labels, probability, cut))
        write_contact_sheet(sheet, contact_sheet(cases))
        print(f"{sheet}: contact sheet", file=sys.stderr)
    if bad:
        print(f"{len(bad)} of {len(samples)} files left out", file=sys.stderr)
    _print(found, format, per_image=per_image, to_json=lambda: to_json(found, per_image=per_image))
    return 0


def _print(found: EvalReport, format: str, *, per_image: bool, to_json: object) -> None:
    if format == "json":
        print(json.dumps(to_json(), indent=1))  # type: ignore[operator]
        return
    header = ("dataset", "n", "Dice", "IoU", "2-class mIoU", "surface Dice 2 px", "Dice small (<2 %)")
    summaries = [(d.dataset, d.summary) for d in found.datasets]
    if len(summaries) > 1:
        summaries.append(("all", found.overall))
    rows = [(name, *_cells(summary)) for name, summary in summaries]
    if format == "md":
        print("\n".join("| " + " | ".join(r) + " |" for r in (header, ["---"] * len(header), *rows)))
    elif format == "csv":
        import csv

        writer = csv.writer(sys.stdout, lineterminator="\n")
        if per_image:
            writer.writerow(("id", "dice", "iou", "mean_iou", "surface_dice", "area_fraction"))
            writer.writerows((s.id, s.dice, s.iou, s.mean_iou, s.surface_dice, s.area_fraction) for s in found.scores)
        else:
            writer.writerows((header, *rows))
    else:
        from lawder_edge.cli.tables import print_table

        print_table(header, rows, right=range(1, len(header)))
    note = f"threshold {found.threshold:g}. {found.overlap.note}"
    print(note, file=sys.stderr if format == "csv" else sys.stdout)


def _cells(s: Summary) -> tuple[str, ...]:
    small = f"{_interval(s.small.dice)} n={s.small.n}" if s.small else "-"
    metrics = (s.dice, s.iou, s.mean_iou, s.surface_dice)
    return (str(s.n), *(_interval(m) for m in metrics), small)


def _interval(value: Interval) -> str:
    return f"{value.mean:.4f} [{value.low:.4f}, {value.high:.4f}]"
