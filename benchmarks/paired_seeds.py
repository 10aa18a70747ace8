"""Networks trained alike with several seeds, to tell what a network gains from what a seed gains.

    PYTHONPATH=benchmarks python benchmarks/paired_seeds.py --data DIR --work runs/seeds --out benchmarks/results

Every network is trained on Kvasir-SEG's 900 training images by one recipe, once a seed; a seed draws the same
validation images, order and augmentation for all. Each stage is a command of lawder-edge; a stopped call goes on when
it is repeated. Writes paired_seeds.md with the differences between the first network and each other one, paired by
seed; what stands in it below "## What it says" is kept. --report writes it from what is done so far.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lawder_edge.bench.stages import Stage, run_stages, split_file
from lawder_edge.errors import LawderError
from lawder_edge.evaluation.comparison import kept_words
from lawder_edge.evaluation.tables import markdown_table
from lawder_edge.files import write_file
from lawder_edge.intervals import PairedRuns, paired_runs

HERE = Path(__file__).resolve().parent
# The first is the one that the others are held against.
NETWORKS = ("order", "variants:NoAdapters", "variants:NoAdaptersWide", "mk_unet_wide", "mk_unet_t")
SEEDS = (0, 1, 2, 3, 4)
TRAIN = "pranet_train_kvasir_900.txt"
RECIPE = (
    *("--schedule", "128x20", "--learning-rate", "4e-3", "--mixed-precision", "bf16", "--val-every", "4"),
    *("--threads", "1"),
)


@dataclass(frozen=True)
class TestList:
    """Of images that no training here saw. splits: files in benchmarks/splits, or else in DIR/splits."""

    key: str
    name: str
    splits: tuple[str, ...]


TESTS = (
    TestList("kvasir", "Kvasir-100", ("pranet_test_kvasir_100.txt",)),
    TestList(
        "clinicdb",
        "ClinicDB, another hospital",
        ("clinicdb_sequences_01_15.txt", "clinicdb_sequences_16_29.txt"),
    ),
)


def folder(work: Path, network: str, seed: int) -> Path:
    return work / f"{network.replace(':', '_')}-{seed}"


def stages(networks: Sequence[str], seeds: Sequence[int], *, data: Path, work: Path) -> list[Stage]:
    """All networks of a seed before the next seed, so that what is done so far compares."""
    plan = []
    for seed in seeds:
        for network in networks:
            out = folder(work, network, seed)
            train = (
                *("train", "--data", str(data), "--split", str(split_file(TRAIN, home=HERE, data=data))),
                *("--out", str(out), "--model", network, "--seed", str(seed), *RECIPE),
            )
            plan.append(Stage(f"{network} {seed}", train))
            for test in TESTS:
                lists = tuple(str(split_file(name, home=HERE, data=data)) for name in test.splits)
                score = (
                    *("eval", "--model", str(out / "best.safetensors"), "--data", str(data), "--split", *lists),
                    *("--format", "json"),
                )
                plan.append(Stage(f"{network} {seed} on {test.key}", score, out / f"{test.key}.json"))
    return plan


def dice_of(work: Path, network: str, seed: int, test: TestList) -> float | None:
    """None where it is not measured yet."""
    file = folder(work, network, seed) / f"{test.key}.json"
    return float(json.loads(file.read_text())["dice"]["mean"]) if file.is_file() else None


Found = dict[tuple[str, int, str], float | None]


def found_in(work: Path, networks: Sequence[str], seeds: Sequence[int]) -> Found:
    """Dice by network, seed and list."""
    return {(n, s, t.key): dice_of(work, n, s, t) for n in networks for s in seeds for t in TESTS}


def compared(found: Found, network: str, other: str, key: str, *, seeds: Sequence[int]) -> PairedRuns | None:
    """`network` less `other` over the seeds that both have; None for fewer than two."""
    pairs = [
        (ours, theirs)
        for seed in seeds
        if (ours := found[network, seed, key]) is not None and (theirs := found[other, seed, key]) is not None
    ]
    if len(pairs) < 2:
        return None
    return paired_runs(*zip(*pairs, strict=True))


def table(found: Found, networks: Sequence[str], seeds: Sequence[int]) -> str:
    """A row a network: mean Dice over seeds with the standard deviation, and what the first has more, in points."""
    rows = []
    for network in networks:
        cells: list[str] = [network]
        for test in TESTS:
            there = [d for seed in seeds if (d := found[network, seed, test.key]) is not None]
            spread = f" ({np.std(there, ddof=1):.3f})" if len(there) > 1 else ""
            cells.append(f"{np.mean(there):.3f}{spread}, {len(there)} seeds" if there else "-")
            gap = None if network == networks[0] else compared(found, networks[0], network, test.key, seeds=seeds)
            cells.append("-" if gap is None else f"{100 * gap.mean:+.1f} [{100 * gap.low:+.1f}, {100 * gap.high:+.1f}]")
        rows.append(tuple(cells))
    header = ["network"]
    for test in TESTS:
        header += [f"Dice on {test.name}", f"{networks[0]} less it, points"]
    return markdown_table(header, rows)


def document(found: Found, networks: Sequence[str], seeds: Sequence[int], *, words: str) -> str:
    """paired_seeds.md."""
    return (
        "# What a network gains, and what a seed\n\n"
        "    PYTHONPATH=benchmarks python benchmarks/paired_seeds.py --data DIR --work runs/seeds --out "
        "benchmarks/results\n\n"
        f"Each trained on Kvasir-SEG's 900 training images with `{' '.join(RECIPE)}`, seeds "
        f"{', '.join(map(str, seeds))}. Mean Dice over seeds (standard deviation); what the first network has more, "
        "paired by seed, mean [95 % interval by Student's t over the seeds].\n\n"
        f"{table(found, networks, seeds)}{words}"
    )


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with kvasir-seg/, cvc-clinicdb/ and splits/")
    parser.add_argument("--work", type=Path, required=True, help="folder of all runs")
    parser.add_argument("--out", type=Path, required=True, help="folder of the result, which is replaced")
    parser.add_argument("--report", action="store_true", help="run nothing, report what is done")
    args = parser.parse_args(argv)
    if not args.report:
        args.work.mkdir(parents=True, exist_ok=True)
        try:
            run_stages(stages(NETWORKS, SEEDS, data=args.data, work=args.work), args.work / "done.txt")
        except LawderError as error:
            sys.exit(f"error: {error}")
    file = args.out / "paired_seeds.md"
    words = kept_words(file.read_text()) if file.is_file() else ""
    write_file(file, document(found_in(args.work, NETWORKS, SEEDS), NETWORKS, SEEDS, words=words).encode())
    print(f"{file}: written")


if __name__ == "__main__":
    main()
