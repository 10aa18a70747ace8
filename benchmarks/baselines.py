"""Other networks, and the usual way to export, on the same work as lawder-edge's artifacts.

    python benchmarks/baselines.py --work build/baselines --out benchmarks/results/bench
    python benchmarks/baselines.py --work build/baselines --out bench --data DIR --split test.txt

Makes what benchmarks/suites/baselines.toml lists below --work, measures it with `lawder_edge.bench`, and writes
OUT.json, .csv, .md, .html and .svg (Dice against latency). With --data every row's Dice is that of its masks on those
images; without, certificates are made of phantom frames.

nnU-Net's network is PlainConvUNet of dynamic-network-architectures, as its planner sets it up for 256x256: six
halvings, 32 to 512 channels, two convolutions a stage. That package names timm, which this does not need:
pip install --no-deps dynamic-network-architectures.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib.util
import subprocess
import sys
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lawder_edge.bench.rows import Artifact, BenchSpec, Row
from lawder_edge.bundle.runner import Runner
from lawder_edge.errors import BadInput, Unavailable

if TYPE_CHECKING:
    from torch import nn

    from lawder_edge.bench.worker import Subject

HERE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class SuiteRow:
    """A row of the suite; see benchmarks/suites/baselines.toml."""

    name: str
    model: str
    how: str
    precision: str = "fp32"
    weights: str = ""

    def weights_or_name(self) -> str:
        return str(HERE / self.weights) if self.weights else self.model


def nnunet() -> nn.Module:
    """nnU-Net's 2D network at 256x256: (B, 3, H, W) -> (B, 1, H, W)."""
    if importlib.util.find_spec("dynamic_network_architectures") is None:
        raise Unavailable("needs dynamic-network-architectures: pip install --no-deps dynamic-network-architectures")
    from dynamic_network_architectures.architectures.unet import PlainConvUNet
    from torch import nn

    network: nn.Module = PlainConvUNet(
        input_channels=3, n_stages=7, features_per_stage=(32, 64, 128, 256, 512, 512, 512), conv_op=nn.Conv2d,
        kernel_sizes=3, strides=(1, 2, 2, 2, 2, 2, 2), n_conv_per_stage=2, num_classes=1, n_conv_per_stage_decoder=2,
        conv_bias=True, norm_op=nn.InstanceNorm2d, norm_op_kwargs={"eps": 1e-5, "affine": True},
        nonlin=nn.LeakyReLU, nonlin_kwargs={"inplace": True},
    )  # fmt: skip
    return network.eval()


def module_of(row: SuiteRow) -> nn.Module:
    """The plain module, as it was trained where it was."""
    from lawder_edge.models import create_model
    from lawder_edge.weights import bundled_weights, load_model

    if row.model == "nnunet":
        return nnunet()
    if row.weights or bundled_weights(row.model):
        return load_model(row.weights_or_name()).module
    return create_model(row.model).eval()


def export_usual(row: SuiteRow, out: Path, size: tuple[int, int]) -> None:
    """What a reader of PyTorch's page on ONNX does."""
    import torch

    torch.onnx.export(
        module_of(row), (torch.zeros(1, 3, *size),), out, dynamo=True, input_names=["image"], output_names=["logits"],
        external_data=False, verbose=False,
    )  # fmt: skip


