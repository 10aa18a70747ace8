"""The LAW experiment: generators that differ in how their loss is weighted, and what ORDER learns from their pictures.

    python benchmarks/law.py --data DIR --work runs/law --part few-a

Arms fork from one base of the part with common pictures, noise and seeds. Each stage is a command of lawder-edge,
printed before it runs; what is done is not done again, so that a stopped call goes on when it is repeated. Parts may
run side by side. `--dry-run` lists the commands, `--gpu` takes those of full size for a workstation. When all stages of
a part are done, or with --report, its numbers are written to WORK/PART.json, of which law_report.py makes the table.
`--known benchmarks/results/law.json` does not repeat the runs whose numbers stand in that file; `--only real-2 law-3`
makes those alone, so that a part may be shared out: two calls side by side once its base is there. `--float32` is for a
processor that imitates bfloat16, where it is 20 times as fast; one part is of one precision.

Parts: `full` learns from the usual 1,450 training pictures; `few-a` and `few-b` from 100 of Kvasir-SEG, generator and
ORDER alike, disjoint.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from law_runs import PartRuns, Run, Scale, Score, parts_from_json

from lawder_edge.bench.stages import Stage, run_stages, shown, split_file
from lawder_edge.errors import BadInput, LawderError
from lawder_edge.files import write_file

HERE = Path(__file__).resolve().parent
SEEDS = (1, 2, 3)
# Not trained here: the seeds are of its pictures and of ORDER.
CARRIED = "carried"
# Arms that are another one with an option of `synth train`.
ARM_OPTIONS = {"law_reversed": ("law", "--gamma", "-0.5")}
# Of a polyp or not, alike in all arms: ten validation pictures are too few to choose one.
THRESHOLD = "0.5"
# An ORDER as the package carried it when the first pictures were scored: it saw no synthetic one, and judges all alike.
JUDGE = HERE / "weights" / "judge" / "law_judge.safetensors"


# About 19 hours of one core that computes bfloat16, estimated; a graphics card. The second, the same denoiser at
# 256 px, was not run.
CPU = Scale(128, 4000, 2000, 1250, 1000, 400, 15, ("--threads", "1", "--mixed-precision", "bf16"))
# For a processor that only imitates bfloat16.
CPU_FLOAT32 = replace(CPU, options=("--threads", "1"))
GPU = Scale(256, 60_000, 20_000, 20_000, 10_000, 1450, 20, ("--mixed-precision", "bf16"))


@dataclass(frozen=True)
class Part:
    """train: lists that generator and segmenter learn from; held: those that distances are measured against.

    tests: lists that ORDER's Dice is measured on, the first of them the endpoint. arms: those with all seeds; once:
    those with the first alone. carried: whether ORDER also learns from pictures of the generator that the package
    carries, which knows all 1,450. passes: of ORDER on the real pictures alone, and with synthetic ones, about equal in
    steps. per_pass: synthetic pictures in a pass.
    """

    name: str
    train: tuple[str, ...]
    held: tuple[str, ...]
    tests: tuple[tuple[str, tuple[str, ...]], ...]
    arms: tuple[str, ...]
    once: tuple[str, ...]
    passes: tuple[int, int]
    per_pass: int
    carried: bool = False

    def runs(self) -> tuple[tuple[str, int], ...]:
        """(arm, seed) of all that have synthetic pictures."""
        made = tuple((arm, s) for s in SEEDS for arm in self.arms) + tuple((arm, SEEDS[0]) for arm in self.once)
        return made + (tuple((CARRIED, s) for s in SEEDS) if self.carried else ())


KVASIR = ("Kvasir-100", ("pranet_test_kvasir_100.txt",))
CLINIC = ("ClinicDB, another hospital", ("clinicdb_sequences_01_15.txt", "clinicdb_sequences_16_29.txt"))
FEW_ARMS = ("uniform", "ratio", "regions", "law", "law_on_regions")
PARTS = (
    Part(
        "full",
        ("pranet_train_kvasir_900.txt", "pranet_train_clinicdb_550.txt"),
        # Not ClinicDB-62, whose sequences are trained on: as near as a frame of the same video is not far.
        KVASIR[1],
        (KVASIR, ("ClinicDB-62 (leaky)", ("pranet_test_clinicdb_62.txt",))),
        ("uniform", "ratio", "regions", "law"),
        (),
        (40, 31),
        400,
    ),
    *(
        Part(
            *(f"few-{x}", (f"kvasir_100_{x}.txt",), KVASIR[1], (KVASIR, CLINIC), arms, once, (375, 175), 90),
            carried=True,
        )
        for x, arms, once in (
            ("a", FEW_ARMS, ()),
            ("b", (*FEW_ARMS, *ARM_OPTIONS), ("law_regions", "law_joint")),
        )
    ),
)


def all_runs(part: Part) -> tuple[tuple[str, int], ...]:
    """(arm, seed) of a part, those of real pictures alone before those of generators."""
    return tuple(("real", seed) for seed in SEEDS) + part.runs()


def chosen_runs(
    part: Part, *, known: Collection[tuple[str, int]], only: Collection[str]
) -> tuple[tuple[str, int], ...]:
    """(arm, seed) that are to be made. known: that stand elsewhere. only: ARM-SEED of those wanted; none is all.

    Raises: BadInput for a name that is no run of the part.
    """
    names = {f"{arm}-{seed}": (arm, seed) for arm, seed in all_runs(part)}
    strange = [name for name in only if name not in names]
    if strange:
        raise BadInput(f"{part.name} has no run {', '.join(strange)}; wanted of {', '.join(names)}.")
    return tuple(run for name, run in names.items() if run not in known and (not only or name in only))


def stages(part: Part, scale: Scale, *, data: Path, work: Path, chosen: Collection[tuple[str, int]]) -> list[Stage]:
    """The commands of the chosen (arm, seed) of a part, in an order in which each finds what it reads."""
    home = work / part.name

    def lists(names: Sequence[str]) -> tuple[str, ...]:
        return tuple(str(split_file(name, home=HERE, data=data)) for name in names)

    base = home / "base"
    real = ("--data", str(data), "--split", *lists(part.train))
    few = part.name != "full"

    def generator(arm: str, seed: int, out: Path, steps: int, *start: str) -> Stage:
        named = ("--arm", *ARM_OPTIONS.get(arm, (arm,)))
        options = (*named, "--seed", str(seed), "--steps", str(steps), "--size", str(scale.size), *scale.options)
        return Stage(f"{out.name} generator", ("synth", "train", *real, "--out", str(out), *options, *start))

    def segmenter(out: Path, seed: int, *synthetic: str) -> list[Stage]:
        passes = part.passes[1 if synthetic else 0]
        train = (
            *("train", *real, "--out", str(out / "order"), "--model", "order", "--schedule", f"{scale.size}x{passes}"),
            *("--learning-rate", "4e-3", "--seed", str(seed), "--val-every", str(passes), *scale.options, *synthetic),
        )
        found = [Stage(f"{out.name} ORDER", train)]
        for place, (_, names) in enumerate(part.tests):
            test = (
                *("eval", "--model", str(out / "order" / "best.safetensors"), "--data", str(data), "--split"),
                *(*lists(names), "--threshold", THRESHOLD, "--format", "json"),
            )
            found.append(Stage(f"{out.name} test {place + 1}", test, out / f"test{place + 1}.json"))
        return found

    plan: list[Stage] = []
    for arm, seed in chosen:
        if arm == "real":
            plan += segmenter(home / f"real-{seed}", seed)
    left = [run for run in chosen if run[0] != "real"]
    if any(arm != CARRIED for arm, _ in left):
        plan.append(generator("uniform", 0, base, scale.few_base if few else scale.base))
    for arm, seed in left:
        out = home / f"{arm}-{seed}"
        pictures = out / "pictures"
        drawn_by: tuple[str, ...] = ()
        if arm != CARRIED:
            init = ("--init", str(base / "generator.safetensors"))
            plan.append(generator(arm, seed, out, scale.few_fork if few else scale.full_fork, *init))
            drawn_by = ("--model", str(out / "generator.safetensors"))
        sample = (
            *("synth", "sample", *drawn_by, "--masks", "augmented", *real),
            *("-n", str(scale.n), "--seed", str(seed), "--steps", str(scale.sampler_steps), "--out", str(pictures)),
            *(() if scale is GPU else ("--threads", "1")),
        )
        plan.append(Stage(f"{out.name} pictures", sample))
        score = (
            *("synth", "score", str(pictures), "--data", str(data), "--train", *lists(part.train)),
            *("--held-out", *lists(part.held), "--judge", str(JUDGE), "--format", "json"),
        )
        plan.append(Stage(f"{out.name} score", score, out / "score.json"))
        plan += segmenter(out, seed, "--synth", str(pictures), "--synth-per-pass", str(part.per_pass))
    return plan


def gathered(part: Part, scale: Scale, *, work: Path, known: Sequence[Run] = ()) -> PartRuns:
    """What the report reads: of every run that is done, its score and its Dice on every test list."""
    elsewhere = {(run.arm, run.seed): run for run in known}
    runs = []
    for arm, seed in all_runs(part):
        if (arm, seed) in elsewhere:
            runs.append(elsewhere[arm, seed])
            continue
        home = work / part.name / f"{arm}-{seed}"
        files = [home / f"test{place + 1}.json" for place in range(len(part.tests))]
        dice = tuple(json.loads(f.read_text())["dice"]["mean"] if f.is_file() else None for f in files)
        scored = home / "score.json"
        score = Score.of(json.loads(scored.read_text())) if scored.is_file() else None
        runs.append(Run(part.name, arm, seed, dice, score))
    return PartRuns(part.name, scale, tuple(name for name, _ in part.tests), tuple(runs))


def complete_runs(text: str, part: Part, scale: Scale) -> tuple[Run, ...]:
    """Those of a part that need not be repeated. text: of the law.json of law_report.py.

    Raises: BadInput for runs of another scale.
    """
    found = [known for known in parts_from_json(text) if known.name == part.name]
    if any(known.scale != scale for known in found):
        raise BadInput(f"the known runs of {part.name} are of another scale than those that would be added to them.")
    return tuple(run for known in found for run in known.runs if run.complete)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with kvasir-seg/, cvc-clinicdb/ and splits/")
    parser.add_argument("--work", type=Path, required=True, help="folder of all runs, which hold patients' images")
    parser.add_argument("--part", nargs="+", choices=[p.name for p in PARTS], default=[p.name for p in PARTS])
    parser.add_argument("--known", type=Path, help="law.json of law_report.py, whose complete runs are not repeated")
    parser.add_argument("--only", nargs="+", default=[], metavar="ARM-SEED", help="of the part's runs, such as law-2")
    sizes = parser.add_mutually_exclusive_group()
    sizes.add_argument("--gpu", action="store_true", help="the sizes for a workstation's graphics card")
    sizes.add_argument("--float32", action="store_true", help="instead of bfloat16 in trainings")
    parser.add_argument("--dry-run", action="store_true", help="print the commands alone")
    parser.add_argument(
        "--report", action="store_true", help="write WORK/PART.json of what is done so far, run nothing"
    )
    args = parser.parse_args(argv)
    scale = GPU if args.gpu else CPU_FLOAT32 if args.float32 else CPU
    for part in (p for p in PARTS if p.name in args.part):
        try:
            known = () if args.known is None else complete_runs(args.known.read_text(), part, scale)
        except (LawderError, OSError, ValueError, KeyError, TypeError) as error:
            sys.exit(f"error: {args.known}: {error}")
        try:
            chosen = chosen_runs(part, known={(run.arm, run.seed) for run in known}, only=args.only)
        except LawderError as error:
            sys.exit(f"error: --only: {error}")
        plan = stages(part, scale, data=args.data, work=args.work, chosen=chosen)
        if args.dry_run:
            print("\n".join(shown(stage.argv) for stage in plan))
            continue
        if not args.report:
            (args.work / part.name).mkdir(parents=True, exist_ok=True)
            try:
                run_stages(plan, args.work / part.name / "done.txt")
            except LawderError as error:
                sys.exit(f"error: {error}")
        text = gathered(part, scale, work=args.work, known=known).to_json()
        write_file(args.work / f"{part.name}.json", f"{text}\n".encode())


if __name__ == "__main__":
    main()
