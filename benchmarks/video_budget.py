"""What live video costs: frames a second and latency of each runtime, on one core and on two, from 1080p frames.

Each row is a process of its own that is kept on that many cores, twice: frames as fast as they are taken (fps at most),
then as a camera gives them, 30 a second (latency from capture to the viewer, and frames left out). The frames are a
stretch of the procedural clip, drawn beforehand and held in memory: no decoder's time is in any number, and no
encoder's.

    lawder-edge export --model order --target all --precision all --out build/order
    python benchmarks/video_budget.py build/order/* > benchmarks/results/video_budget.md
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

from lawder_edge.bench.machine import describe_machine
from lawder_edge.bundle.codec import decode
from lawder_edge.errors import last_line
from lawder_edge.loading import load_predictor
from lawder_edge.video.clip import ProceduralClip
from lawder_edge.video.demo import limit_cores
from lawder_edge.video.frames import Controls, Frame, Image, Segmented, Status
from lawder_edge.video.meter import percentiles
from lawder_edge.video.pipeline import Outcome, Pipeline, Setting
from lawder_edge.video.segment import Segmenter, unsteadied
from lawder_edge.video.steadiness import Steady

SIZE = (1080, 1920)
FPS = 30.0
STRETCH = 30
# Where the clip's first polyp is in view.
FIRST = 60
HEAD = """# Live video: frames a second and latency

    python benchmarks/video_budget.py build/order/*

{m.cpu}, {m.usable_cores} of {m.cores} cores, {m.os}; {frames} frames a row.
Other work used {others:.0f} % of the CPU as it began, load {m.load_average}: on a shared machine the CPU time of a
frame says more than its fps.

From 1920x1080 frames in memory to drawn pictures; the network sees 256x256. pre, network, post and draw: medians of the
stages in ms, which overlap between frames. share: pre and post of all that is done for a frame. CPU: ms of all threads
for a frame, 1000 / CPU being the fps of one core that does nothing else. Latency and frames left out: of a camera that
gives 30 frames a second, from capture to the viewer.

| bundle | cores | steadied | fps at most | CPU | pre | network | post | draw | share | p50 | p99 | left out | MB |
|---|---|---|---|---|---|---|---|---|---|---|---|---|---|"""


@dataclass(frozen=True)
class Row:
    """One bundle on so many cores. Times are medians in ms; share: pre and post of all that is done for a frame."""

    bundle: str
    cores: int
    smooth: bool
    fps: float
    cpu_ms: float
    pre_ms: float
    infer_ms: float
    post_ms: float
    draw_ms: float
    share: float
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


def measure(bundle: Path, cores: int, frames: int, *, smooth: bool) -> Row:
    # Drawn by all cores, measured on some.
    clip = ProceduralClip(seed=0, size=SIZE, fps=FPS)
    images = [clip.picture_of(FIRST + i) for i in range(STRETCH)]
    clip.close()
    threads = limit_cores(cores)
    predictor = load_predictor(str(bundle), threads=threads)
    steadier = Steady if smooth else unsteadied
    segmenter = Segmenter(bundle.name, predictor.runner, threshold=predictor.threshold, steadier=steadier)
    fast = run(segmenter, images, frames, live=False)
    live = run(segmenter, images, frames, live=True)
    stages = fast.meter.durations
    pre, infer, post, draw = (percentiles(v).p50_ms for v in (stages.pre, stages.infer, stages.post, stages.draw))
    latency = percentiles(live.meter.durations.shown)
    return Row(
        bundle=bundle.name,
        cores=cores,
        smooth=smooth,
        fps=fast.shown / fast.seconds,
        cpu_ms=10 * fast.cpu_percent * fast.seconds / fast.shown,
        pre_ms=pre,
        infer_ms=infer,
        post_ms=post,
        draw_ms=draw,
        share=(pre + post) / (pre + infer + post + draw),
        latency_p50_ms=latency.p50_ms,
        latency_p99_ms=latency.p99_ms,
        left_out=live.dropped / live.captured,
        memory_mb=fast.meter.peak_memory_mb,
    )


def measured(bundle: Path, cores: int, frames: int, *, smooth: bool) -> Row | str:
    """A row from a process of its own, or why there is none."""
    command = [sys.executable, __file__, str(bundle), "--one", str(cores), "--frames", str(frames)]
    ended = subprocess.run(
        [*command, *([] if smooth else ["--no-smooth"])], capture_output=True, text=True, check=False
    )
    if ended.returncode:
        return last_line(ended.stderr) or f"exit code {ended.returncode}"
    return decode(Row, ended.stdout.splitlines()[-1], source="row")


def cells(row: Row) -> str:
    values = (
        row.bundle, str(row.cores), "yes" if row.smooth else "no", f"{row.fps:.1f}", f"{row.cpu_ms:.1f}",
        f"{row.pre_ms:.1f}", f"{row.infer_ms:.1f}", f"{row.post_ms:.1f}", f"{row.draw_ms:.1f}",
        f"{100 * row.share:.0f} %", f"{row.latency_p50_ms:.0f}", f"{row.latency_p99_ms:.0f}",
        f"{100 * row.left_out:.0f} %", f"{row.memory_mb:.0f}",
    )  # fmt: skip
    return f"| {' | '.join(values)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundles", type=Path, nargs="+")
    parser.add_argument("--frames", type=int, default=240)
    parser.add_argument("--one", type=int, default=0, help="cores: measure here and print JSON")
    parser.add_argument("--no-smooth", action="store_true")
    given = parser.parse_args()
    if given.one:
        row = measure(given.bundles[0], given.one, given.frames, smooth=not given.no_smooth)
        print(json.dumps(dataclasses.asdict(row)))
        return
    others = psutil.cpu_percent(interval=2.0)
    machine = describe_machine()
    print(HEAD.format(m=machine, frames=given.frames, others=others))
    failures: list[str] = []
    for bundle in given.bundles:
        for cores in (1, 2):
            # What a frame costs without steadiness differs little from bundle to bundle.
            for smooth in (True, False) if bundle == given.bundles[0] else (True,):
                row = measured(bundle, cores, given.frames, smooth=smooth)
                if isinstance(row, str):
                    failures.append(f"{bundle.name} on {cores}: {row}")
                    continue
                print(cells(row), flush=True)
    for text in failures:
        print(f"\n- no row: {text}")


if __name__ == "__main__":
    main()
