"""ORDER and others trained alike with several seeds, to tell what a change gains from what a seed gains.

    PYTHONPATH=benchmarks python benchmarks/paired_seeds.py networks --data DIR --work runs/seeds --out DIR

Studies: `networks`, by one recipe; `recipe`, ORDER with one change each, measured where recipes may be chosen: on
half of the sequences of another hospital. Every row is trained on Kvasir-SEG's 900 training images, once a seed; a
seed draws the same validation images, order and augmentation for all. Each stage is a command of lawder-edge; a
stopped call goes on when it is repeated. Writes seeds_STUDY.md with the differences between the first row and each
other one, paired by seed; what stands in it below "## What it says" is kept; and seeds_STUDY.json, whose runs are not
repeated where their folders are gone. --report writes both from what is done so far.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lawder_edge.bench.stages import Stage, run_stages, split_file
from lawder_edge.errors import BadInput, LawderError
from lawder_edge.evaluation.comparison import kept_words
from lawder_edge.evaluation.tables import markdown_table, mean_and_spread
from lawder_edge.files import write_file
from lawder_edge.intervals import PairedRuns, paired_runs

HERE = Path(__file__).resolve().parent
TRAIN = "pranet_train_kvasir_900.txt"
RECIPE = ("--schedule", "128x20", "--learning-rate", "4e-3", "--val-every", "4", "--threads", "1")


@dataclass(frozen=True)
class Tested:
    """A list of images that no training here saw. splits: files in benchmarks/splits, or else in DIR/splits."""

    key: str
    name: str
    splits: tuple[str, ...]


@dataclass(frozen=True)
class Trained:
    """A row. model: of this package, or package.module:Class. options: of `train`, besides the recipe."""

    name: str
    model: str = "order"
    options: tuple[str, ...] = ()

    def weights(self, file: Path) -> str:
        """As `--model` takes them; code from elsewhere is named, so that it is trusted."""
        return f"{self.model}={file}" if ":" in self.model else str(file)


@dataclass(frozen=True)
class Study:
    """rows: the first is the one that the others are held against."""

    name: str
    title: str
    rows: tuple[Trained, ...]
    tests: tuple[Tested, ...]
    seeds: tuple[int, ...]


# Dice by row, seed and test.
Known = Mapping[tuple[str, int, str], float]
FIRST_HALF = "clinicdb_sequences_01_15.txt"
STUDIES = (
    Study(
        "networks",
        "What a network gains, and what a seed",
        tuple(
            Trained(name, name)
            for name in ("order", "variants:NoAdapters", "variants:NoAdaptersWide", "mk_unet_wide", "mk_unet_t")
        ),
        (
            Tested("kvasir", "Kvasir-100", ("pranet_test_kvasir_100.txt",)),
            Tested("clinicdb", "ClinicDB, another hospital", (FIRST_HALF, "clinicdb_sequences_16_29.txt")),
        ),
        (0, 1, 2, 3, 4),
    ),
    Study(
        "recipe",
        "What a change of the recipe gains, and what a seed",
        (
            Trained("order"),
            Trained("a tenth of the pictures empty", options=("--empty-share", "0.1")),
            Trained("polyps from farther away", options=("--smallest-scale", "0.5")),
            Trained("structure loss", options=("--loss", "structure")),
            Trained("deep supervision", options=("--deep-supervision",)),
            Trained("weight decay 0.05", options=("--weight-decay", "0.05")),
        ),
        (Tested("clinicdb", "ClinicDB, another hospital, sequences 1 to 15", (FIRST_HALF,)),),
        (0, 1, 2),
    ),
)


def folder(work: Path, row: Trained, seed: int) -> Path:
    return work / f"{re.sub(r'[^A-Za-z0-9.]+', '_', row.name)}-{seed}"


def stages(study: Study, *, data: Path, work: Path, known: Known) -> list[Stage]:
    """All rows of a seed before the next seed, so that what is done so far compares; without those that are known."""
    plan = []
    for seed in study.seeds:
        for row in study.rows:
            if all((row.name, seed, test.key) in known for test in study.tests):
                continue
            out = folder(work, row, seed)
            train = (
                *("train", "--data", str(data), "--split", str(split_file(TRAIN, home=HERE, data=data))),
                *("--out", str(out), "--model", row.model, "--seed", str(seed), *RECIPE, *row.options),
            )
            plan.append(Stage(f"{row.name} {seed}", train))
            for test in study.tests:
                lists = tuple(str(split_file(name, home=HERE, data=data)) for name in test.splits)
                score = (
                    *("eval", "--model", row.weights(out / "best.safetensors"), "--data", str(data), "--split", *lists),
                    *("--format", "json"),
                )
                plan.append(Stage(f"{row.name} {seed} on {test.key}", score, out / f"{test.key}.json"))
    return plan


def gathered(study: Study, *, work: Path, known: Known) -> Known:
    """What is known, and of every run that is done its Dice on each test."""
    found = dict(known)
    for row in study.rows:
        for seed in study.seeds:
            for test in study.tests:
                file = folder(work, row, seed) / f"{test.key}.json"
                if file.is_file():
                    found[row.name, seed, test.key] = float(json.loads(file.read_text())["dice"]["mean"])
    return found


def to_json(study: Study, dice: Known) -> str:
    """As seeds_STUDY.json: what was trained, how, and the Dice of each run."""
    runs = [
        {"row": row, "seed": seed, "test": test, "dice": value} for (row, seed, test), value in sorted(dice.items())
    ]
    rows = {row.name: [row.model, *row.options] for row in study.rows}
    return json.dumps({"recipe": list(RECIPE), "rows": rows, "runs": runs}, indent=1)


def from_json(text: str, study: Study) -> Known:
    """Raises: BadInput for runs of another recipe than the study's."""
    read = json.loads(text)
    if read["recipe"] != list(RECIPE) or read["rows"] != {row.name: [row.model, *row.options] for row in study.rows}:
        raise BadInput(f"seeds_{study.name}.json holds runs of another recipe. Take another --out, or remove the file.")
    return {(run["row"], run["seed"], run["test"]): run["dice"] for run in read["runs"]}


