"""The table and the plot of the LAW experiment, from what benchmarks/law.py wrote.

    python benchmarks/law_report.py runs/law/full.json runs/law/few-a.json runs/law/few-b.json --out benchmarks/results

Writes law.md, law.json and law.svg. What stands in law.md below "## What it says" is kept. Parts that are not complete
are shown with the runs that are there.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
from law_runs import PartRuns, Run, Scale, parts_to_json

from lawder_edge.bench.svg import COLOURS, Point, axis, panels, plot
from lawder_edge.errors import BadInput, LawderError
from lawder_edge.evaluation.comparison import kept_words
from lawder_edge.evaluation.tables import markdown_table, mean_and_spread
from lawder_edge.files import write_file
from lawder_edge.intervals import PairedRuns, paired_runs

ARMS = (
    "real", "uniform", "ratio", "regions", "law", "law_on_regions", "law_regions", "law_joint", "carried",
    "law_reversed",
)  # fmt: skip
# In the place of a difference that has fewer than two pairs.
NO_PAIRS = "-"
BEFORE = """# What LAW's weights change

Generators whose loss is weighted per pixel in different ways, their pictures, and what ORDER learns from real and
synthetic pictures together. Commands:

    python benchmarks/law.py --data DIR --work runs/law --part full --float32
    python benchmarks/law.py --data DIR --work runs/law --part few-a
    python benchmarks/law.py --data DIR --work runs/law --part few-b --float32
    python benchmarks/law_report.py runs/law/full.json runs/law/few-a.json runs/law/few-b.json --out benchmarks/results

{full_size}

## Written down before the runs

- Generators: the small denoiser at {size}x{size}. `full`: a base of {base:,} steps on the usual 1,450 training
  pictures, from which every arm goes on for {full_fork:,} steps with three seeds. `few-a`, `few-b`: a base of
  {few_base:,} steps on 100 pictures of Kvasir-SEG (disjoint, drawn by chance), from which every arm goes on for
  {few_fork:,} steps with three seeds. Within a seed all arms see the same pictures, noise, times and withheld masks.
- {n} pictures of each generator for the same bent and moved training masks; none is chosen, none left out.
- ORDER at {size}x{size}, from the real pictures of the part alone, and from them with the synthetic ones, equal in
  steps and in seed, threshold 0.5.
- **Primary endpoint**: Dice on Kvasir-100 of ORDER from 100 real pictures with those of `law`, less that with those
  of `uniform`, over the six pairs (two sets of 100, three seeds); mean and 95 % interval by Student's t. Six pairs
  find a difference of 1.43 standard deviations of one pair four times in five. That standard deviation is not known;
  2 points of Dice, as other pairs of short trainings here had, would make it 2.9 points.
- Beside it, for reading and not for deciding: `law` less `regions`, the fixed weights that a learned map must beat;
  real with `uniform` less real alone; ClinicDB as another hospital; KID of the frame and of the lesion's crop, and
  mask fidelity, of all parts; in `full`, `law_regions` and `law_joint` with one seed.
- The paper tells of FID 20 % lower than with uniform weights and of 4.9 points of Dice (arXiv 2603.04795).

