"""What live video costs: frames a second and latency of each runtime, on one core and on two, from 1080p frames.

Each row is a process of its own that is kept on that many cores, twice: frames as fast as they are taken (fps at most),
then as a camera gives them, 30 a second (latency from capture to the viewer, and frames left out). The frames are a
stretch of the procedural clip, drawn beforehand and held in memory: no decoder's time is in any number, and no
encoder's.

    lawder-edge export --model order --target all --precision all --out build/order
    python benchmarks/video_budget.py build/order/{onnx,openvino,tflite}{,-int8} > benchmarks/results/video_budget.md
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil

from lawder_edge.bench.machine import describe_machine
from lawder_edge.bundle.processing import Samples
from lawder_edge.bundle.runner import Runner, RunnerAround
from lawder_edge.codec import decode
from lawder_edge.errors import last_line
from lawder_edge.loading import load_predictor
from lawder_edge.video.border import ViewFinder
from lawder_edge.video.clip import ProceduralClip
from lawder_edge.video.demo import limit_cores
from lawder_edge.video.draw import Overlay, add_labels, draw_mask
from lawder_edge.video.frames import Controls, Frame, Image, Map, Segmented, Status
from lawder_edge.video.meter import percentiles
from lawder_edge.video.pipeline import Outcome, Pipeline, Setting
from lawder_edge.video.segment import Segmenter
from lawder_edge.video.steadiness import Steady
from lawder_edge.video.usable import why_unusable

SIZE = (1080, 1920)
FPS = 30.0
STRETCH = 30
# Where the clip's first polyp is in view.
FIRST = 60
HEAD = """# Live video: frames a second and latency

    python benchmarks/video_budget.py build/order/{{onnx,openvino,tflite}}{{,-int8}}

{m.cpu}, {m.usable_cores} of {m.cores} cores, {m.os}; {frames} frames a row.
Other work used {others:.0f} % of the CPU as it began, load {m.load_average}: on a shared machine the CPU time of a
frame says more than its fps.

From 1920x1080 frames in memory to drawn pictures; the network sees 256x256. pre, network, post, draw: CPU time of the
stages in ms, medians, one after the other in one thread; steady: what of post is the steadiness. share: pre and post of
all that is done for a frame, and without steadiness. CPU: ms of all threads for a frame as the pipeline runs, which
1000 / CPU makes the fps of one core that does nothing else. fps, latency and frames left out are by the clock: as many
as are taken, then of a camera that gives 30 frames a second, from capture to the viewer.

