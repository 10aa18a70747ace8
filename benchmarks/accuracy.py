"""The accuracy report: trained networks on the lists that each may be tested on, and on images with nothing to find.

    python benchmarks/accuracy.py --data DIR --out benchmarks/results --sheets ~/worst

Writes accuracy.md, accuracy.json and accuracy.svg. DIR holds kvasir-seg/, cvc-clinicdb/ and splits/. What stands in
accuracy.md below "## What it says" is kept. --sheets draws the worst cases of each list; they show patients' images and
may not lie in the repository. Networks without weights are named as such.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from lawder_edge.bench.stages import split_file
from lawder_edge.bench.svg import COLOURS, Axis, Line, panels, plot
from lawder_edge.cli.progress import progress
from lawder_edge.data.clear import MIN_SHARE
from lawder_edge.data.datasets import listed_samples, pick_evenly, read_split
from lawder_edge.errors import LawderError
from lawder_edge.evaluation.comparison import (
    ListReport,
    NetworkReport,
    dice_by_size,
    kept_words,
    markdown,
    to_values,
)
from lawder_edge.evaluation.evaluate import EvalPair, EvalReport, evaluate, report_of
from lawder_edge.evaluation.folder import read_pairs
from lawder_edge.evaluation.negatives import clear_crops, clear_phantoms
from lawder_edge.evaluation.sheet import cases_of, contact_sheet, pick_cases
from lawder_edge.files import write_file, write_png
from lawder_edge.loading import Predictor, load_predictor
from lawder_edge.models import MODELS
from lawder_edge.training.record import WeightsRecord, read_header, read_record
from lawder_edge.weights import BUNDLED, load_model

HERE = Path(__file__).resolve().parent
PHANTOMS = 100
WORST = 8


@dataclass(frozen=True)
class Part:
    """Some of a list's images: those of a split file."""

    name: str
    about: str
    split: str


@dataclass(frozen=True)
class ImageList:
    """splits: files in benchmarks/splits, or else in DIR/splits."""

    name: str
    about: str
    splits: tuple[str, ...]
    parts: tuple[Part, ...] = ()


@dataclass(frozen=True)
class Network:
    """file: weights; they need not be there yet. lists: names of the lists that its training allows."""

    name: str
    about: str
    file: Path
    lists: tuple[str, ...]


