"""What corrupted frames cost artifacts, whether int8 loses more than fp32, and how well probabilities are calibrated.

    python benchmarks/robustness.py --data DIR --split test.txt --limit 25 --reference build/order/onnx \
        --model build/order/onnx-int8 build/order/tflite-int8 --out benchmarks/results/robustness

Writes OUT.md, OUT.json (Dice of every image), OUT_reliability.svg and OUT_threshold.svg (Dice by threshold). Frames are
shrunk to --side first. --sheet FILE draws every corruption on a phantom frame.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from pathlib import Path

import numpy as np

from lawder_edge.bench.svg import COLOURS, Axis, Line, legend, plot
from lawder_edge.bundle.processing import resize
from lawder_edge.data.phantom import make_frame
from lawder_edge.errors import LawderError
from lawder_edge.evaluation.calibration import Calibration, calibrate
from lawder_edge.evaluation.corruptions import CORRUPTIONS, SEVERITIES, corrupt
from lawder_edge.evaluation.evaluate import EvalPair
from lawder_edge.evaluation.robustness import CLEAN, Robustness, robustness
from lawder_edge.exporting.images import images_of
from lawder_edge.files import write_png
from lawder_edge.loading import load_predictor


def shrunk(pair: EvalPair, side: int) -> EvalPair:
    """The pair with its longer side at most `side` pixels."""
    height, width = pair.labels.shape
    scale = side / max(height, width)
    if scale >= 1:
        return pair
    size = (max(1, round(height * scale)), max(1, round(width * scale)))
    labels = (resize((pair.labels != 0).astype(np.uint8) * 255, size) > 127).astype(np.uint8)
    return dataclasses.replace(pair, frame=resize(pair.frame, size), labels=labels)


def sheet(frame: np.ndarray) -> np.ndarray:
    """A row of five severities for each corruption."""
    rows = [
        np.concatenate([corrupt(frame, kind, severity, np.random.default_rng(i)) for severity in SEVERITIES], axis=1)
        for i, kind in enumerate(CORRUPTIONS)
    ]
    return np.concatenate(rows)


def markdown(found: Robustness, reference: str, others: list[str], calibrations: dict[str, Calibration]) -> str:
    """Dice, what int8 loses beyond the reference, calibration."""
    names = [reference, *others]
    lines = [
        "| corruption | " + " | ".join(f"{name}: severity 1, 3, 5" for name in names) + " |",
        "|---" * (len(names) + 1) + "|",
    ]

    def mean(name: str, kind: str, severity: int) -> str:
        return f"{np.mean(found.of(name, kind, severity).dice):.3f}"

    lines.append(f"| clean | {' | '.join(mean(name, CLEAN, 0) for name in names)} |")
    for kind in CORRUPTIONS:
        cells = [", ".join(mean(name, kind, s) for s in (1, 3, 5)) for name in names]
        lines.append(f"| {kind} | {' | '.join(cells)} |")
    lines += ["", f"Dice lost beyond what {reference} loses, mean [95 %], by severity:", ""]
    lines += ["| corruption | artifact | " + " | ".join(map(str, SEVERITIES)) + " |", "|---" * 7 + "|"]
    for kind in CORRUPTIONS:
        for name in others:
            beyond = [found.drop_beyond(name, reference, kind, s) for s in SEVERITIES]
            row = " | ".join(f"{b.mean:+.3f} [{b.low:+.3f}, {b.high:+.3f}]" for b in beyond)
            lines.append(f"| {kind} | {name} | {row} |")
    lines += ["", "| artifact | calibration error (ECE) | best threshold, Dice | Dice at 0.5 |", "|---|---|---|---|"]
    for name, c in calibrations.items():
        best = max(c.thresholds, key=lambda t: t[1])
        half = dict(c.thresholds)[0.5]
        lines.append(f"| {name} | {c.ece:.4f} | {best[0]:.2f}, {best[1]:.3f} | {half:.3f} |")
    return "\n".join(lines) + "\n"


def charts(calibrations: dict[str, Calibration]) -> tuple[str, str]:
    """Reliability diagram and threshold curve."""
    reliability = [Line("ideal", ((0, 0), (1, 1)), "#999", dashed=True)]
    curves, names = [], []
    for i, (name, c) in enumerate(calibrations.items()):
        colour = COLOURS[i]
        filled = [
            (b.probability, b.foreground) for b in c.bins if b.probability is not None and b.foreground is not None
        ]
        reliability.append(Line(name, tuple(filled), colour))
        curves.append(Line(name, c.thresholds, colour))
        names.append((name, colour))
    unit = Axis("probability", 0, 1)
    return (
        plot(unit, Axis("share of foreground", 0, 1), lines=reliability, title="Reliability") + legend(names),
        plot(Axis("threshold", 0, 1), Axis("Dice", 0, 1), lines=curves, title="Dice by threshold") + legend(names),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--split", type=Path)
    parser.add_argument(
        "--limit", type=int, default=25, help="images, picked from the split as export and verify pick theirs"
    )
    parser.add_argument("--side", type=int, default=384, help="longer side of frames in pixels")
    parser.add_argument("--reference", help="model or bundle that others are held against")
    parser.add_argument("--model", nargs="*", default=[], help="models or bundles")
    parser.add_argument("--out", type=Path, help="name of the results, without a suffix")
    parser.add_argument("--sheet", type=Path, help="PNG of all corruptions to draw")
    args = parser.parse_args()
    if args.sheet is not None:
        write_png(args.sheet, sheet(make_frame(np.random.default_rng(0), size=(160, 200)).image))
    if args.reference is None:
        return
    if args.out is None:
        parser.error("--reference wants --out, the name of the results without a suffix")
    sources = (args.reference, *args.model)
    if len({Path(source).name for source in sources}) < len(sources):
        parser.error("two of --reference and --model have one name; rename a folder, as results go by its name")
    images = images_of(args.data, [args.split] if args.split else [], limit=args.limit)
    pairs = [shrunk(pair, args.side) for pair in images.read()]
    runners = {Path(source).name: load_predictor(source, threads=1).runner for source in sources}
    reference, *others = runners
    calibrations = {
        name: calibrate((runner.predict(pair.frame), pair.labels) for pair in pairs) for name, runner in runners.items()
    }

    def tell(done: int, total: int) -> None:
        if done % 100 == 0 or done == total:
            print(f"{done}/{total}", file=sys.stderr, flush=True)

    found = robustness(
        {name: runner.predict_mask for name, runner in runners.items()}, pairs, total=len(pairs), progress=tell
    )
    args.out.parent.mkdir(parents=True, exist_ok=True)
    text = markdown(found, reference, others, calibrations)
    args.out.with_suffix(".md").write_text(text)
    results = {
        "robustness": dataclasses.asdict(found),
        "calibration": {name: dataclasses.asdict(c) for name, c in calibrations.items()},
    }
    args.out.with_suffix(".json").write_text(json.dumps(results) + "\n")
    for suffix, chart in zip(("reliability.svg", "threshold.svg"), charts(calibrations), strict=True):
        # A file is one element: the legend of a page stays out.
        args.out.with_name(f"{args.out.name}_{suffix}").write_text(chart[: chart.index("</svg>") + 6] + "\n")
    print(text)


if __name__ == "__main__":
    try:
        main()
    except (LawderError, OSError) as error:
        sys.exit(f"error: {error}")
