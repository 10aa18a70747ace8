"""ORDER on CT: kidneys and their tumours in slices of KiTS19, each scored by weights that never saw its patient.

    python benchmarks/kits.py --data DIR --work runs/kits --out benchmarks/results/kits.md --threads 1

DIR holds images/ and masks/ (0 background, 1 kidney, 2 tumour) of slices named case_00000_slice000. Patients are dealt
into folds; a fold is trained as `lawder-edge train` does, passes chosen on patients held out of its training list, and
goes on where it was stopped: what is finished in --work is not trained again. What stands in the report below "## What
it says" is kept.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lawder_edge.cli.progress import progress, report_step, run_progress
from lawder_edge.data.datasets import Sample, find_samples
from lawder_edge.data.splits import split_by_group
from lawder_edge.errors import LawderError
from lawder_edge.evaluation.comparison import kept_words
from lawder_edge.evaluation.folder import read_pairs
from lawder_edge.evaluation.metrics import dice
from lawder_edge.evaluation.tables import interval
from lawder_edge.files import write_file
from lawder_edge.intervals import bootstrap_mean
from lawder_edge.loading import load_predictor
from lawder_edge.threads import limit_threads
from lawder_edge.training.config import TrainConfig
from lawder_edge.training.loop import RUN_FILE, train
from lawder_edge.training.prepare import prepare_run

CLASSES = 3
# A fold trains on about 45 slices: a pass is 5 steps, and the default warm-up of 200 would be most of the run.
RECIPE = TrainConfig(
    schedule="128x300", batch=8, learning_rate=4e-3, warmup_steps=20, in_channels=1, num_classes=CLASSES,
    val_fraction=0.15, val_every=5,
)  # fmt: skip


@dataclass(frozen=True)
class Target:
    """Some of the classes, taken as one: what is scored. classes: their numbers."""

    name: str
    classes: tuple[int, ...]

    def of(self, labels: NDArray[Any]) -> NDArray[np.bool_]:
        """(H, W) labels -> (H, W) mask."""
        return np.isin(labels, self.classes)


TARGETS = (Target("kidney and tumour", (1, 2)), Target("kidney", (1,)), Target("tumour", (2,)))


@dataclass(frozen=True)
class SliceScore:
    """One slice. dice: of each of `TARGETS`, None where the slice has none of it. false: claimed all the same."""

    fold: int
    patient: str | None
    dice: tuple[float | None, ...]
    false: tuple[bool, ...]


def folds_of(samples: Sequence[Sample], *, count: int, seed: int) -> list[tuple[list[Sample], list[Sample]]]:
    """Training and test samples of each fold; a patient is tested in one of them. Raises: BadInput, BadDataset."""
    parts = split_by_group(samples, [1 / count] * count, seed=seed)
    return [([s for other in parts if other is not part for s in other], part) for part in parts]


def score(fold: int, patient: str | None, predicted: NDArray[Any], truth: NDArray[Any]) -> SliceScore:
    """predicted, truth: (H, W) class numbers."""
    masks = [(target.of(predicted), target.of(truth)) for target in TARGETS]
    return SliceScore(
        fold=fold,
        patient=patient,
        dice=tuple(dice(p, t) if t.any() else None for p, t in masks),
        false=tuple(bool(p.any() and not t.any()) for p, t in masks),
    )


def run_fold(fold: int, fit: Sequence[Sample], test: Sequence[Sample], args: argparse.Namespace) -> list[SliceScore]:
    """Train, or go on, or find trained, in a folder of its own; then score the test slices."""
    folder = args.work / f"fold_{fold + 1}"
    listed = args.work / f"fold_{fold + 1}_train.txt"
    args.work.mkdir(parents=True, exist_ok=True)
    write_file(listed, "".join(f"{s.id}\n" for s in fit).encode())
    with progress(f"fold {fold + 1}: decoding") as report:
        run = prepare_run(
            args.recipe, data=args.data, splits=[listed], out=folder, resume=True, overwrite=False, skip_bad=False,
            progress=report, cpu=True,
        )  # fmt: skip
    with run_progress(f"fold {fold + 1}: training", run_file=folder / RUN_FILE) as report:
        result = train(
            args.recipe, run.train, val=run.val, out=folder, resume=True, on_step=partial(report_step, report), cpu=True
        )
    print(f"{result.weights}: {result.said()}", file=sys.stderr)
    # Code from elsewhere is imported only where it is named.
    named = f"{args.recipe.model}={result.weights}" if ":" in args.recipe.model else str(result.weights)
    runner = load_predictor(named, threads=args.threads).runner
    return [
        score(fold, pair.group, runner.predict_labels(pair.frame), pair.labels)
        for pair in read_pairs(test, classes=CLASSES)
    ]


def table(scores: Sequence[SliceScore]) -> str:
    """A row a fold and one for all: Dice of each of `TARGETS`, over the slices that hold it."""
    lines = [
        "| fold | patients | slices | " + " | ".join(f"{t.name}: n | Dice" for t in TARGETS) + " |",
        "|---" * (3 + 2 * len(TARGETS)) + "|",
    ]
    folds: list[tuple[str, Sequence[SliceScore]]] = [
        (str(fold + 1), [s for s in scores if s.fold == fold]) for fold in sorted({s.fold for s in scores})
    ]
    for name, rows in (*folds, ("all", scores)):
        cells = [name, str(len({s.patient for s in rows})), str(len(rows))]
        for i in range(len(TARGETS)):
            held = [(d, s.patient) for s in rows if (d := s.dice[i]) is not None]
            found = bootstrap_mean([d for d, _ in held], groups=[p for _, p in held]) if held else None
            cells += [str(len(held)), "-" if found is None else interval(found)]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def document(scores: Sequence[SliceScore], recipe: TrainConfig, *, words: str) -> str:
    """The report. words: what a person wrote below it."""
    absent = [
        f"{t.name} on {sum(s.false[i] for s in scores)} of {n}"
        for i, t in enumerate(TARGETS)
        if (n := sum(s.dice[i] is None for s in scores))
    ]
    lines = [
        "# Kidneys and tumours in CT (KiTS19)",
        "",
        "`python benchmarks/kits.py --data DIR --work runs/kits --out benchmarks/results/kits.md`, per slice at its "
        "own size, by weights that saw no slice of its patient; mean [95 % bootstrap interval, patients drawn whole], "
        "over the slices that hold the class.",
        "",
        f"`{recipe.model}`, one grey channel, {recipe.num_classes} classes, {recipe.schedule}, batch {recipe.batch}, "
        f"learning rate {recipe.learning_rate:g}, loss {recipe.loss}, seed {recipe.seed}; no weights for the classes.",
        "",
        table(scores),
        "",
        *([f"Claimed on slices that hold none: {', '.join(absent)}.", ""] if absent else []),
    ]
    return "\n".join(lines) + words


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with images/ and masks/")
    parser.add_argument(
        "--work", type=Path, required=True, help="folder of the folds' runs, which go on where they stand"
    )
    parser.add_argument("--out", type=Path, required=True, help="report, which is replaced")
    parser.add_argument("--folds", type=int, default=3)
    parser.add_argument("--schedule", default=RECIPE.schedule, help="SIZExPASSES, comma-separated")
    parser.add_argument("--model", default=RECIPE.model)
    parser.add_argument("--seed", type=int, default=RECIPE.seed, help="of the folds, weights, order and augmentation")
    parser.add_argument("--threads", type=int, default=0, help="of PyTorch; 0 leaves it the choice")
    args = parser.parse_args(argv)
    if args.folds < 2:
        parser.error(f"--folds {args.folds}: wanted 2 or more")
    limit_threads(args.threads)
    args.recipe = replace(RECIPE, schedule=args.schedule, model=args.model, seed=args.seed)
    try:
        folds = folds_of(find_samples(args.data), count=args.folds, seed=args.seed)
        scores = [s for fold, (fit, test) in enumerate(folds) for s in run_fold(fold, fit, test, args)]
    except LawderError as error:
        sys.exit(f"error: {error}")
    words = kept_words(args.out.read_text()) if args.out.is_file() else ""
    text = document(scores, args.recipe, words=words)
    write_file(args.out, text.encode())
    print(text)


if __name__ == "__main__":
    main()