FIRST_HALF = Part(
    "ClinicDB after Kvasir, sequences 1 to 15",
    "The half on which recipes for unseen hospitals are chosen.",
    "clinicdb_sequences_01_15.txt",
)
SECOND_HALF = Part(
    "ClinicDB after Kvasir, sequences 16 to 29",
    "The half that nothing is chosen on. Halves are runs of sequences, as neighbours may be of one patient.",
    "clinicdb_sequences_16_29.txt",
)
LISTS = (
    ImageList(
        "Kvasir-100",
        "The usual 100 test images of Kvasir-SEG, by weights trained on the usual 900 + 550 images.",
        ("pranet_test_kvasir_100.txt",),
    ),
    ImageList(
        "ClinicDB-62 (leaky)",
        "The usual 62 test images of CVC-ClinicDB, whose sequences the usual training images hold too: how well known "
        "scenes are recognised, not how well new patients are.",
        ("pranet_test_clinicdb_62.txt",),
    ),
    ImageList(
        "ClinicDB by sequence",
        "Sequences of CVC-ClinicDB of which no frame was trained on, by weights trained on its other sequences and on "
        "Kvasir-SEG.",
        ("clinicdb_by_sequence_test.txt",),
    ),
    ImageList(
        "ClinicDB after Kvasir",
        "Another hospital: all of CVC-ClinicDB, by weights trained on Kvasir-SEG alone.",
        (FIRST_HALF.split, SECOND_HALF.split),
        (FIRST_HALF, SECOND_HALF),
    ),
    ImageList(
        "Kvasir after ClinicDB",
        "Another hospital: all of Kvasir-SEG, by weights trained on CVC-ClinicDB alone, 612 frames of 29 sequences.",
        ("pranet_train_kvasir_900.txt", "pranet_test_kvasir_100.txt"),
    ),
)
USUAL, BY_SEQUENCE, AFTER_KVASIR = (LISTS[0].name, LISTS[1].name), (LISTS[2].name,), (LISTS[3].name,)
AFTER_CLINICDB = (LISTS[4].name,)
WEIGHTS = HERE / "weights"
# The first of a list is the one that the others are held against.
NETWORKS = (
    Network("order", "ORDER as the package carries it", BUNDLED / "order.safetensors", USUAL),
    Network("order_int8", "the same in int8, in PyTorch", BUNDLED / "order_int8.safetensors", USUAL),
    Network("order_equal", "ORDER by the recipe of the three below", WEIGHTS / "order_equal.safetensors", USUAL),
    Network("mk_unet_wide", "MK-UNet of 40,340 parameters", WEIGHTS / "mk_unet_wide.safetensors", USUAL),
    Network("mk_unet_t", "MK-UNet-T", WEIGHTS / "mk_unet_t.safetensors", USUAL),
    Network("unet", "a small plain U-Net", WEIGHTS / "unet.safetensors", USUAL),
    Network("order_seqsplit", "ORDER without the test sequences", WEIGHTS / "order_seqsplit.safetensors", BY_SEQUENCE),
    Network("order_kvasir", "ORDER on Kvasir-SEG alone", WEIGHTS / "order_kvasir.safetensors", AFTER_KVASIR),
    Network("order_clinicdb", "ORDER on CVC-ClinicDB alone", WEIGHTS / "order_clinicdb.safetensors", AFTER_CLINICDB),
)
CHARTED = (LISTS[0].name, SECOND_HALF.name)


@dataclass(frozen=True)
class Loaded:
    """A network with its weights. sha256: fingerprint of them."""

    network: Network
    predictor: Predictor
    record: WeightsRecord
    sha256: str

    def report(self, pairs: Iterable[EvalPair], *, total: int, label: str) -> EvalReport:
        """What it scores on `pairs`."""
        with progress(f"{self.network.name} on {label}") as tell:
            return evaluate(
                self.predictor.runner.predict,
                pairs,
                threshold=self.predictor.threshold,
                trained_on=self.predictor.trained_on,
                progress=tell,
                total=total,
            )

    def part(self, report: EvalReport, ids: frozenset[str]) -> EvalReport | None:
        """The report of those images alone; None where there are none."""
        scores = [s for s in report.scores if s.id in ids]
        if not scores:
            return None
        return report_of(scores, threshold=report.threshold, trained_on=self.predictor.trained_on)


def load(network: Network, *, threads: int) -> Loaded:
    """Raises BadCheckpoint."""
    path = str(network.file)
    predictor = load_predictor(path, threads=threads)
    return Loaded(network, predictor, read_record(network.file, read_header(network.file)), load_model(path).sha256)


