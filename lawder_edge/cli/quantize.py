"""`lawder-edge quantize`"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import tyro


def quantize(
    data: Path,
    model: Annotated[str, tyro.conf.arg(aliases=["-m"])] = "order",
    split: tuple[Path, ...] = (),
    out: Path = Path("runs/quantized"),
    size: int = 256,
    weight_bits: int = 7,
    calibration: int = 96,
    seed: int = 0,
    overwrite: bool = False,
    skip_bad: bool = False,
    threads: int = 0,
) -> int:
    """Quantise trained weights without training: ranges from pictures alone. After `qat` int8 runtimes agree better.

    Says where the float network finds little in the pictures: ranges learnt from another kind do not fit its own.

    Example: lawder-edge quantize --model order --data polyps --split train.txt --out runs/ptq

    Args:
        data: dataset folder, or a folder of such folders; a tenth is held out to choose the threshold.
        model: model name or checkpoint, in floating point.
        split: files with one folder/stem a line; all pairs when left out.
        out: folder for best.safetensors and calibration.json.
        size: side in pixels that the ranges are learnt at.
        weight_bits: of convolution weights; 8 saturate on x86 processors without VNNI.
        calibration: pictures that give the ranges.
        seed: of what is held out.
        overwrite: replace what stands in --out.
        skip_bad: leave out files that cannot be read, and count them.
        threads: of this process; 0 leaves the choice to PyTorch.
    """
    from lawder_edge.cli.progress import progress
    from lawder_edge.quantization.kind import note_on_kind
    from lawder_edge.quantization.recipe import QatOptions
    from lawder_edge.quantization.run import ranges_said, recipe_of, run_ptq
    from lawder_edge.threads import limit_threads
    from lawder_edge.training.loop import BEST_FILE
    from lawder_edge.training.prepare import prepare_run
    from lawder_edge.weights import load_model

    limit_threads(threads)
    loaded = load_model(model)
    options = QatOptions(size=size, weight_bits=weight_bits, calibration=calibration, seed=seed, tight=False, noise=0.0)
    with progress("decoding") as report:
        run = prepare_run(
            recipe_of(loaded.computed, loaded.record, options=options), data=data, splits=split, out=out,
            resume=False, overwrite=overwrite, skip_bad=skip_bad, progress=report, cpu=True,
            earlier=[(model, loaded.record)], warm_up="none",
        )  # fmt: skip
    for note in run.notes:
        print(note, file=sys.stderr)
    if other := note_on_kind(loaded.computed, loaded.record, val=run.val, size=size, cpu=True):
        print(f"warning: {other}", file=sys.stderr)
    dice = run_ptq(loaded.computed, loaded.record, run=run, options=options, out=out)
    weights = out / BEST_FILE
    print(f"{weights}: int8, validation Dice {dice:.4f}")
    print(ranges_said(out), file=sys.stderr)
    print(f"next: lawder-edge export -t onnx --precision int8 -m {weights} --out int8-onnx", file=sys.stderr)
    return 0
