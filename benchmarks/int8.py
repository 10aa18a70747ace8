"""What quantisation costs: Dice of int8 networks, in PyTorch, against the float network that they came from.

    lawder-edge quantize --model order --data DIR --split TRAIN --out runs/ptq
    python benchmarks/int8.py --data DIR --float order --int8 order_int8 runs/ptq/best.safetensors --out int8.md

A polyp is lost where Dice falls from above 0.5 to below 0.1.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from lawder_edge.data.datasets import listed_samples
from lawder_edge.evaluation.evaluate import EvalReport, evaluate
from lawder_edge.evaluation.folder import read_pairs
from lawder_edge.evaluation.tables import interval
from lawder_edge.intervals import bootstrap_difference
from lawder_edge.loading import load_predictor

LISTS = {"Kvasir-100": "pranet_test_kvasir_100.txt", "ClinicDB-62 (leaky)": "pranet_test_clinicdb_62.txt"}
HEADER = "| list | network | Dice | float less int8 | polyps lost |\n|---|---|---|---|---|"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with the datasets and splits/")
    parser.add_argument("--float", dest="reference", required=True, help="model name or checkpoint")
    parser.add_argument("--int8", nargs="+", required=True, help="quantised checkpoints")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=0)
    args = parser.parse_args()
    lines = [HEADER]
    for listed, file in LISTS.items():
        pairs = list(read_pairs(listed_samples(args.data, [args.data / "splits" / file])))
        reports: dict[str, EvalReport] = {}
        for name in (args.reference, *args.int8):
            predictor = load_predictor(name, threads=args.threads)
            reports[name] = evaluate(predictor.runner.predict, pairs, threshold=predictor.threshold)
        before = reports[args.reference].scores
        for name, report in reports.items():
            gap = bootstrap_difference(
                [s.dice for s in before], [s.dice for s in report.scores], groups=[s.group for s in before]
            )
            lost = sum(a.dice > 0.5 and b.dice < 0.1 for a, b in zip(before, report.scores, strict=True))
            told = "-" if name == args.reference else f"{gap.mean:+.4f} [{gap.low:+.4f}, {gap.high:+.4f}] | {lost}"
            lines.append(f"| {listed} | {name} | {interval(report.overall.dice)} | {told} |")
    text = "\n".join(lines).replace("| - |", "| - | - |") + "\n"
    args.out.write_text(text)
    print(text, end="")


if __name__ == "__main__":
    main()