def listed(
    spec: ImageList, loaded: Sequence[Loaded], *, data: Path, limit: int, sheets: Path | None
) -> list[ListReport]:
    """A list and its parts, and the crops of its images with nothing to find in them."""
    meant = [n.name for n in NETWORKS if spec.name in n.lists]
    able = [found for found in loaded if found.network.name in meant]
    missing = tuple(name for name in meant if name not in {found.network.name for found in able})
    if not able:
        return [ListReport(spec.name, spec.about, (), missing)]
    samples = pick_evenly(listed_samples(data, [split_file(name, home=HERE, data=data) for name in spec.splits]), limit)
    clear = [s for s in samples if next(clear_crops(read_pairs([s])), None) is not None]
    parts = [(part, frozenset(read_split(split_file(part.split, home=HERE, data=data)))) for part in spec.parts]
    whole = [(found, found.report(read_pairs(samples), total=len(samples), label=spec.name)) for found in able]
    reports = lists_of(spec, whole, missing, parts=parts)
    if sheets is not None:
        draw_worst(sheets, spec.name, *whole[0], read_pairs(samples))
    if not clear:
        return reports
    about = (
        f"{len(clear)} of {len(samples)} images have a window beside their polyp of {MIN_SHARE * 100:g} % of the frame "
        "or more; the largest of each, black borders with it."
    )
    crops = ImageList(f"{spec.name}, crops", about, ())
    claimed = [
        (found, found.report(clear_crops(read_pairs(clear)), total=len(clear), label=crops.name)) for found in able
    ]
    if sheets is not None:
        draw_worst(sheets, crops.name, *claimed[0], clear_crops(read_pairs(clear)))
    of_crops = [
        (
            dataclasses.replace(
                part,
                name=f"{part.name}, crops",
                about=f"{sum(s.id in ids for s in clear)} of {sum(s.id in ids for s in samples)} images. {part.about}",
            ),
            ids,
        )
        for part, ids in parts
    ]
    return reports + lists_of(crops, claimed, missing, parts=of_crops)


def lists_of(
    spec: ImageList,
    whole: Sequence[tuple[Loaded, EvalReport]],
    missing: tuple[str, ...],
    *,
    parts: Sequence[tuple[Part, frozenset[str]]] = (),
) -> list[ListReport]:
    """The list, and its parts of which there are images."""

    def network(found: Loaded, report: EvalReport) -> NetworkReport:
        return NetworkReport(found.network.name, MODELS[found.record.model].params, report)

    reports = [ListReport(spec.name, spec.about, tuple(network(*one) for one in whole), missing)]
    for part, ids in parts:
        some = [(found, found.part(report, ids)) for found, report in whole]
        networks = tuple(network(found, report) for found, report in some if report is not None)
        if networks:
            reports.append(ListReport(part.name, part.about, networks, missing, part=True))
    return reports


def phantoms(loaded: Sequence[Loaded], *, count: int) -> ListReport:
    """Every network on procedural frames without a polyp."""
    about = (
        "procedural frames without a polyp. No patient's, so they say how a network behaves far from what it learnt."
    )
    reports = [(found, found.report(clear_phantoms(count), total=count, label="phantoms")) for found in loaded]
    return lists_of(ImageList("phantoms", about, ()), reports, ())[0]


def draw_worst(folder: Path, name: str, found: Loaded, report: EvalReport, pairs: Iterable[EvalPair]) -> None:
    """The worst cases of a list by its first network."""
    predict = found.predictor.runner.predict
    picks = pick_cases(report.scores, worst=WORST, median=0, best=0)
    stem = re.sub(r"[^a-z0-9]+", "_", name.lower())
    file = folder / f"{stem}_{found.network.name}.png"
    write_png(file, contact_sheet(cases_of(picks, pairs, predict, threshold=report.threshold)))
    print(f"{file}: the worst {len(picks)} of {name}", file=sys.stderr)


def drawn(lists: Sequence[ListReport]) -> str | None:
    """Dice of every image in order, and Dice by size, of the charted lists; None where none of them is measured."""
    names = [n.name for n in NETWORKS]
    charts: list[str] = []
    shown: list[tuple[str, str]] = []
    # A line needs two images.
    for found in (f for f in lists if f.name in CHARTED and f.networks and len(f.networks[0].report.scores) > 1):
        ordered, sizes = [], []
        for n in found.networks:
            colour = COLOURS[names.index(n.name)]
            shown.append((n.name, colour))
            dices = sorted(s.dice for s in n.report.scores)
            ordered.append(Line(n.name, tuple(((i + 0.5) / len(dices), d) for i, d in enumerate(dices)), colour))
            bins = [(b.mean_area * 100, b.dice.mean) for b in dice_by_size(n.report.scores) if b.mean_area and b.dice]
            if len(bins) > 1:
                sizes.append(Line(n.name, tuple(bins), colour))
        dice = Axis("Dice", 0, 1)
        from_worst = Axis(f"{found.name}: share of the images, the worst first", 0, 1)
        by_size = Axis(f"{found.name}: polyp, % of the frame", 0.5, 100, log=True)
        charts += [
            plot(from_worst, dice, lines=ordered, title=f"Dice of each image of {found.name}"),
            plot(by_size, dice, lines=sizes, title=f"Mean Dice by polyp size on {found.name}"),
        ]
    return panels(charts, names=list(dict.fromkeys(shown)), title="Dice by image and by polyp size") if charts else None