def make(row: SuiteRow, work: Path, size: tuple[int, int], data: list[str]) -> str:
    """Make one row's file, unless it is there. Returns: the row's source for the bench."""
    if row.how == "pytorch":
        return row.weights_or_name()
    out = work / (f"{row.name}.onnx" if row.how == "usual" else row.name)
    if out.exists():
        return str(out)
    print(f"exporting {row.name}", file=sys.stderr, flush=True)
    if row.how == "usual":
        partial = out.with_suffix(".partial")
        export_usual(row, partial, size)
        partial.rename(out)
        return str(out)
    command = [
        sys.executable, "-m", "lawder_edge", "export", "--model", row.weights_or_name(), "--target", row.how,
        "--precision", row.precision, "--size", str(size[0]), str(size[1]), "--out", str(out), *data,
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    # 4: no engine can be built here, and the row of its bundle says so.
    if done.returncode not in (0, 4):
        raise BadInput(f"{row.name}: {done.stderr.strip().splitlines()[-1]}")
    return str(out)


class UsualRunner(Runner):
    """A plain ONNX file in a default session but for the number of threads."""

    def __init__(self, path: Path, threads: int) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self._session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        shape = self._session.get_inputs()[0].shape
        super().__init__(size=(shape[2], shape[3]))

    def infer(self, tensor: np.ndarray) -> np.ndarray:
        output: np.ndarray = self._session.run(None, {"image": tensor})[0]
        return output


def load_baseline(source: str, threads: int) -> Subject:
    """As the bench's own loader, and ONNX files beside."""
    import hashlib

    from lawder_edge.bench.worker import Subject, load_subject
    from lawder_edge.versions import installed_version

    path = Path(source)
    if path.suffix != ".onnx":
        return load_subject(source, threads)
    runner = UsualRunner(path, threads)
    data = path.read_bytes()
    artifact = Artifact(
        runtime=f"onnxruntime {installed_version('onnxruntime')}",
        model=path.stem.removesuffix("-usual"),
        precision="fp32",
        file=path.name,
        sha256=hashlib.sha256(data).hexdigest(),
        size_bytes=len(data),
    )
    return Subject(runner, lambda: artifact)


def counted(row: Row, made: SuiteRow) -> Row:
    """With what its network costs, where the bench does not know that by the network's name."""
    m = row.measured
    if m is None or m.static is not None:
        return row
    from lawder_edge.bench.flops import count

    cost = count(module_of(made), m.size, channels=m.channels)
    return dataclasses.replace(row, measured=dataclasses.replace(m, static=cost.static))


def dice_of(rows: dict[str, SuiteRow], data: Path, split: Path, limit: int) -> dict[str, float]:
    """Mean Dice of each row's masks, by source, of those with trained weights. limit: evenly picked images."""
    from lawder_edge.data.datasets import listed_samples
    from lawder_edge.evaluation.evaluate import evaluate
    from lawder_edge.evaluation.folder import read_pairs
    from lawder_edge.loading import load_predictor
    from lawder_edge.weights import bundled_weights

    samples = listed_samples(data, [split])
    # As `lawder-edge export --limit` picks them, so that certificates are of the same images.
    picked = [samples[i * len(samples) // limit] for i in range(limit)] if len(samples) > limit else samples
    pairs = list(read_pairs(picked, classes=1))
    found: dict[str, float] = {}
    for source, row in rows.items():
        if not row.weights and not bundled_weights(row.model):
            continue
        print(f"masks of {row.name}", file=sys.stderr, flush=True)
        try:
            # The usual export's masks are those of PyTorch, which the artifact's certificate compares.
            predictor = load_predictor(row.weights_or_name() if row.how == "usual" else source, threads=1)
        except Unavailable:
            continue
        report = evaluate(predictor.runner.predict, pairs, threshold=predictor.threshold)
        found[source] = report.overall.dice.mean
    return found


def main(tell: Callable[[str], None] = print) -> None:
    """Make, measure, write."""
    from lawder_edge.bench import charts, page, report
    from lawder_edge.bench.latency import LatencyRule
    from lawder_edge.bench.run import bench

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--suite", type=Path, default=HERE / "suites" / "baselines.toml")
    parser.add_argument("--work", type=Path, required=True, help="folder for the exported files, kept")
    parser.add_argument("--out", type=Path, required=True, help="name of the results, without a suffix")
    parser.add_argument("--data", type=Path, help="folder with images and masks for the Dice of each row")
    parser.add_argument("--split", type=Path, help="file with one folder/stem a line")
    parser.add_argument("--limit", type=int, default=25, help="images, evenly picked from the split")
    args = parser.parse_args()
    suite = tomllib.loads(args.suite.read_text())
    size = (suite["size"][0], suite["size"][1])
    args.work.mkdir(parents=True, exist_ok=True)
    data = [] if args.data is None else ["--data", str(args.data), "--limit", str(args.limit)]
    data += ["--split", str(args.split)] if args.split is not None else []
    rows: dict[str, SuiteRow] = {}
    for row in (SuiteRow(**r) for r in suite["row"]):
        try:
            rows[make(row, args.work, size, data)] = row
        except Unavailable as error:
            tell(f"left out {row.name}: {error}")
    rule = LatencyRule(min_iters=suite["min_iters"], min_time_s=suite["min_time_s"], turns=suite["turns"])
    spec = BenchSpec(size=None, threads=suite["threads"], rule=rule)
    dice = {} if args.data is None else dice_of(rows, args.data, args.split, args.limit)
    found = bench(
        list(rows), spec, worker=(sys.executable, str(Path(__file__).resolve()), "--worker"),
        on_step=lambda done, steps, text: print(f"{done}/{steps} {text}", file=sys.stderr, flush=True),
    )  # fmt: skip
    found = dataclasses.replace(found, rows=tuple(counted(row, rows[row.source]) for row in found.rows))
    args.out.parent.mkdir(parents=True, exist_ok=True)
    for suffix, text in (
        (".json", report.to_json(found)),
        (".csv", report.to_csv(found)),
        (".md", report.to_markdown(found)),
        (".html", page.to_html(found)),
        (".svg", charts.pareto(found, dice or None, of="cpu")),
    ):
        args.out.with_suffix(suffix).write_text(text)
    tell(report.to_markdown(found))
    for source, value in dice.items():
        tell(f"Dice of {rows[source].name}: {value:.4f}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        from lawder_edge.bench.worker import main as work

        work(sys.argv[2], load_baseline)
    else:
        main()
