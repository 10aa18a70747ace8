"""`lawder-edge synth sample`"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

import tyro

from lawder_edge.errors import BadInput


def sample(
    out: Path = Path("synthetic"),
    model: Annotated[str, tyro.conf.arg(aliases=["-m"])] = "polyp128",
    n: Annotated[int, tyro.conf.arg(aliases=["-n"])] = 16,
    base: str = "",
    masks: str = "procedural",
    data: Path | None = None,
    split: tuple[Path, ...] = (),
    seed: int = 0,
    sampler: Literal["dpm", "ddim"] = "dpm",
    steps: int = 20,
    guidance: float = 1.5,
    precision: Literal["fp32", "bf16", "fp16"] = "fp32",
    batch: int = 16,
    resume: bool = False,
    overwrite: bool = False,
    cpu: bool = False,
    sheet: Path | None = None,
    threads: int = 0,
) -> int:
    """Draw pictures for masks, in the layout that `train` reads, marked as synthetic.

    Example: lawder-edge synth sample -n 16 --out synthetic

    From a generator of your own: --model runs/synth/generator.safetensors

    The masks of a folder as they are: --masks polyps/masks; bent, moved and flipped: --masks augmented --data polyps

    Several GPUs: accelerate launch --num_processes 2 -m lawder_edge synth sample ...

    Several processes on a CPU: torchrun --standalone --nproc-per-node 2 -m lawder_edge synth sample ... --cpu

    Args:
        out: dataset folder to make: images/, masks/ and manifest.json.
        model: generator.safetensors of `synth train`, or the name of one that the package carries: polyp128, polyps of
            128x128 pixels.
        n: number of pictures.
        base: of a controlnet generator, where Stable Diffusion lies now, if not where it was in training.
        masks: procedural (drawn like the training masks' shapes), augmented (of --data), or a folder of masks, taken in
            turn.
        data: dataset folder, or folder of masks, for --masks augmented.
        split: files with one folder/stem a line, which choose among the masks of a dataset folder.
        seed: the same seed gives the same files, with the same number of threads.
        sampler: dpm is DPM-Solver++ 2M; ddim is DDIM with eta 0.
        steps: of the sampler.
        guidance: how much the mask is insisted on; 1 halves the time.
        precision: of the network's arithmetic; bf16 and fp16 are for GPUs (a CPU without bf16 instructions takes many
            times as long), and move pictures by a few grey levels.
        batch: pictures at a time on a GPU.
        resume: go on where an earlier call was stopped, or up to a larger -n.
        overwrite: replace the synthetic pictures in --out.
        cpu: stay on the CPU although a GPU is there.
        sheet: PNG file to make: the first 16 masks, each above its picture; --overwrite and --resume replace it.
        threads: of this process; 0 leaves the choice to PyTorch.
    """
    from lawder_edge.cli.progress import progress
    from lawder_edge.files import make_way, write_png
    from lawder_edge.synthesis.generator import generator_file, load_generator
    from lawder_edge.synthesis.mask_files import mask_source
    from lawder_edge.synthesis.sample import sample as draw
    from lawder_edge.synthesis.score_files import read_pictures
    from lawder_edge.synthesis.sheet import SHEET_PICTURES, picture_sheet
    from lawder_edge.synthesis.solver import Solver
    from lawder_edge.threads import limit_threads
    from lawder_edge.training.processes import is_first

    if sheet is not None:
        if sheet.resolve().is_relative_to(out.resolve()):
            raise BadInput(f"--sheet {sheet} lies in --out, where only the pictures may be. Name a file beside {out}.")
        make_way(sheet, overwrite=overwrite or resume)
    limit_threads(threads)
    generator = load_generator(generator_file(model), base=base)
    with progress("reading masks", shown=is_first()) as report:
        source, notes = mask_source(masks, generator, data=data, splits=split, progress=report)
    if is_first():
        for note in notes:
            print(note, file=sys.stderr)
    with progress("drawing", shown=is_first()) as report:
        try:
            result = draw(
                generator, source, out=out, n=n, seed=seed, solver=Solver(sampler, steps, guidance, precision),
                batch=batch, resume=resume, overwrite=overwrite, on_done=report, cpu=cpu,
            )  # fmt: skip
        except KeyboardInterrupt:
            if is_first():
                print(f"{out}: what is drawn is kept; go on with --resume", file=sys.stderr)
            raise
    if is_first():
        if sheet is not None:
            write_png(sheet, picture_sheet(read_pictures(out, limit=SHEET_PICTURES)))
        pace = f", {result.seconds / result.made:.2f} s a picture here" if result.made else ""
        print(f"{out}: {result.there} synthetic pictures with masks{pace}")
        print(f"next: lawder-edge train --data REAL --synth {out}", file=sys.stderr)
    return 0
