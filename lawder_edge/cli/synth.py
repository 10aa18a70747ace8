"""`lawder-edge synth train`, `synth sample` and `synth score`"""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Literal

import tyro

from lawder_edge.cli.tables import print_table
from lawder_edge.cli.train import recipe_file
from lawder_edge.errors import BadInput, OutputExists
from lawder_edge.synthesis.config import SynthConfig, SynthProgress

# Of a score's distances, by whether their features are those of published ones.
_SCALE = {
    True: "those of published FID and KID, which compare at equal numbers and sizes of pictures and one reference",
    False: "whose distances compare with each other alone and with no published ones",
}


def train_command(argv: Sequence[str]) -> Callable[..., int]:
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
        from lawder_edge.synthesis.train import RUN_FILE
        from lawder_edge.synthesis.train import train as fit
        from lawder_edge.threads import limit_threads
        from lawder_edge.training.processes import is_first

        if teacher is None and teacher_weight is not None:
            raise BadInput("--teacher-weight says what a teacher's word counts: give --teacher.")
        weight = 0.5 if teacher_weight is None else teacher_weight
        limit_threads(threads)
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


def sample(
    out: Path,
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
    batch: int = 16,
    resume: bool = False,
    overwrite: bool = False,
    cpu: bool = False,
    threads: int = 0,
) -> int:
    """Draw pictures for masks, in the layout that `train` reads, marked as synthetic.

    Example: lawder-edge synth sample -n 16 --out synthetic

    From a generator of your own: --model runs/synth/generator.safetensors
    The masks of a folder as they are: --masks polyps/masks; bent, moved and flipped: --masks augmented --data polyps.
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
        seed: the same seed gives the same files.
        sampler: dpm is DPM-Solver++ 2M; ddim is DDIM with eta 0.
        steps: of the sampler.
        guidance: how much the mask is insisted on; 1 halves the time.
        batch: pictures at a time on a GPU.
        resume: go on where an earlier call was stopped, or up to a larger -n.
        overwrite: replace the synthetic pictures in --out.
        cpu: stay on the CPU although a GPU is there.
        threads: of this process; 0 leaves the choice to PyTorch.
    """
    from lawder_edge.cli.progress import progress
    from lawder_edge.synthesis.generator import generator_file, load_generator
    from lawder_edge.synthesis.mask_files import mask_source
    from lawder_edge.synthesis.sample import sample as draw
    from lawder_edge.synthesis.solver import Solver
    from lawder_edge.threads import limit_threads
    from lawder_edge.training.processes import is_first

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
                generator, source, out=out, n=n, seed=seed, solver=Solver(sampler, steps, guidance), batch=batch,
                resume=resume, overwrite=overwrite, on_done=report, cpu=cpu,
            )  # fmt: skip
        except KeyboardInterrupt:
            if is_first():
                print(f"{out}: what is drawn is kept; go on with --resume", file=sys.stderr)
            raise
    if is_first():
        pace = f", {result.seconds / result.made:.2f} s a picture here" if result.made else ""
        print(f"{out}: {result.there} synthetic pictures with masks{pace}")
        print(f"next: lawder-edge train --data REAL --synth {out}", file=sys.stderr)
    return 0


