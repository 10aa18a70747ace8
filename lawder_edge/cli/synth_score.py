"""`lawder-edge synth score`"""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from lawder_edge.cli.tables import print_table
from lawder_edge.errors import BadInput, OutputExists

if TYPE_CHECKING:
    from lawder_edge.synthesis.score import QualityReport

# Of a score's distances, by whether their features are those of published ones.
_SCALE = {
    True: "those of published FID and KID, which compare at equal numbers and sizes of pictures and one reference",
    False: "whose distances compare with each other alone and with no published ones",
}


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

    if seed < 0:
        raise BadInput(f"--seed {seed}: wanted 0 or more.")
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
            synthetic, data=data, train=train, held_out=held_out, lesion_class=lesion_class,
            all_of_train=reject_memorised, progress=report,
        )  # fmt: skip
    for note in sets.notes:
        print(note, file=sys.stderr)
    with progress("scoring") as report:
        found = score_pictures(
            sets.synthetic, sets.train, sets.held, features=network, judge=predictor,
            lesion_class=lesion_class, held_groups=sets.held_groups, seed=seed, progress=report,
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
    print_report(found)
    return 0


def print_report(found: QualityReport) -> None:
    """To standard output, as text."""
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
        f"memorised: {len(m.flagged)} of {found.synthetic}, turned over or not: nearer to a training picture than "
        f"{m.threshold:.4f} (1 - cosine; median {m.median:.4f}, of held-out pictures {m.held_out_median:.4f}), or by "
        f"pixels at less than {m.pixel_threshold:.3f} of the distance to the 50 nearest"
    )
    for n in m.flagged[:10]:
        print(
            f"  {n.id} is {n.distance:.4f} from {n.train_id}, {n.pixel_rms:.0f} grey levels; by pixels "
            f"{n.pixel_ratio:.3f} from {n.pixel_train_id}"
        )
