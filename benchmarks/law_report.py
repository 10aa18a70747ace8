"""The table and the plot of the LAW experiment, from what benchmarks/law.py wrote.

    python benchmarks/law_report.py runs/law/full.json runs/law/few-a.json runs/law/few-b.json --out benchmarks/results

Writes law.md, law.json and law.svg. What stands in law.md below "## What it says" is kept. Parts that are not complete
are shown with the runs that are there.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
from law_runs import PartRuns, Run

from lawder_edge.bench.svg import COLOURS, Point, axis, panels, plot
from lawder_edge.errors import LawderError
from lawder_edge.evaluation.comparison import kept_words
from lawder_edge.evaluation.tables import markdown_table, mean_and_spread
from lawder_edge.files import write_file
from lawder_edge.intervals import PairedRuns, paired_runs

ARMS = ("real", "uniform", "ratio", "regions", "law", "law_regions", "law_joint")
BEFORE = """# What LAW's weights change

Generators whose loss is weighted per pixel in different ways, their pictures, and what ORDER learns from real and
synthetic pictures together. Commands:

    python benchmarks/law.py --data DIR --work runs/law --part full
    python benchmarks/law.py --data DIR --work runs/law --part few-a
    python benchmarks/law.py --data DIR --work runs/law --part few-b
    python benchmarks/law_report.py runs/law/full.json runs/law/few-a.json runs/law/few-b.json --out benchmarks/results

At full size on a graphics card, not run: the first three with `--gpu` (256x256, 60,000 steps of a base and 20,000 of
each arm, 1,450 pictures of each generator).

## Written down before the runs

- Generators: the small denoiser at 128x128. `full`: a base of 4,000 steps on the usual 1,450 training pictures, from
  which every arm goes on for 1,250 steps with three seeds. `few-a`, `few-b`: a base of 2,000 steps on 100 pictures of
  Kvasir-SEG (disjoint, drawn by chance), from which every arm goes on for 1,000 steps with three seeds. Within a seed
  all arms see the same pictures, noise, times and withheld masks.
- 400 pictures of each generator for the same bent and moved training masks; none is chosen, none left out.
- ORDER at 128x128, from the real pictures of the part alone, and from them with the synthetic ones, equal in steps
  and in seed, threshold 0.5.
- **Primary endpoint**: Dice on Kvasir-100 of ORDER from 100 real pictures with those of `law`, less that with those
  of `uniform`, over the six pairs (two sets of 100, three seeds); mean and 95 % interval by Student's t. Six pairs
  find a difference of 1.43 standard deviations of one pair four times in five. That standard deviation is not known;
  2 points of Dice, as other pairs of short trainings here had, would make it 2.9 points.
- Beside it, for reading and not for deciding: `law` less `regions`, the fixed weights that a learned map must beat;
  real with `uniform` less real alone; ClinicDB as another hospital; KID of the frame and of the lesion's crop, and
  mask fidelity, of all parts; in `full`, `law_regions` and `law_joint` with one seed.