Added when the first seed of `few-a` was through, before any other: `ratio`, the prior of `law` without its learned map,
with one seed from 100 pictures, since `law` less `uniform` holds both; paired differences of distances and fidelity;
copies looked for turned over and by pixels; and the order in which masks are taken, over all lists instead of from the
first on. From 100 pictures each mask still comes four times, bent otherwise: in `few-a`'s first seed `ratio`, drawn
after that, has other bends than the arms before it. Added when `few-a` was through: `law_on_regions`, since `law` was
as good as `regions` on the lesion's crop and behind it in mask fidelity. Added when two of six pairs of `few-b` were
through: `carried`, pictures of the generator that the package carries (`law`, of all 1,450 training pictures) for the
masks of the 100, to tell a generator that knows no more than the 100 from pictures that teach nothing whoever draws
them; its ClinicDB is no other hospital, since that generator was trained on it. What these show is found by looking,
and not predicted. Added after the primary endpoint: `ratio` with all seeds, since one pair tells nothing of a control;
and `law_regions` and `law_joint` in `few-b`, whose base was there, instead of in `full`. Added when `few-b` was through
and it was seen where arms err (below): `law_reversed` in `few-b`, the map turned over (gamma -0.5, weight where little
error is expected). If the frame of `law` is far from real ones because calm places are learned worse, `law_reversed`
less `ratio` is below 0 in KID of the frame: predicted before its runs, and of that column alone.
"""
FULL_SIZE = {
    False: "`--float32` is for a processor without bfloat16. On a graphics card at 256 px, not run: the first three\n"
    "with `--gpu` in its place and another `--work`.",
    True: "On a graphics card, the first three with `--gpu` in the place of `--float32`.",
}
# (what, less what) that stands below the tables.
COMPARED = (
    ("law", "uniform"), ("law", "regions"), ("law", "ratio"), ("regions", "uniform"), ("ratio", "uniform"),
    ("law_reversed", "ratio"), ("law_on_regions", "regions"), ("law_on_regions", "law"), ("uniform", "real"),
    ("ratio", "real"), ("regions", "real"), ("law", "real"), ("carried", "real"), ("carried", "law"),
)  # fmt: skip
Value = Callable[[Run], float | None]


def dice_on(place: int) -> Value:
    """Of ORDER on the list at `place` of its part."""
    return lambda run: run.dice[place]


def kid_crop(run: Run) -> float | None:
    return None if run.score is None else run.score.kid_crop


def kid_frame(run: Run) -> float | None:
    return None if run.score is None else run.score.kid_frame


def fidelity(run: Run) -> float | None:
    return None if run.score is None else run.score.fidelity


def log_frechet(run: Run) -> float | None:
    """Of the whole frame to held-out pictures; differences of it are ratios."""
    return None if run.score is None else math.log(run.score.frechet_frame)


def difference(runs: Sequence[Run], arm: str, other: str, of: Value) -> PairedRuns | None:
    """Of what `of` gives, over the pairs of a part and seed that are there; None for fewer than two."""
    known = {(r.part, r.seed, r.arm): of(r) for r in runs}
    pairs = [
        (value, against)
        for (part, seed, found), value in known.items()
        if found == arm and value is not None and (against := known.get((part, seed, other))) is not None
    ]
    if len(pairs) < 2:
        return None
    ours, theirs = zip(*pairs, strict=True)
    return paired_runs(ours, theirs)


def times(found: PairedRuns | None, factor: float) -> str:
    """Mean, interval and number of pairs, in other units."""
    if found is None:
        return NO_PAIRS
    mean, low, high = (f"{factor * v:+.1f}" for v in (found.mean, found.low, found.high))
    return f"{mean} [{low}, {high}] ({found.runs})"


def percent(found: PairedRuns | None) -> str:
    """A difference of logarithms as a change in per cent."""
    if found is None:
        return NO_PAIRS
    mean, low, high = (f"{100 * math.expm1(v):+.0f}" for v in (found.mean, found.low, found.high))
    return f"{mean} [{low}, {high}] ({found.runs})"


def endpoint(runs: Sequence[Run]) -> str:
    """What was written down before the runs, with what it rests on."""
    found = difference(runs, "law", "uniform", dice_on(0))
    if found is None:
        return "**Primary endpoint**: fewer than two pairs are there.\n"
    means = [
        (part, difference([r for r in runs if r.part == part], "law", "uniform", dice_on(0)))
        for part in sorted({r.part for r in runs})
    ]
    each = ", ".join(f"{100 * m.mean:+.1f} in {part}" for part, m in means if m is not None)
    mean, low, high, sd, detectable = (100 * v for v in (found.mean, found.low, found.high, found.sd, found.detectable))
    return (
        f"**Primary endpoint**: {mean:+.1f} points of Dice [{low:+.1f}, {high:+.1f}] over {found.runs} pairs"
        f"{f' ({each})' if each else ''}, standard deviation of a pair {sd:.1f}; {detectable:.1f} would be found four "
        "times in five. The interval is over seeds, given these sets of 100 and these test images: it does not tell "
        "how another set of 100 would do.\n"
    )


def table(part: PartRuns) -> str:
    """A row an arm: mean over its seeds, standard deviation in brackets."""
    runs = [run for run in part.runs if run.begun]
    rows = []
    for arm in (a for a in ARMS if any(r.arm == a for r in runs)):
        mine = [r for r in runs if r.arm == arm]
        scores = [r.score for r in mine if r.score is not None]
        rows.append(
            (
                arm,
                str(len(mine)),
                mean_and_spread([1000 * s.kid_frame for s in scores], digits=1),
                mean_and_spread([1000 * s.kid_crop for s in scores], digits=1),
                mean_and_spread([s.frechet_frame for s in scores], digits=1),
                mean_and_spread([s.fidelity for s in scores], digits=3),
                mean_and_spread([100 * s.memorised / s.pictures for s in scores], digits=1),
                *(mean_and_spread([r.dice[i] for r in mine], digits=3) for i in range(len(part.tests))),
            )
        )
    header = (
        *("ORDER learns from, besides the real pictures", "seeds", "KID frame", "KID lesion crop", "Frechet frame"),
        *("mask fidelity", "flagged as memorised, %", *(f"Dice on {name}" for name in part.tests)),
    )
    text = markdown_table(header, rows)
    scores = [r.score for r in runs if r.score is not None]
    if scores:
        s = scores[0]
        text += (
            f"\nReal training against held-out pictures: KID {1000 * s.floor_frame:.1f} of the frame and "
            f"{1000 * s.floor_crop:.1f} of the crop; the judge's Dice on held-out pictures {s.fidelity_real:.3f}.\n"
        )
    return text


def differences(runs: Sequence[Run], tests: Sequence[str]) -> str:
    """A row a pair of arms with two seeds: paired by part and seed, mean [95 % interval by Student's t] (pairs)."""
    rows = []
    for arm, other in COMPARED:
        dice = [times(difference(runs, arm, other, dice_on(i)), 100) for i in range(len(tests))]
        whole, crop = (times(difference(runs, arm, other, kid), 1000) for kid in (kid_frame, kid_crop))
        frame = percent(difference(runs, arm, other, log_frechet))
        faithful = times(difference(runs, arm, other, fidelity), 100)
        cells = (*dice, whole, crop, frame, faithful)
        if any(cell != NO_PAIRS for cell in cells):
            rows.append((f"{arm} less {other}", *cells))
    if not rows:
        return "Of no two arms are there two pairs yet.\n"
    header = (
        *("arms", *(f"Dice on {name}, points" for name in tests), "KID frame", "KID lesion crop"),
        *("Frechet frame, %", "mask fidelity, points"),
    )
    return markdown_table(header, rows)


def document(parts: Sequence[PartRuns], *, words: str) -> str:
    """law.md. Raises: BadInput for parts of several scales, judges or features."""
    scale = scale_of(parts)
    precisions = [f"`{part.name}` in {'bfloat16' if 'bf16' in part.scale.options else 'float32'}" for part in parts]
    measured = measured_by(parts)
    before = BEFORE.format(**asdict(scale), full_size=FULL_SIZE["--threads" not in scale.options])
    lines = [before, "## What was found", "", "![Dice of ORDER over the distance of its pictures](law.svg)", ""]
    few, full = (
        [r for part in parts if (part.name == "full") == whole for r in part.runs if r.begun] for whole in (False, True)
    )
    lines += [endpoint(few), f"Trainings were of {', '.join(precisions)}; all runs of a part are alike.", ""]
    if measured is not None:
        features, judge = measured
        lines += [
            f"Mean over seeds, standard deviation between them in brackets. Distances with features of {features}, KID "
            "times 1,000: they compare with each other alone. Mask fidelity is the Dice between the mask asked for and "
            f"what an ORDER that saw no synthetic picture, {judge} in benchmarks/weights/judge, finds. It learned from "
            "real pictures with the masks that those asked for are bent and moved from, and from none of the held-out "
            "ones, so that its Dice on these is no ceiling.",
            "",
        ]
    for part in parts:
        lines += [f"### {part.name}", "", table(part)]
    for title, runs, whole in (("100 real pictures", few, False), ("1,450 real pictures", full, True)):
        tests = next((part.tests for part in parts if (part.name == "full") == whole), None)
        if tests is not None:
            lines += [f"### Paired differences, from {title}", "", differences(runs, tests)]
    return "\n".join(lines) + words


def scale_of(parts: Sequence[PartRuns]) -> Scale:
    """Of the precision of the first: parts may differ in that, as differences are taken within them.

    Raises: BadInput for parts of several sizes.
    """
    scales = {replace(part.scale, options=parts[0].scale.options) for part in parts}
    if len(scales) != 1:
        raise BadInput(f"parts of {len(scales)} scales do not go into one table; wanted those of one call of law.py.")
    return scales.pop()


def measured_by(parts: Sequence[PartRuns]) -> tuple[str, str] | None:
    """(features, judge) of every score, None where there is no score. Raises: BadInput for several."""
    found = {(r.score.features, r.score.judge) for part in parts for r in part.runs if r.score is not None}
    if len(found) > 1:
        raise BadInput(
            f"scores by {' and by '.join(sorted(map(', '.join, found)))} do not compare. Take one version of the "
            "package for all, or remove the score lines of the other in done.txt and repeat law.py."
        )
    return next(iter(found), None)


def drawn(parts: Sequence[PartRuns]) -> str | None:
    """A mark for every run: KID of the lesion crop, Dice on the first list; None where no run has both."""
    charts = []
    for part in parts:
        runs = [r for r in part.runs if r.score is not None and r.dice[0] is not None]
        if not runs:
            continue
        xs = [1000 * r.score.kid_crop for r in runs if r.score is not None]
        ys = [r.dice[0] for r in runs if r.dice[0] is not None]
        points = [
            Point(f"{r.arm} {r.seed}", x, y, COLOURS[ARMS.index(r.arm)]) for r, x, y in zip(runs, xs, ys, strict=True)
        ]
        alone = [r.dice[0] for r in part.runs if r.arm == "real" and r.dice[0] is not None]
        title = f"{part.name}: Dice on {part.tests[0]}" + (f", real alone {np.mean(alone):.3f}" if alone else "")
        charts.append(
            plot(axis(f"{part.name}: KID of the lesion crop x 1,000", xs), axis(title, ys), points=points, title=title)
        )
    there = {r.arm for part in parts for r in part.runs if r.score is not None}
    names = [(arm, COLOURS[i]) for i, arm in enumerate(ARMS) if arm in there]
    return panels(charts, names=names, title="Dice of ORDER over KID of its synthetic pictures") if charts else None


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", type=Path, nargs="+", help="full.json, few-a.json, few-b.json of law.py")
    parser.add_argument("--out", type=Path, required=True, help="folder of the results, which are replaced")
    args = parser.parse_args(argv)
    parts = []
    for path in args.parts:
        try:
            parts.append(PartRuns.from_json(path.read_text()))
        except (ValueError, KeyError, TypeError) as error:
            sys.exit(f"error: {path}: {error!r}; wanted what law.py wrote.")
    file = args.out / "law.md"
    chart = drawn(parts)
    write_file(
        file, document(parts, words=kept_words(file.read_text()) if file.is_file() else "").rstrip().encode() + b"\n"
    )
    write_file(args.out / "law.json", f"{parts_to_json(parts)}\n".encode())
    if chart is not None:
        write_file(args.out / "law.svg", (chart + "\n").encode())
    print(f"{file}: written")


if __name__ == "__main__":
    try:
        main()
    except (LawderError, OSError) as error:
        sys.exit(f"error: {error}")
