"""`lawder-edge eval`"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from lawder_edge.data.datasets import Sample
    from lawder_edge.evaluation.robustness import Robustness
    from lawder_edge.loading import Predictor


def evaluate(
    model: Annotated[str, tyro.conf.arg(aliases=["-m"])],
    data: Path,
    split: tuple[Path, ...] = (),
    threshold: float | None = None,
    per_image: bool = False,
    sheet: Path | None = None,
    corruptions: bool = False,
    nothing_to_find: bool = False,
    skip_bad: bool = False,
    overwrite: bool = False,
    threads: int = 0,
    format: Literal["table", "json", "csv", "md"] = "table",
) -> int:
    """Score a model on images with masks: Dice, IoU, surface Dice, with 95 % bootstrap intervals.

    Where masks are empty: how much of the frame is called polyp, and how often. Of frames that show none there need be
    no masks: lawder-edge eval --model order --data clean --nothing-to-find

    Example: lawder-edge eval --model order --data polyps --split test.txt --sheet worst.png

    Args:
        model: model name, checkpoint (.safetensors) or bundle folder.
        data: dataset folder, or a folder of such folders.
        split: files with one folder/stem a line; all pairs when left out.
        threshold: probability from which a pixel is foreground; the one stored with the weights when left out.
        per_image: with --format json or csv, every image's scores.
        sheet: PNG to write: the worst, the median and the best cases.
        corruptions: also the Dice on frames that are blurred, badly lit, smoky and so on, at five severities each: 56
            predictions an image.
        nothing_to_find: no image shows anything to find; masks are not read and need not be there.
        skip_bad: leave out files that cannot be read, and count them.
        overwrite: replace the --sheet file.
        threads: of the runtime; 0 leaves the choice to it.
        format: of the result on stdout.
    """
    from lawder_edge.cli.progress import progress
    from lawder_edge.cli.reading import ReadingNotes
    from lawder_edge.cli.tables import print_table
    from lawder_edge.data.datasets import listed_samples
    from lawder_edge.errors import BadInput
    from lawder_edge.evaluation import tables
    from lawder_edge.evaluation.evaluate import evaluate as score
    from lawder_edge.evaluation.folder import read_pairs
    from lawder_edge.evaluation.report import to_json
    from lawder_edge.files import make_way
    from lawder_edge.loading import load_predictor

    if per_image and format not in ("json", "csv"):
        raise BadInput(f"--per-image: a {format} holds means alone. Add --format json or csv.")
    if corruptions and format == "csv":
        raise BadInput("--corruptions: a csv holds one table. Add --format table, md or json.")
    if corruptions and nothing_to_find:
        raise BadInput("--corruptions tells what Dice they cost, and with --nothing-to-find there is none; drop one.")
    if sheet is not None:
        make_way(sheet, overwrite=overwrite)
    predictor = load_predictor(model, threads=threads)
    if corruptions and predictor.runner.classes > 1:
        raise BadInput(f"--corruptions: {model} has {predictor.runner.classes} classes; wanted 1, polyp or not.")
    cut = predictor.cut(threshold)
    samples = listed_samples(data, split, require_masks=not nothing_to_find)
    notes = ReadingNotes()
    classes = predictor.runner.classes
    pairs = read_pairs(
        samples,
        classes=classes,
        nothing_to_find=nothing_to_find,
        on_bad=notes.left_out if skip_bad else None,
        on_note=notes.interpreted,
    )
    predict = predictor.runner.predict if classes == 1 else predictor.runner.predict_classes
    with progress("evaluating") as report:
        found = score(
            predict,
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

        cases = read_cases(found, samples, predict, classes=classes, nothing_to_find=nothing_to_find)
        write_png(sheet, contact_sheet(cases))
        print(f"{sheet}: contact sheet", file=sys.stderr)
    notes.finish(len(samples))
    harmed = _corrupted(predictor, samples, cut=cut, skip_bad=skip_bad) if corruptions else None
    worse = [] if harmed is None else tables.corruption_rows(harmed, predictor.name)
    header = tables.corruption_header()
    if format == "json":
        values = to_json(found, per_image=per_image)
        print(json.dumps(values if harmed is None else {**values, "corruptions": asdict(harmed)}, indent=1))
    elif format == "md":
        print(tables.to_markdown(found), end="")
        if worse:
            print("\n" + tables.markdown_table(header, worse), end="")
    elif format == "csv":
        print(tables.to_csv(found, per_image=per_image), end="")
        print(tables.note(found), file=sys.stderr)
    else:
        for i, (names, cells) in enumerate(tables.parts(found)):
            if i:
                print()
            print_table(names, cells, right=range(1, len(names)))
        print(tables.note(found))
        if worse:
            print()
            print_table(header, worse, right=range(1, len(header)))
    return 0


def _corrupted(predictor: Predictor, samples: Sequence[Sample], *, cut: float, skip_bad: bool) -> Robustness:
    from lawder_edge.cli.progress import progress
    from lawder_edge.evaluation.folder import read_pairs
    from lawder_edge.evaluation.robustness import robustness

    def mask(frame: NDArray[np.uint8]) -> NDArray[np.bool_]:
        return predictor.runner.predict(frame) >= cut

    # What cannot be read has been told.
    pairs = read_pairs(samples, on_bad=(lambda name, reason: None) if skip_bad else None)
    with progress("corrupting") as report:
        return robustness({predictor.name: mask}, pairs, total=len(samples), progress=report)