def document(lists: Sequence[ListReport], loaded: Sequence[Loaded], *, limit: int, charted: bool, words: str) -> str:
    """accuracy.md."""
    lines = [
        "# Accuracy",
        "",
        "`python benchmarks/accuracy.py --data DIR --out benchmarks/results`, per image at the image's own size, mean "
        "[95 % bootstrap interval, whole sequences drawn together where they are known].",
        "",
    ]
    if limit:
        lines += [f"**A trial on at most {limit} images a list (`--limit {limit}`), no result.**", ""]
    if charted:
        lines += ["![Dice of each image, and Dice by polyp size, by network](accuracy.svg)", ""]
    lines += [markdown(lists), "## Networks", ""]
    have = {found.network.name: found for found in loaded}
    for network in NETWORKS:
        if network.name not in have:
            lines.append(f"- {network.name}: {network.about}. No weights yet (`{network.file.name}`).")
            continue
        found = have[network.name]
        recipe = json.loads(found.record.recipe)
        lines.append(
            f"- {network.name}: {network.about}. {len(found.record.train_ids)} training images, passes "
            f"{recipe.get('schedule', 'not recorded')}, seed {recipe.get('seed', 'not recorded')}, threshold "
            f"{found.record.threshold:g}, weights `{found.sha256[:16]}`."
        )
    return "\n".join(lines) + "\n" + words


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with the datasets and splits/")
    parser.add_argument("--out", type=Path, required=True, help="folder of the results, which are replaced")
    parser.add_argument("--limit", type=int, default=0, help="images of each list, for a trial; 0 for all")
    parser.add_argument("--sheets", type=Path, help="folder, outside the repository, for the worst cases of each list")
    parser.add_argument("--threads", type=int, default=0, help="of PyTorch; 0 leaves it the choice")
    args = parser.parse_args(argv)
    if args.limit < 0:
        parser.error(f"--limit {args.limit}: wanted how many images of each list, or 0 for all")
    if args.sheets is not None:
        if args.sheets.resolve().is_relative_to(HERE.parent):
            parser.error(f"--sheets {args.sheets}: shows patients' images; name a folder outside {HERE.parent}")
        args.sheets.mkdir(parents=True, exist_ok=True)
    args.out.mkdir(parents=True, exist_ok=True)
    for file in sorted(set(WEIGHTS.glob("*.safetensors")) - {n.file for n in NETWORKS}):
        print(f"{file.name} stands in no row of NETWORKS and is left out", file=sys.stderr)
    try:
        loaded = [load(network, threads=args.threads) for network in NETWORKS if network.file.is_file()]
        lists = [r for s in LISTS for r in listed(s, loaded, data=args.data, limit=args.limit, sheets=args.sheets)]
        lists.append(phantoms(loaded, count=min(PHANTOMS, args.limit or PHANTOMS)))
    except LawderError as error:
        sys.exit(f"error: {error}")
    chart = drawn(lists)
    file = args.out / "accuracy.md"
    words = kept_words(file.read_text()) if file.is_file() else ""
    text = document(lists, loaded, limit=args.limit, charted=chart is not None, words=words)
    values = {"limit": args.limit, "lists": to_values(lists)}
    write_file(file, text.encode())
    write_file(args.out / "accuracy.json", (json.dumps(values, allow_nan=False) + "\n").encode())
    if chart is not None:
        write_file(args.out / "accuracy.svg", (chart + "\n").encode())
    print(text)


if __name__ == "__main__":
    main()
