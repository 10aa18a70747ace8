"""The table of trained networks on the two usual test lists, with paired differences.

    python benchmarks/polyps.py --data DIR --out benchmarks/results

Reads benchmarks/weights/*.safetensors and the bundled ORDER; writes polyps.md and polyps.json.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from lawder_edge.evaluation.evaluate import EvalReport, Summary, evaluate
from lawder_edge.evaluation.folder import listed_samples, read_pairs
from lawder_edge.evaluation.report import to_json
from lawder_edge.evaluation.tables import interval
from lawder_edge.intervals import bootstrap_difference
from lawder_edge.loading import load_predictor
from lawder_edge.models import MODELS
from lawder_edge.training.checkpoint import read_weights
from lawder_edge.weights import bundled_weights

HERE = Path(__file__).parent
LISTS = {"Kvasir-100": "pranet_test_kvasir_100.txt", "ClinicDB-62 (leaky)": "pranet_test_clinicdb_62.txt"}
REFERENCE = "order"


def row(name: str, listed: str, summary: Summary) -> str:
    small = f"{interval(summary.small.dice)} n={summary.small.n}" if summary.small else "-"
    cells = (name, f"{MODELS[name].params:,}", listed, *(interval(getattr(summary, m)) for m in METRICS), small)
    return "| " + " | ".join(cells) + " |"


METRICS = ("dice", "iou", "mean_iou", "surface_dice")
HEADER = (
    "| network | params | list | Dice | IoU | 2-class mIoU | surface Dice 2 px | Dice, polyps < 2 % |\n"
    "|---|---|---|---|---|---|---|---|"
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with the datasets and splits/")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=0)
    args = parser.parse_args()

    weights = {p.stem: p for p in sorted((HERE / "weights").glob("*.safetensors"))}
    carried = bundled_weights(REFERENCE)
    if carried is not None:
        weights = {REFERENCE: carried, **weights}
    reports: dict[str, dict[str, EvalReport]] = {}
    for listed, file in LISTS.items():
        pairs = list(read_pairs(listed_samples(args.data, [args.data / "splits" / file])))
        reports[listed] = {}
        for name, path in weights.items():
            predictor = load_predictor(str(path), threads=args.threads)
            reports[listed][name] = evaluate(
                predictor.runner.predict, pairs, threshold=predictor.threshold, trained_on=predictor.trained_on
            )
    lines = [HEADER]
    lines += [row(name, listed, r.overall) for listed, found in reports.items() for name, r in found.items()]
    lines += ["", "Dice of ORDER less that of the other, image by image:", ""]
    lines += ["| list | against | difference |", "|---|---|---|"]
    for listed, found in reports.items():
        ours = found[REFERENCE].scores
        for name in (n for n in found if n != REFERENCE):
            gap = bootstrap_difference(
                [s.dice for s in ours], [s.dice for s in found[name].scores], groups=[s.group for s in ours]
            )
            lines.append(f"| {listed} | {name} | {gap.mean:+.4f} [{gap.low:+.4f}, {gap.high:+.4f}] |")
    lines += ["", *(f"{listed}: {found[REFERENCE].overlap.note}" for listed, found in reports.items()), ""]
    for name, path in weights.items():
        record = read_weights(path)[1]
        recipe = json.loads(record.recipe)
        lines.append(f"- {name}: {recipe['schedule']}, seed {recipe['seed']}, threshold {record.threshold:g}")
    (args.out / "polyps.md").write_text("\n".join(lines) + "\n")
    values = {listed: {n: to_json(r, per_image=True) for n, r in found.items()} for listed, found in reports.items()}
    (args.out / "polyps.json").write_text(json.dumps(values, indent=1) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