def compared(study: Study, row: Trained, test: Tested, *, dice: Known) -> PairedRuns | None:
    """The first row less `row`, over the seeds that both have; None for fewer than two."""
    pairs = [
        (ours, theirs)
        for seed in study.seeds
        if (ours := dice.get((study.rows[0].name, seed, test.key))) is not None
        and (theirs := dice.get((row.name, seed, test.key))) is not None
    ]
    if len(pairs) < 2:
        return None
    return paired_runs(*zip(*pairs, strict=True))


def table(study: Study, *, dice: Known) -> str:
    """Mean Dice over seeds with the standard deviation, and what the first row has more, in points."""
    rows = []
    for row in study.rows:
        cells: list[str] = [row.name]
        for test in study.tests:
            found = [dice.get((row.name, seed, test.key)) for seed in study.seeds]
            seeds = sum(value is not None for value in found)
            cells.append(mean_and_spread(found, digits=3) + (f", {seeds} seeds" if seeds else ""))
            gap = None if row == study.rows[0] else compared(study, row, test, dice=dice)
            cells.append("-" if gap is None else f"{100 * gap.mean:+.1f} [{100 * gap.low:+.1f}, {100 * gap.high:+.1f}]")
        rows.append(tuple(cells))
    header = ["trained"]
    for test in study.tests:
        header += [f"Dice on {test.name}", f"{study.rows[0].name} less it, points"]
    return markdown_table(header, rows)


def document(study: Study, *, dice: Known, words: str) -> str:
    """seeds_STUDY.md."""
    options = "\n".join(f"- {row.name}: `{' '.join(row.options)}`" for row in study.rows if row.options)
    return (
        f"# {study.title}\n\n"
        f"    PYTHONPATH=benchmarks python benchmarks/paired_seeds.py {study.name} --data DIR --work runs/{study.name} "
        "--out benchmarks/results\n\n"
        f"Each trained on Kvasir-SEG's 900 training images with `{' '.join(RECIPE)}`, seeds "
        f"{', '.join(map(str, study.seeds))}. Mean Dice over seeds (standard deviation); what the first has more, "
        "paired by seed, mean [95 % interval by Student's t over the seeds].\n\n"
        f"{table(study, dice=dice)}" + (f"\n{options}\n" if options else "") + words
    )


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", choices=[s.name for s in STUDIES])
    parser.add_argument("--data", type=Path, required=True, help="folder with kvasir-seg/, cvc-clinicdb/ and splits/")
    parser.add_argument("--work", type=Path, required=True, help="folder of all runs of this study")
    parser.add_argument("--out", type=Path, required=True, help="folder of the result, which is replaced")
    parser.add_argument("--report", action="store_true", help="run nothing, report what is done")
    args = parser.parse_args(argv)
    study = next(s for s in STUDIES if s.name == args.study)
    file, numbers = (args.out / f"seeds_{study.name}.{suffix}" for suffix in ("md", "json"))
    try:
        known = from_json(numbers.read_text(), study) if numbers.is_file() else {}
        if not args.report:
            args.work.mkdir(parents=True, exist_ok=True)
            run_stages(stages(study, data=args.data, work=args.work, known=known), args.work / "done.txt")
    except LawderError as error:
        sys.exit(f"error: {error}")
    dice = gathered(study, work=args.work, known=known)
    words = kept_words(file.read_text()) if file.is_file() else ""
    write_file(file, document(study, dice=dice, words=words).encode())
    write_file(numbers, f"{to_json(study, dice)}\n".encode())
    print(f"{file}: written")


if __name__ == "__main__":
    main()
