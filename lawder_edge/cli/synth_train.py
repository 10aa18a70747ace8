"""`lawder-edge synth train`"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import tyro

from lawder_edge.cli.train import recipe_file
from lawder_edge.errors import BadInput
from lawder_edge.synthesis.config import SynthConfig, SynthProgress


def command(argv: Sequence[str]) -> Callable[..., int]:
    """The verb, its defaults taken from the file after --config, so that the command line stands above the file."""
    base = recipe_file(argv, "synth", "train", base=SynthConfig())

    def train(
        data: Path,
        split: tuple[Path, ...] = (),
        out: Path = Path("runs/synth"),
        config: Path | None = None,
        recipe: Annotated[SynthConfig, tyro.conf.arg(name="")] = base,
        init: str | None = None,
        teacher: Path | None = None,
        teacher_weight: float | None = None,
        resume: bool = False,
        overwrite: bool = False,
        skip_bad: bool = False,
        cpu: bool = False,
        threads: int = 0,
    ) -> int:
        """Train a generator of pictures for given masks, on a folder of images and masks.

        Example: lawder-edge synth train --data polyps --split train.txt --out runs/synth --arm law --size 128

        On a GPU, from Stable Diffusion: ... --denoiser controlnet --base PATH_OR_HUB_ID --size 384 --learning-rate 1e-5

        Several GPUs: accelerate launch --num_processes 2 -m lawder_edge synth train ...
        Several processes on a CPU: torchrun --standalone --nproc-per-node 2 -m lawder_edge synth train ... --cpu

        Args:
            data: dataset folder (images/ + masks/, or another known layout), or a folder of such folders.
            split: files with one folder/stem a line; all pairs when left out. All that is listed is trained on: leave
                out what a segmenter will be tested on.
            out: run folder: generator, preview, curves, state to resume from.
            config: TOML file with any of the recipe's options below; the command line stands above it.
            init: generator to start from, of the same size and widths: a file, or the name of one that the package
                carries, such as polyp128.
            teacher: generator trained with --condition lowpass, of the same size, to learn from beside the pictures.
            teacher_weight: what the teacher's word counts in the target, above 0 to 1, by default 0.5; the picture
                counts the rest.
            resume: go on where the run in --out was stopped; a finished one goes on with more --steps.
            overwrite: start anew in a run folder that exists.
            skip_bad: leave out files that cannot be read, and count them.
            cpu: stay on the CPU although a GPU is there.
            threads: of this process; 0 leaves the choice to PyTorch.
        """
        from lawder_edge.cli.progress import progress, run_progress
        from lawder_edge.synthesis.generator import generator_file
        from lawder_edge.synthesis.prepare import prepare_pictures
        from lawder_edge.synthesis.teacher import TEACHER_WEIGHT
        from lawder_edge.synthesis.train import RUN_FILE
        from lawder_edge.synthesis.train import train as fit
        from lawder_edge.threads import limit_threads
        from lawder_edge.training.heap import keep_freed_memory
        from lawder_edge.training.processes import is_first

        if teacher is None and teacher_weight is not None:
            raise BadInput("--teacher-weight says what a teacher's word counts: give --teacher.")
        weight = TEACHER_WEIGHT if teacher_weight is None else teacher_weight
        limit_threads(threads)
        keep_freed_memory()
        start = None if init is None else generator_file(init)
        with progress("decoding", shown=is_first()) as report:
            pictures = prepare_pictures(
                recipe, data=data, splits=split, out=out, start=start, teacher=teacher, teacher_weight=weight,
                resume=resume, overwrite=overwrite, skip_bad=skip_bad, progress=report, cpu=cpu,
            )  # fmt: skip
        for note in pictures.notes:
            print(note, file=sys.stderr)
        with run_progress("training", run_file=out / RUN_FILE) as report:

            def on_step(p: SynthProgress) -> None:
                report(p.step, p.steps, f"loss {p.loss:.4f}")

            result = fit(
                recipe, pictures.data, out=out, start=start, teacher=teacher, teacher_weight=weight,
                resume=resume, on_step=on_step, cpu=cpu,
            )  # fmt: skip
        if is_first():
            error = f", error {result.history[-1].error:.4f}" if result.history else ""
            print(f"{result.weights}: {result.step} steps{error}")
            follows = (
                f"train ... --teacher {result.weights}" if recipe.condition else
                f"sample --model {result.weights} -n 16 --out synthetic"
            )  # fmt: skip
            print(f"next: lawder-edge synth {follows}", file=sys.stderr)
        return 0

    return train
