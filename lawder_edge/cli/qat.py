"""`lawder-edge qat`"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import Annotated

import tyro

from lawder_edge.quantization.recipe import QatOptions

DEFAULTS = QatOptions()


def qat(
    data: Path,
    model: Annotated[str, tyro.conf.arg(aliases=["-m"])] = "order",
    split: tuple[Path, ...] = (),
    out: Path = Path("runs/qat"),
    options: Annotated[QatOptions, tyro.conf.arg(name="")] = DEFAULTS,
    resume: bool = False,
    overwrite: bool = False,
    skip_bad: bool = False,
    cpu: bool = False,
    threads: int = 0,
) -> int:
    """Fine-tune trained weights with int8 rounding in place; the float network teaches.

    Example: lawder-edge qat --model order --data polyps --split train.txt --out runs/order-int8

    Writes best.safetensors, which every int8 export reads, curves, and calibration.json with each tensor's range.
    Says where the float network finds little in the pictures: ranges learnt from another kind do not fit its own.

    Args:
        data: dataset folder, or a folder of such folders.
        model: model name or checkpoint, in floating point.
        split: files with one folder/stem a line; all pairs when left out.
        out: run folder.
        resume: go on where the run in --out was stopped.
        overwrite: start anew in a run folder that exists.
        skip_bad: leave out files that cannot be read, and count them.
        cpu: stay on the CPU although a GPU is there.
        threads: of this process; 0 leaves the choice to PyTorch.
    """
    from lawder_edge.cli.progress import progress, report_step, run_progress
    from lawder_edge.quantization.kind import note_on_kind
    from lawder_edge.quantization.run import ranges_said, recipe_of, run_qat
    from lawder_edge.threads import limit_threads
    from lawder_edge.training.loop import RUN_FILE
    from lawder_edge.training.prepare import prepare_run
    from lawder_edge.training.processes import is_first
    from lawder_edge.weights import load_model

    limit_threads(threads)
    loaded = load_model(model)
    with progress("decoding") as report:
        run = prepare_run(
            recipe_of(loaded.computed, loaded.record, options=options), data=data, splits=split, out=out,
            resume=resume, overwrite=overwrite, skip_bad=skip_bad, progress=report, cpu=cpu,
            earlier=[(model, loaded.record)], warm_up="fixed",
        )  # fmt: skip
    for note in run.notes:
        print(note, file=sys.stderr)
    if other := note_on_kind(loaded.computed, loaded.record, val=run.val, size=options.size, cpu=cpu):
        print(f"warning: {other}", file=sys.stderr)
    with run_progress("fine-tuning", run_file=out / RUN_FILE) as report:
        result = run_qat(
            loaded.computed, loaded.record, run=run, options=options, out=out, resume=resume,
            on_step=partial(report_step, report), cpu=cpu,
        )  # fmt: skip
    if is_first():
        print(f"{result.weights}: int8, {result.said()}")
        print(ranges_said(out), file=sys.stderr)
        print(f"next: lawder-edge export -t onnx --precision int8 -m {result.weights} --out int8-onnx", file=sys.stderr)
    return 0