- The paper tells of FID 20 % lower than with uniform weights and of 4.9 points of Dice (arXiv 2603.04795).
"""
# (what, less what) that stands below the tables.
COMPARED = (("law", "uniform"), ("law", "regions"), ("regions", "uniform"), ("uniform", "real"), ("law", "real"))


def difference(runs: Sequence[Run], arm: str, other: str, *, place: int = 0) -> PairedRuns | None:
    """Of Dice on the list at `place`, over the pairs that are there; None for fewer than two."""
    known = {(r.part, r.seed, r.arm): r.dice[place] for r in runs}
    pairs = [
        (value, known[part, seed, other])
        for (part, seed, found), value in known.items()
        if found == arm and value is not None and known.get((part, seed, other)) is not None
    ]
    if len(pairs) < 2:
        return None
    ours, theirs = zip(*pairs, strict=True)
    return paired_runs(ours, theirs)


def told(runs: Sequence[Run], arm: str, other: str, *, place: int) -> str:
    """The difference over all pairs, and of parts that are several the mean of each."""
    found = difference(runs, arm, other, place=place)
    if found is None:
        return "-"
    parts = sorted({r.part for r in runs})
    means = [(p, difference([r for r in runs if r.part == p], arm, other, place=place)) for p in parts]
    each = "".join(f"; {p} {100 * m.mean:+.1f}" for p, m in means if m is not None) if len(parts) > 1 else ""
    return (
        f"{100 * found.mean:+.1f} [{100 * found.low:+.1f}, {100 * found.high:+.1f}], {found.runs} pairs, sd "
        f"{100 * found.sd:.1f}, would find {100 * found.detectable:.1f}{each}"
    )


def begun(part: PartRuns) -> list[Run]:
    return [run for run in part.runs if run.begun]


def table(part: PartRuns) -> str:
    """A row an arm: mean over its seeds, standard deviation in brackets."""
    runs = begun(part)
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
                mean_and_spread([s.fidelity for s in scores], digits=3),
                mean_and_spread([100 * s.memorised / s.pictures for s in scores], digits=1),
                *(mean_and_spread([r.dice[i] for r in mine], digits=3) for i in range(len(part.tests))),
            )
        )
    header = (
        *("ORDER learns from, besides the real pictures", "seeds", "KID frame", "KID lesion crop", "mask fidelity"),
        *("memorised, %", *(f"Dice on {name}" for name in part.tests)),
    )
    text = markdown_table(header, rows)
    scores = [r.score for r in runs if r.score is not None]
    if scores:
        s = scores[0]
        text += (
            f"\nReal training against held-out pictures: KID {1000 * s.floor_frame:.1f} of the frame and "
            f"{1000 * s.floor_crop:.1f} of the crop; the judge's Dice on held-out pictures "
            f"{s.fidelity_real:.3f}.\n"
        )
    return text


def document(parts: Sequence[PartRuns], *, words: str) -> str:
    """law.md."""
    lines = [
        BEFORE,
        "## What was found",
        "",
        "![Dice of ORDER over the distance of the pictures it learned from](law.svg)",
        "",
    ]
    scores = [r.score for part in parts for r in begun(part) if r.score is not None]
    if scores:
        lines += [
            f"Mean over seeds, standard deviation between them in brackets. Distances times 1,000, with features of "
            f"{scores[0].features}: they compare with each other alone. Mask fidelity is the Dice between the mask "
            "asked for and what the bundled ORDER, which saw no synthetic picture, finds.",
            "",
        ]
    for part in parts:
        lines += [f"### {part.name}", "", table(part)]
    few = [r for part in parts if part.name != "full" for r in begun(part)]
    full = [r for part in parts if part.name == "full" for r in begun(part)]
    lines += ["### Paired differences in Dice, points", ""]
    columns = [(name, runs, i) for name, runs in (("100 real", few), ("1,450 real", full)) for i in range(2)]
    tests = {name: parts_tests(parts, few=name == "100 real") for name, _, _ in columns}
    header = ("arms", *(f"{name}: {tests[name][i]}" for name, _, i in columns))
    rows = [(f"{a} less {b}", *(told(runs, a, b, place=i) for _, runs, i in columns)) for a, b in COMPARED]
    lines += [markdown_table(header, rows)]
    return "\n".join(lines) + words


def parts_tests(parts: Sequence[PartRuns], *, few: bool) -> list[str]:
    """The names of the test lists of the parts of a kind; "-" where there is no such part."""
    found = [part.tests for part in parts if (part.name != "full") == few]
    return list(found[0]) if found else ["-", "-"]


def drawn(parts: Sequence[PartRuns]) -> str | None:
    """A mark for every run: KID of the lesion crop, Dice on the first list; None where no run has both."""
    charts = []
    for part in parts:
        runs = [r for r in begun(part) if r.score is not None and r.dice[0] is not None]
        if not runs:
            continue
        xs = [1000 * r.score.kid_crop for r in runs if r.score is not None]
        ys = [r.dice[0] for r in runs if r.dice[0] is not None]
        points = [
            Point(f"{r.arm} {r.seed}", x, y, COLOURS[ARMS.index(r.arm)]) for r, x, y in zip(runs, xs, ys, strict=True)
        ]
        alone = [r.dice[0] for r in begun(part) if r.arm == "real" and r.dice[0] is not None]
        title = f"{part.name}: Dice on {part.tests[0]}" + (f", real alone {np.mean(alone):.3f}" if alone else "")
        charts.append(
            plot(axis(f"{part.name}: KID of the lesion crop x 1,000", xs), axis(title, ys), points=points, title=title)
        )
    names = [(arm, COLOURS[i]) for i, arm in enumerate(ARMS) if arm != "real"]
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
    write_file(args.out / "law.json", (json.dumps([asdict(part) for part in parts], indent=1) + "\n").encode())
    if chart is not None:
        write_file(args.out / "law.svg", (chart + "\n").encode())
    print(f"{file}: written")


if __name__ == "__main__":
    try:
        main()
    except (LawderError, OSError) as error:
        sys.exit(f"error: {error}")