def score(
    synthetic: Annotated[Path, tyro.conf.Positional],
    data: Path,
    train: tuple[Path, ...] = (),
    held_out: tuple[Path, ...] = (),
    judge: str | None = None,
    keep: str | None = None,
    reject_memorised: bool = False,
    overwrite: bool = False,
    contact_sheet: Path | None = None,
    lesion_class: int = 1,
    features: Literal["lite0", "inception"] = "lite0",
    features_file: Path | None = None,
    seed: int = 0,
    format: Literal["table", "json"] = "table",
    threads: int = 0,
) -> int:
    """Measure synthetic pictures against real ones: distances, fidelity to the mask, and copies of training pictures.

    Example: lawder-edge synth score synthetic --data polyps --train train.txt --held-out test.txt --judge order

    What to train on: ... --train train.txt --held-out val.txt --judge order --keep 75% --reject-memorised

    Distances are made with features of EfficientNet-Lite0 and compare with each other alone. On the scale of published
    FID and KID: --features inception --features-file pt_inception-2015-12-05-6726825d.pth. All pictures are measured,
    kept or not.

    Args:
        synthetic: folder of `synth sample`.
        data: real pictures: dataset folder, or a folder of such folders.
        train: split files that the generator was trained on.
        held_out: split files of real pictures that it never saw.
        judge: segmenter (name, checkpoint or bundle) that finds the lesions in the pictures. It must not be one that
            was trained on these synthetic pictures or chose among them.
        keep: write SYNTHETIC/kept.json, whose pictures alone `train --synth` then takes: 75% for that share of the
            pictures, those of the highest mask Dice; 0.75 for those of that Dice or more. A judge that chose is none
            any more: fidelity that you report has to be of all pictures, or by another judge.
        reject_memorised: keep none that is flagged as memorised, in the same list.
        overwrite: replace an earlier kept.json.
        contact_sheet: PNG file to make: mask, picture and nearest training picture of the 4 nearest and of 8 others,
            evenly spread. It shows real patients' pictures.
        lesion_class: labels from this one on are lesion, where the generator drew for several classes: KiTS19's tumour
            is 2.
        features: network that pictures are compared by. inception is the one of FID, from a file of yours.
        features_file: its weights, of pytorch-fid's release; by default where pytorch-fid keeps them.
        seed: of the subsets that distances are averaged over.
        format: of the report.
        threads: of this process; 0 leaves the choice to the libraries.
    """
    from lawder_edge.cli.progress import progress
    from lawder_edge.data.kept import write_kept
    from lawder_edge.files import write_png
    from lawder_edge.loading import load_predictor
    from lawder_edge.synthesis.choose import choose, parse_keep
    from lawder_edge.synthesis.features import inception_features, lite0_features
    from lawder_edge.synthesis.score import score_pictures
    from lawder_edge.synthesis.score_files import read_for_choice, read_sets
    from lawder_edge.synthesis.sheet import neighbour_sheet, pick_neighbours
    from lawder_edge.threads import limit_threads
    from lawder_edge.training.pretrained import load_inception, load_lite0

    if features_file is not None and features != "inception":
        raise BadInput("--features-file is for --features inception; EfficientNet-Lite0 brings its own weights.")
    if contact_sheet is not None and (contact_sheet.exists() or not contact_sheet.parent.is_dir()):
        raise OutputExists(
            f"--contact-sheet {contact_sheet}: there is such a file already, or no folder for it. Name a new file in a "
            "folder that exists."
        )
    rule = None if keep is None else parse_keep(keep)
    if rule is not None and judge is None:
        raise BadInput("--keep goes by what a judge finds in the pictures: give --judge.")
    choosing = rule is not None or reject_memorised
    if overwrite and not choosing:
        raise BadInput(
            "--overwrite replaces kept.json, and nothing says by what: add --keep, --reject-memorised or both."
        )
    drawn = read_for_choice(synthetic, overwrite=overwrite) if choosing else None
    limit_threads(threads)
    network = lite0_features(load_lite0()) if features == "lite0" else inception_features(load_inception(features_file))
    predictor = None if judge is None else load_predictor(judge, threads=threads)
    with progress("reading") as report:
        sets = read_sets(
            synthetic, data=data, train=train, held_out=held_out, lesion_class=lesion_class, progress=report
        )
    with progress("scoring") as report:
        found = score_pictures(
            sets.synthetic, sets.train, sets.held, features=network, judge=predictor,
            lesion_class=lesion_class, seed=seed, progress=report,
        )  # fmt: skip
    if drawn is not None:
        kept = choose(found, drawn.rows, keep=rule, reject_memorised=reject_memorised)
        file = write_kept(synthetic, kept)
        print(f"{file}: {len(kept.names)} of {len(kept.pictures)} pictures kept ({kept.rule})", file=sys.stderr)
        print(f"next: lawder-edge train --data REAL --synth {synthetic}", file=sys.stderr)
    if contact_sheet is not None:
        picked = pick_neighbours(found.memorised.neighbours)
        write_png(contact_sheet, neighbour_sheet(picked, sets.synthetic, sets.train))
        print(f"{contact_sheet}: written; it shows training pictures, so keep it where they may be", file=sys.stderr)
    if format == "json":
        print(json.dumps(dataclasses.asdict(found), indent=1))
        return 0
    print(f"{found.synthetic} synthetic, {found.train} training and {found.held_out} held-out pictures")
    first = found.distances[0]
    floor, ours = first.floor, first.to_held
    frechet = "FID" if found.published else "Frechet"
    print(
        f"Features: {found.features}, {_SCALE[found.published]}. KID x 1000, mean and sd over random subsets of "
        f"{ours.subset} pictures ({floor.subset} for the floor). {frechet} of {first.frechet_n} pictures each "
        f"({first.frechet_train_n} for synthetic/train)."
    )
    print_table(
        (
            "view", "KID train/held (floor)", "KID synthetic/train", "KID synthetic/held",
            *(f"{frechet} {pair}" for pair in ("train/held (floor)", "synthetic/held", "synthetic/train")),
        ),
        [
            (
                d.view,
                *(f"{1000 * k.mean:.2f} ({1000 * k.sd:.2f})" for k in (d.floor, d.to_train, d.to_held)),
                *(f"{value:.2f}" for value in (d.frechet_floor, d.frechet_to_held, d.frechet_to_train)),
            )
            for d in found.distances
        ],
        right=(1, 2, 3, 4, 5, 6),
    )  # fmt: skip
    if found.fidelity is not None:
        fake, real = found.fidelity.synthetic, found.fidelity.held_out
        print(
            f"mask fidelity: Dice of {found.fidelity.judge} {fake.mean:.3f} [{fake.low:.3f}, {fake.high:.3f}] on "
            f"synthetic pictures, {real.mean:.3f} [{real.low:.3f}, {real.high:.3f}] on held-out ones"
        )
        low = ", ".join(f"{value:.3f}" for value in found.fidelity.quantiles((0.05, 0.25, 0.5, 0.75, 0.95)))
        print(f"  quantiles (5, 25, 50, 75, 95 %) over the synthetic pictures: {low}")
    m = found.memorised
    print(
        f"memorised: {len(m.flagged)} of {found.synthetic} nearer to a training picture than {m.threshold:.4f} (1 - "
        f"cosine; median {m.median:.4f}, of held-out pictures {m.held_out_median:.4f})"
    )
    for n in m.flagged[:10]:
        print(f"  {n.id} is {n.distance:.4f} from {n.train_id}, {n.pixel_rms:.0f} grey levels")
    return 0