| bundle | cores | pre | network | post | steady | draw | share | without | CPU | fps | p50 | p99 | left out | MB |
|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|"""


@dataclass(frozen=True)
class Stages:
    """CPU time of one thread for one frame, medians in ms. steady_ms is part of post_ms."""

    pre_ms: float
    infer_ms: float
    post_ms: float
    steady_ms: float
    draw_ms: float

    def share(self, *, steadied: bool) -> float:
        """Pre and post of all that is done for a frame."""
        left_out = 0.0 if steadied else self.steady_ms
        around = self.pre_ms + self.post_ms - left_out
        return around / (around + self.infer_ms + self.draw_ms)


@dataclass(frozen=True)
class Row:
    """One bundle on so many cores."""

    bundle: str
    cores: int
    stages: Stages
    cpu_ms: float
    fps: float
    latency_p50_ms: float
    latency_p99_ms: float
    left_out: float
    memory_mb: float


class Cycle:
    """Pictures over and over. live: at their time."""

    fps = FPS

    def __init__(self, images: list[Image], count: int, *, live: bool) -> None:
        self.live = live
        self._images, self._count, self._next = images, count, 0
        self._started_s = time.monotonic()

    def read(self) -> Frame | None:
        number = self._next
        if number == 0:
            self._started_s = time.monotonic()
        if number >= self._count:
            return None
        if self.live:
            time.sleep(max(0.0, self._started_s + number / self.fps - time.monotonic()))
        self._next += 1
        # There and back again, so that no frame jumps.
        place = number % (2 * len(self._images) - 2)
        image = self._images[min(place, 2 * len(self._images) - 2 - place)]
        return Frame(number, time.monotonic(), image, cut=number == 0)

    def said(self) -> str:
        return ""

    def close(self) -> None:
        self._count = 0


class Nobody:
    """Looks on and does nothing."""

    def show(self, picture: Image, segmented: Segmented, status: Status) -> None:
        pass

    def close(self) -> None:
        pass


def run(segmenter: Segmenter, images: list[Image], frames: int, *, live: bool) -> Outcome:
    source = Cycle(images, frames, live=live)
    return Pipeline(source, [segmenter], Controls(), viewers=[Nobody()], setting=Setting()).run()


class Timed:
    """A steadiness whose CPU time is kept."""

    def __init__(self, threshold: Callable[[], float]) -> None:
        self._steady = Steady(threshold)
        self.took_ms: list[float] = []

    def step(self, frame: Frame, probability: Map) -> tuple[Map, Image, bool]:
        begun_s = time.thread_time()
        found = self._steady.step(frame, probability)
        self.took_ms.append(1000 * (time.thread_time() - begun_s))
        return found

    def miss(self) -> None:
        self._steady.miss()

    def reset(self) -> None:
        self._steady.reset()


class TimedRunner(RunnerAround):
    """Another runner, whose CPU time is kept."""

    def __init__(self, inner: Runner) -> None:
        super().__init__(inner)
        self.took_ms: list[float] = []

    def infer(self, tensor: Map) -> Samples:
        begun_s = time.thread_time()
        found = self.inner.infer(tensor)
        self.took_ms.append(1000 * (time.thread_time() - begun_s))
        return found


def stages_of(runner: Runner, images: list[Image], *, threshold: float) -> Stages:
    """One frame after the other in this thread, three times there and back."""
    timed, finder = TimedRunner(runner), ViewFinder()
    made: list[Timed] = []

    def steadier(ask: Callable[[], float]) -> Timed:
        made.append(Timed(ask))
        return made[-1]

    segmenter = Segmenter("timed", timed, threshold=threshold, steadier=steadier)
    pre: list[float] = []
    step: list[float] = []
    draw: list[float] = []
    source = Cycle(images, 6 * len(images), live=False)
    while (frame := source.read()) is not None:
        times = [time.thread_time()]
        view = finder.step(frame.image, cut=frame.cut)
        small = segmenter.shrink(view.crop(frame.image))
        why_unusable(small)
        times.append(time.thread_time())
        at_s = frame.number / FPS
        segmented = segmenter.step(frame, view, small, at_s=at_s, pre_ms=0.0, threshold=None)
        times.append(time.thread_time())
        add_labels(draw_mask(segmented), segmented, Overlay())
        times.append(time.thread_time())
        for kept, begun_s, ended_s in zip((pre, step, draw), times[:-1], times[1:], strict=True):
            kept.append(1000 * (ended_s - begun_s))
    around = [whole - network for whole, network in zip(step, timed.took_ms, strict=True)]
    medians = (statistics.median(v) for v in (pre, timed.took_ms, around, made[0].took_ms, draw))
    return Stages(*medians)


def measure(bundle: Path, cores: int, frames: int) -> Row:
    # Drawn by all cores, measured on some.
    clip = ProceduralClip(seed=0, size=SIZE, fps=FPS)
    images = [clip.picture_of(FIRST + i) for i in range(STRETCH)]
    clip.close()
    threads = limit_cores(cores)
    predictor = load_predictor(str(bundle), threads=threads)
    stages = stages_of(predictor.runner, images, threshold=predictor.threshold)
    segmenter = Segmenter(bundle.name, predictor.runner, threshold=predictor.threshold, steadier=Steady)
    fast = run(segmenter, images, frames, live=False)
    live = run(segmenter, images, frames, live=True)
    latency = percentiles(live.meter.durations.shown)
    return Row(
        bundle=bundle.name,
        cores=cores,
        stages=stages,
        cpu_ms=10 * fast.cpu_percent * fast.seconds / fast.shown,
        fps=fast.shown / fast.seconds,
        latency_p50_ms=latency.p50_ms,
        latency_p99_ms=latency.p99_ms,
        left_out=live.dropped / live.captured,
        memory_mb=fast.meter.peak_memory_mb,
    )


def measured(bundle: Path, cores: int, frames: int) -> Row | str:
    """A row from a process of its own, or why there is none."""
    command = [sys.executable, __file__, str(bundle), "--one", str(cores), "--frames", str(frames)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode:
        return last_line(ended.stderr) or f"exit code {ended.returncode}"
    return decode(Row, ended.stdout.splitlines()[-1], source="row")


def cells(row: Row) -> str:
    s = row.stages
    # With several threads a stage's time is not that of one of them.
    stages = (
        f"{s.pre_ms:.1f}", f"{s.infer_ms:.1f}", f"{s.post_ms:.1f}", f"{s.steady_ms:.1f}", f"{s.draw_ms:.1f}",
        f"{100 * s.share(steadied=True):.0f} %", f"{100 * s.share(steadied=False):.0f} %",
    ) if row.cores == 1 else ("",) * 7  # fmt: skip
    values = (
        row.bundle, str(row.cores), *stages, f"{row.cpu_ms:.1f}", f"{row.fps:.1f}", f"{row.latency_p50_ms:.0f}",
        f"{row.latency_p99_ms:.0f}", f"{100 * row.left_out:.0f} %", f"{row.memory_mb:.0f}",
    )  # fmt: skip
    return f"| {' | '.join(values)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundles", type=Path, nargs="+")
    parser.add_argument("--frames", type=int, default=60)
    parser.add_argument("--one", type=int, default=0, help="cores: measure here and print JSON")
    given = parser.parse_args()
    if given.one:
        row = measure(given.bundles[0], given.one, given.frames)
        print(json.dumps(dataclasses.asdict(row)))
        return
    others = psutil.cpu_percent(interval=2.0)
    machine = describe_machine()
    print(HEAD.format(m=machine, frames=given.frames, others=others))
    failures: list[str] = []
    for bundle in given.bundles:
        for cores in (1, 2):
            found = measured(bundle, cores, given.frames)
            if isinstance(found, str):
                failures.append(f"{bundle.name} on {cores}: {found}")
            else:
                print(cells(found), flush=True)
    for text in failures:
        print(f"\n- no row: {text}")


if __name__ == "__main__":
    main()
