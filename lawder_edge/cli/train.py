"""`lawder-edge train`"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated

import tyro

from lawder_edge.training.config import Config, TrainConfig, read_config


def recipe_file(argv: Sequence[str], *verb: str, base: Config) -> Config:
    """`base` with the file after --config on top, where `argv` calls `verb`."""
    words = list(argv)
    if tuple(words[: len(verb)]) == verb:
        for i, word in enumerate(words):
            name, _, value = word.partition("=")
            if name == "--config" and (value or i + 1 < len(words)):
                base = read_config(Path(value or words[i + 1]), base)
    return base


def command(argv: Sequence[str]) -> Callable[..., int]:
    """The verb, its defaults taken from the file after --config, so that the command line stands above the file."""
    base = recipe_file(argv, "train", base=TrainConfig())

    def train(
        data: Path,
        split: tuple[Path, ...] = (),
        val_split: tuple[Path, ...] = (),
        out: Path = Path("runs/train"),
        config: Path | None = None,
        init: str | None = None,
        teacher: str | None = None,
        synth: tuple[Path, ...] = (),
        synth_per_pass: int = 0,
        recipe: Annotated[TrainConfig, tyro.conf.arg(name="")] = base,
        resume: bool = False,
        overwrite: bool = False,
        skip_bad: bool = False,
        cpu: bool = False,
        threads: int = 0,
    ) -> int:
        """Train a model on a folder of images and masks.

        Example: lawder-edge train --data polyps --split train.txt --out runs/order --schedule 128x40,256x20

        Several GPUs: accelerate launch --num_processes 2 -m lawder_edge train ...
        Several processes on a CPU: torchrun --standalone --nproc-per-node 2 -m lawder_edge train ... --cpu

        Args:
            data: dataset folder (images/ + masks/, or another known layout), or a folder of such folders.
            split: files with one folder/stem a line; all pairs when left out.
            val_split: files of pictures to validate on, by which the pass and the threshold are chosen; by default a
                share of --split, whole sequences and patients where they are known.
            out: run folder: weights, curves, state to resume from.
            init: a model name or checkpoint of the network that is trained, to go on from its weights; what those were
                trained on counts as trained on. Take a smaller --learning-rate, such as 5e-4.
            teacher: a model name or checkpoint of a larger binary network to learn from, such as a lite0_unet; what it
                says of the training pictures is computed once and kept in OUT/cache.
            synth: folders of `synth sample`, whose pictures are trained on beside the real ones and never validated on;
                what their generator was trained on counts as trained on.
            synth_per_pass: synthetic pictures that each pass takes, others each time; 0 takes all.
            config: TOML file with any of the recipe's options below; the command line stands above it.
            resume: go on where the run in --out was stopped.
            overwrite: start anew in a run folder that exists.
            skip_bad: leave out files that cannot be read, and count them.
            cpu: stay on the CPU although a GPU is there.
            threads: of this process; 0 leaves the choice to PyTorch.
        """
        from lawder_edge.cli.progress import progress, report_step, run_progress
        from lawder_edge.errors import BadInput
        from lawder_edge.threads import limit_threads
        from lawder_edge.training.heap import keep_freed_memory
        from lawder_edge.training.loop import RUN_FILE
        from lawder_edge.training.loop import train as fit
        from lawder_edge.training.prepare import prepare_run
        from lawder_edge.training.processes import is_first
        from lawder_edge.training.record import WeightsRecord
        from lawder_edge.training.teacher import check_teacher, prepare_taught
        from lawder_edge.training.trainee import FloatTrainee, TrainedNetwork, check_start
        from lawder_edge.weights import load_model

        limit_threads(threads)
        keep_freed_memory()
        earlier: list[tuple[str, WeightsRecord]] = []
        teaching = start = None
        if teacher is not None:
            found = load_model(teacher)
            teaching = TrainedNetwork(found.computed, found.record, found.sha256)
            check_teacher(recipe, teaching)
            earlier.append(("the teacher", found.record))
        if init is not None:
            found = load_model(init)
            if found.quantized is not None:
                raise BadInput(f"{init}: quantised weights; training starts from those in floating point.")
            start = TrainedNetwork(found.module, found.record, found.sha256)
            check_start(recipe, start)
            earlier.append((init, found.record))
        with progress("decoding", shown=is_first()) as report:
            run = prepare_run(
                recipe, data=data, splits=split, out=out, resume=resume, overwrite=overwrite, skip_bad=skip_bad,
                progress=report, synthetic=synth, synthetic_per_pass=synth_per_pass, cpu=cpu, validation=val_split,
                earlier=earlier,
            )  # fmt: skip
        for note in run.notes:
            print(note, file=sys.stderr)
        trainee = FloatTrainee(recipe, start)
        if teaching is not None:
            with progress("asking the teacher", shown=is_first()) as report:
                run, trainee = prepare_taught(recipe, run, teaching, out=out, start=start, progress=report, cpu=cpu)
        with run_progress("training", run_file=out / RUN_FILE) as report:
            result = fit(
                recipe, run.train, val=run.val, out=out, resume=resume, trainee=trainee,
                on_step=partial(report_step, report), cpu=cpu,
            )  # fmt: skip
        if is_first():
            print(f"{result.weights}: {result.said()}")
            # The code of a network of one's own is imported only where it is named.
            named = f"{recipe.model}={result.weights}" if ":" in recipe.model else result.weights
            print(f"next: lawder-edge eval --model {named} --data {data} --split TEST", file=sys.stderr)
        return 0

    return train
