"""One row in a process of its own: `python -m lawder_edge.bench.worker TASK_JSON`.

It loads and warms up, answers; measures one turn for each line `turn` on stdin and answers each; on `end` it answers
with the row. Answers are JSON lines on stdout. A row at any other time is one that failed.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import psutil

from lawder_edge.bench.latency import LatencyStats, summarize, take_turn, warm_up
from lawder_edge.bench.memory import PeakMemory, reset_peak, resident
from lawder_edge.bench.rows import PARTS, Accuracy, Answer, Artifact, BenchSpec, Measured, Part, Row, Static
from lawder_edge.bundle.processing import to_tensor
from lawder_edge.bundle.runner import Runner
from lawder_edge.codec import decode
from lawder_edge.data.phantom import make_frame
from lawder_edge.errors import BadInput, LawderError, Unavailable
from lawder_edge.processes import own_stdout
from lawder_edge.versions import tool_of

if TYPE_CHECKING:
    from torch import nn

    from lawder_edge.bundle.store import Bundle
    from lawder_edge.loading import Predictor


@dataclass(frozen=True)
class Task:
    """One source and how to measure it."""

    source: str
    spec: BenchSpec


@dataclass(frozen=True)
class Subject:
    """A loaded source. describe: what it is, asked for when all is measured. module: its PyTorch form, if any."""

    runner: Runner
    describe: Callable[[], Artifact]
    module: nn.Module | None = None


Loader = Callable[[str, int], Subject]


class Meter:
    """One source, loaded in this process, that is measured turn by turn. Raises: what loading and running it raise."""

    def __init__(self, task: Task, load: Loader) -> None:
        spec = self._spec = task.spec
        self._image = make_frame(np.random.default_rng(0), size=spec.frame).image
        reset_peak()
        self._baseline = resident().now_bytes
        start = time.perf_counter_ns()
        self._subject = load(task.source, spec.threads)
        self._load_ms = (time.perf_counter_ns() - start) / 1e6
        runner = self._runner = self._subject.runner
        if spec.size:
            stride = getattr(self._subject.module, "stride", 1)
            if isinstance(stride, int) and any(side < 1 or side % stride for side in spec.size):
                raise BadInput(f"--size {spec.size[0]} {spec.size[1]}: {task.source} takes multiples of {stride}.")
            runner.size = spec.size
        self._tensor = to_tensor(self._image, runner.size, channels=runner.channels)
        self._infer_warm = warm_up(self._infer, spec.rule)
        # What other processes compute does not show in this one's time.
        self._computes_here = not psutil.Process().children()
        self._frame_warm = warm_up(self._frame, spec.rule)
        # (wall clock, processor) of the bare network
        self._infer_ms: list[list[tuple[float, float]]] = []
        # (pre, infer, post) of whole predictions
        self._frame_ms: list[list[tuple[float, float, float]]] = []

    def turn(self) -> None:
        """Measure the bare network, then whole predictions, for one turn."""
        self._infer_ms.append(take_turn(self._infer, self._spec.rule))
        self._frame_ms.append(take_turn(self._frame, self._spec.rule))

    def measured(self) -> Measured:
        """All turns so far, at least one."""
        memory = PeakMemory(baseline_bytes=self._baseline, peak_bytes=resident().peak_bytes)
        artifact = self._subject.describe()
        return Measured(
            artifact=artifact,
            size=self._runner.size,
            channels=self._runner.channels,
            classes=self._runner.classes,
            static=_count(self._runner, self._subject.module, artifact.model),
            load_ms=self._load_ms,
            infer=summarize([[wall for wall, _ in turn] for turn in self._infer_ms], self._infer_warm),
            cpu=summarize([[cpu for _, cpu in turn] for turn in self._infer_ms], self._infer_warm)
            if self._computes_here
            else None,
            pre=self._part("pre"),
            post=self._part("post"),
            frame=self._part(*self._spec.include),
            memory=memory,
        )

    def _part(self, *names: Part) -> LatencyStats:
        places = [PARTS.index(name) for name in names]
        turns = [[sum(call[i] for i in places) for call in turn] for turn in self._frame_ms]
        return summarize(turns, self._frame_warm)

    def _infer(self) -> tuple[float, float]:
        start, start_cpu = time.perf_counter_ns(), time.process_time_ns()
        self._runner.infer(self._tensor)
        cpu, end = time.process_time_ns(), time.perf_counter_ns()
        return (end - start) / 1e6, (cpu - start_cpu) / 1e6

    def _frame(self) -> tuple[float, float, float]:
        runner, height_width = self._runner, (self._image.shape[0], self._image.shape[1])
        finish = runner.finish_labels if runner.kind == "mask" else runner.finish
        start = time.perf_counter_ns()
        tensor = runner.prepare(self._image)
        ready = time.perf_counter_ns()
        output = runner.infer(tensor)
        inferred = time.perf_counter_ns()
        finish(output, height_width)
        end = time.perf_counter_ns()
        return (ready - start) / 1e6, (inferred - ready) / 1e6, (end - inferred) / 1e6


def _count(runner: Runner, module: nn.Module | None, model: str) -> Static | None:
    """None where PyTorch is not loaded in this process."""
    if module is None:
        return None
    from lawder_edge.bench.flops import count
    from lawder_edge.models import MODELS, create_model

    if model in MODELS:
        # Not the loaded module, which is of the deploy form where its weights are quantised.
        module = create_model(model, in_channels=runner.channels, num_classes=runner.classes)
    return count(module, runner.size, channels=runner.channels).static


def load_subject(source: str, threads: int) -> Subject:
    """A model name, checkpoint or bundle, ready to run; an architecture without weights gets fresh ones.

    Raises: BadInput, BadCheckpoint, BadBundle, Unavailable.
    """
    from lawder_edge.loading import load_predictor
    from lawder_edge.weights import bundled_weights

    path = Path(source if Path(source).exists() else source.rpartition("=")[2])
    file = path if path.exists() or path.suffix == ".safetensors" else bundled_weights(source)
    if file is None:
        return _load_fresh(source, threads)
    predictor = load_predictor(source, threads=threads)
    return Subject(predictor.runner, partial(_describe, predictor, file), predictor.module)


def _load_fresh(name: str, threads: int) -> Subject:
    from lawder_edge.models import create_model
    from lawder_edge.threads import limit_threads
    from lawder_edge.weights import TorchRunner

    limit_threads(threads)
    module = create_model(name)
    artifact = Artifact(runtime=_named("torch"), model=name, precision="fp32", file="", sha256="", size_bytes=None)
    return Subject(TorchRunner(module, size=(256, 256)), lambda: artifact, module)


def _describe(predictor: Predictor, file: Path) -> Artifact:
    """file: the checkpoint that it was loaded from."""
    if predictor.bundle is not None:
        return _describe_bundle(predictor.bundle, predictor.runner)
    data = file.read_bytes()
    return Artifact(
        runtime=_named("torch"),
        model=predictor.model,
        precision=predictor.precision,
        file=file.name,
        sha256=hashlib.sha256(data).hexdigest(),
        size_bytes=len(data),
    )


def _describe_bundle(bundle: Bundle, runner: Runner) -> Artifact:
    from lawder_edge.targets.registry import get_target

    manifest = bundle.manifest
    target = get_target(manifest.target)
    packages = target.runtime_of(manifest.model_file)
    return Artifact(
        runtime=", ".join(map(_named, packages)) or manifest.target,
        model=manifest.model,
        precision=manifest.precision,
        file=manifest.model_file,
        sha256=manifest.model_entry.sha256,
        size_bytes=target.size_bytes(manifest),
        accuracy=_accuracy(bundle),
        scalar_bytes=target.scalar_bytes(manifest.precision),
        arena_bytes=runner.arena_bytes,
    )


def _accuracy(bundle: Bundle) -> Accuracy | None:
    from lawder_edge.bundle.store import read_certificate

    found = read_certificate(bundle)
    if found is None:
        return None
    a = found.agreement
    if a is None:
        return Accuracy(found.status, found.source, None, None, None, None)
    return Accuracy(
        status=found.status,
        images=found.source,
        dice=a.dice_artifact.mean,
        dice_drop=a.dice_drop.mean,
        mask_dice=a.mask_dice.mean,
        mask_dice_worst=a.mask_dice.worst,
    )


def _named(module: str) -> str:
    """What a module comes from, with its version: `onnxruntime-gpu 1.23.0`."""
    tool = tool_of(module)
    return f"{tool.name} {tool.version}"


def run_task(task: Task, orders: Iterable[str], answer: Callable[[Answer], None], load: Loader = load_subject) -> None:
    """Measure one source as `orders` say, a line each; whatever goes wrong becomes the row's reason.

    With a traceback on stderr where it was unforeseen.
    """
    source = task.source
    try:
        if task.spec.pin:
            _pin(task.spec.pin)
        meter = Meter(task, load)
        answer(Answer())
        for order in orders:
            if order.strip() == "end":
                answer(Answer(Row(source, "ok", measured=meter.measured())))
                return
            meter.turn()
            answer(Answer())
    except Unavailable as error:
        answer(Answer(Row(source, "unavailable", str(error), error.exit_code)))
    except LawderError as error:
        answer(Answer(Row(source, "failed", str(error), error.exit_code)))
    except ModuleNotFoundError as error:
        reason = f"needs {error.name}, not installed here. PyTorch rows need: pip install 'lawder-edge[train]'"
        answer(Answer(Row(source, "unavailable", reason, Unavailable.exit_code)))
    except Exception as error:  # the boundary of the process: a runtime may raise anything
        traceback.print_exc()
        answer(Answer(Row(source, "failed", f"{type(error).__name__}: {error}", 1)))


def _pin(cores: tuple[int, ...]) -> None:
    """Let this process run on these logical cores alone. Raises BadInput where it cannot."""
    try:
        os.sched_setaffinity(0, cores)
    except (AttributeError, OSError, OverflowError, ValueError) as error:
        raise BadInput(f"--pin {' '.join(map(str, cores))}: this process cannot run there ({error}).") from error


def main(task_json: str, load: Loader = load_subject) -> None:
    """Answer on the real stdout; what libraries print meanwhile goes to stderr."""
    out = own_stdout()

    def answer(said: Answer) -> None:
        out.write(json.dumps(dataclasses.asdict(said)) + "\n")
        out.flush()

    run_task(decode(Task, task_json, source="task"), sys.stdin, answer, load)


if __name__ == "__main__":
    main(sys.argv[1])
