"""An hour of live video, bounded by frames: whether memory stays constant.

The procedural clip goes through all stages as fast as they go: view, network, steadiness, drawing, and what makes text
unreadable for recorders. Nothing is encoded: encoders are libraries of their own. Frames are small, since a picture
that is not given back shows in any size, 108 000 of them as 4 GB at 96x128. The network is a stand-in of a line, or
with `--model` a real one. Ended early (Ctrl-C, SIGTERM), the frames so far are told.

    python benchmarks/video_soak.py --out benchmarks/results/video_soak

Writes OUT.md and OUT.svg (resident memory over frames).
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from lawder_edge.bench.machine import describe_machine
from lawder_edge.bench.memory import resident
from lawder_edge.bench.svg import COLOURS, Axis, Line, plot
from lawder_edge.bundle.runner import Runner
from lawder_edge.loading import load_predictor
from lawder_edge.training.interrupt import Interrupt
from lawder_edge.video.clip import ProceduralClip
from lawder_edge.video.frames import Controls, Image, Map, Segmented, Status
from lawder_edge.video.pipeline import Outcome, Pipeline
from lawder_edge.video.segment import Segmenter
from lawder_edge.video.steadiness import Steady

# An hour at 30 frames a second.
HOUR = 108_000
SAMPLES = 240
# Frames after which caches are full: all five scenes were drawn and shown, and the meter's 10 000 durations are kept.
SETTLED = 12_000
COMMAND = "python benchmarks/video_soak.py"


@dataclass(frozen=True)
class Sample:
    frame: int
    memory_mb: float
    at_s: float


class Reddest(Runner):
    """A stand-in: what is redder than most of the picture. Its masks come, go and move, as a network's do."""

    def infer(self, tensor: Map) -> Map:
        red = tensor[:, :1] - tensor[:, 1:2]
        return np.asarray((red - np.float32(np.percentile(red, 95))) * 20, np.float32)


class Watch:
    """A viewer that takes the process's resident memory every so many frames."""

    def __init__(self, every: int) -> None:
        self._every = every
        self.samples: list[Sample] = []

    def show(self, picture: Image, segmented: Segmented, status: Status) -> None:
        number = segmented.frame.number
        if number % self._every == 0:
            self.samples.append(Sample(number, resident().now_bytes / 1e6, time.monotonic()))
            print(f"\r{number} frames, {self.samples[-1].memory_mb:.0f} MB", end="", file=sys.stderr, flush=True)

    def close(self) -> None:
        print(file=sys.stderr)


class Nobody:
    """A recorder of nothing: frames are drawn a second time for it, with text made unreadable."""

    def show(self, picture: Image, segmented: Segmented, status: Status) -> None:
        pass

    def close(self) -> None:
        pass


def soak(segmenter: Segmenter, *, frames: int, size: tuple[int, int], every: int) -> tuple[Outcome, list[Sample]]:
    watch = Watch(every)
    controls = Controls()
    controls.figures = True
    clip = ProceduralClip(seed=1, size=size, frames=frames)
    with Interrupt() as interrupt:
        pipeline = Pipeline(
            clip, [segmenter], controls, viewers=[watch], recorders=[Nobody()], stop=lambda: interrupt.asked
        )
        return pipeline.run(), watch.samples


def told(outcome: Outcome, samples: list[Sample], *, name: str, size: tuple[int, int], chart: str, asked: int) -> str:
    """Resident memory over frames, as Markdown. Growth is the slope of a line through all samples after SETTLED."""
    machine = describe_machine()
    late = [s for s in samples if s.frame >= min(SETTLED, outcome.shown // 2)]
    slope, _ = statistics.linear_regression([s.frame for s in late], [s.memory_mb for s in late])
    marks = np.linspace(0, len(samples) - 1, 13).round().astype(int)
    early = "" if outcome.shown >= asked else f" It was ended before the {asked} frames that it was to have."
    lines = [
        "# An hour of live video: memory",
        "",
        f"    {COMMAND} --out benchmarks/results/{Path(chart).stem}",
        "",
        f"{outcome.shown} frames of the procedural clip at {size[0]}x{size[1]} (an hour at 30 a second is {HOUR}), as "
        f"fast as they went, in {outcome.seconds / 60:.0f} min. Network: {name}.{early}",
        f"{outcome.segmented} segmented, {outcome.alarms} alarms, {outcome.failures} failures.",
        f"{machine.cpu}, {machine.usable_cores} of {machine.cores} cores, {machine.os}, Python {machine.python}; other "
        "work ran beside it, which memory does not depend on.",
        "",
        f"From frame {late[0].frame} to {late[-1].frame} resident memory is {min(s.memory_mb for s in late):.1f} to "
        f"{max(s.memory_mb for s in late):.1f} MB; the line through {len(late)} samples rises by "
        f"{1000 * slope * HOUR / 1000:+.1f} MB an hour (one picture kept of each frame would be "
        f"{HOUR * size[0] * size[1] * 3 / 1e6:.0f} MB).",
        "",
        f"![Resident memory over frames]({chart})",
        "",
        "| frame | resident, MB |",
        "|---|---|",
        *(f"| {samples[i].frame} | {samples[i].memory_mb:.1f} |" for i in marks),
    ]
    return "\n".join(lines) + "\n"


def drawn(samples: list[Sample]) -> str:
    """Memory from 0, so that what is constant looks constant."""
    top = 1.2 * max(s.memory_mb for s in samples)
    line = Line("resident", tuple((float(s.frame), s.memory_mb) for s in samples), COLOURS[0])
    x = Axis("frame", 0, float(samples[-1].frame))
    return plot(x, Axis("resident memory, MB", 0, top), lines=[line], title="Resident memory over frames") + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=HOUR)
    parser.add_argument("--size", type=int, nargs=2, default=(96, 128), metavar=("H", "W"))
    parser.add_argument("--model", help="bundle, model name or checkpoint, instead of the stand-in")
    parser.add_argument("--out", type=Path, required=True, help="name of the results, without a suffix")
    args = parser.parse_args()
    size = int(args.size[0]), int(args.size[1])
    # Now rather than after an hour.
    args.out.parent.mkdir(parents=True, exist_ok=True)
    cv2.setNumThreads(1)
    if args.model:
        predictor = load_predictor(args.model, threads=1)
        segmenter = Segmenter(predictor.name, predictor.runner, threshold=predictor.threshold, steadier=Steady)
    else:
        segmenter = Segmenter("a stand-in", Reddest(size=size), threshold=0.5, steadier=Steady)
    outcome, samples = soak(segmenter, frames=args.frames, size=size, every=max(1, args.frames // SAMPLES))
    chart = args.out.with_name(args.out.name + ".svg")
    chart.write_text(drawn(samples))
    text = told(outcome, samples, name=segmenter.name, size=size, chart=chart.name, asked=args.frames)
    args.out.with_name(args.out.name + ".md").write_text(text)


if __name__ == "__main__":
    main()
