"""`lawder-edge eval`"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Literal

import tyro


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
    from lawder_edge.cli.reading import ReadingNotes
    from lawder_edge.cli.tables import print_table
    from lawder_edge.errors import BadInput, OutputExists
    from lawder_edge.evaluation import tables
    from lawder_edge.evaluation.evaluate import evaluate as score
    from lawder_edge.evaluation.folder import listed_samples, read_pairs
    from lawder_edge.evaluation.report import to_json
    from lawder_edge.loading import load_predictor

    if per_image and format not in ("json", "csv"):
        raise BadInput(f"--per-image: a {format} holds means alone. Add --format json or csv.")
    if sheet is not None:
        # Found now rather than after all images.
        if sheet.is_dir() or (sheet.exists() and not overwrite):
            raise OutputExists(f"{sheet} exists. Add --overwrite to replace a file, or name another.")
        sheet.parent.mkdir(parents=True, exist_ok=True)
    predictor = load_predictor(model, threads=threads)
    cut = predictor.cut(threshold)
    samples = listed_samples(data, split)
    notes = ReadingNotes()
    classes = predictor.runner.classes
    pairs = read_pairs(samples, classes=classes, on_bad=notes.left_out if skip_bad else None, on_note=notes.interpreted)
    with progress("evaluating") as report:
        found = score(
            predictor.runner.predict if classes == 1 else predictor.runner.predict_classes,
            pairs,
            threshold=cut,
            trained_on=predictor.trained_on,
            progress=report,
            total=len(samples),
        )
    if sheet is not None:
        from lawder_edge.evaluation.folder import read_cases
        from lawder_edge.evaluation.sheet import contact_sheet
        from lawder_edge.files import write_png

        cases = read_cases(found, samples, predictor.runner.predict, classes=classes)
        write_png(sheet, contact_sheet(cases))
        print(f"{sheet}: contact sheet", file=sys.stderr)
    notes.finish(len(samples))
    if format == "json":
        print(json.dumps(to_json(found, per_image=per_image), indent=1))
    elif format == "md":
        print(tables.to_markdown(found), end="")
    elif format == "csv":
        print(tables.to_csv(found, per_image=per_image), end="")
        print(tables.note(found), file=sys.stderr)
    else:
        print_table(tables.HEADER, tables.rows(found), right=range(1, len(tables.HEADER)))
        print(tables.note(found))
    return 0
