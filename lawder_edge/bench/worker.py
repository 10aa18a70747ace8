"""One row in a process of its own: `python -m lawder_edge.bench.worker TASK_JSON`, one JSON line on stdout."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lawder_edge.bench.latency import measure
from lawder_edge.bench.machine import installed_version
from lawder_edge.bench.memory import PeakMemory, reset_peak, resident
from lawder_edge.bench.rows import Artifact, BenchSpec, Measured, Row
from lawder_edge.bundle.processing import to_tensor
from lawder_edge.bundle.runner import Runner
from lawder_edge.codec import decode
from lawder_edge.data.phantom import make_frame
from lawder_edge.errors import BadInput, LawderError, Unavailable

if TYPE_CHECKING:
    from torch import nn

    from lawder_edge.bundle.manifest import Manifest
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


def measure_source(task: Task, load: Loader) -> Measured:
    """Load one source in this process and measure it. Raises: what loading and running it raise."""
    spec = task.spec
    image = make_frame(np.random.default_rng(0), size=spec.frame).image
    reset_peak()
    baseline = resident().now_bytes
    start = time.perf_counter_ns()
    subject = load(task.source, spec.threads)
    load_ms = (time.perf_counter_ns() - start) / 1e6

    runner = subject.runner
    if spec.size:
        stride = getattr(subject.module, "stride", 1)
        if isinstance(stride, int) and any(side < 1 or side % stride for side in spec.size):
            raise BadInput(f"--size {spec.size[0]} {spec.size[1]}: {task.source} takes multiples of {stride}.")
        runner.size = spec.size
    tensor = to_tensor(image, runner.size, channels=runner.channels)
    infer = measure(lambda: runner.infer(tensor), spec.rule)
    whole = runner.predict_labels if runner.kind == "mask" else runner.predict
    frame = measure(lambda: whole(image), spec.rule)
    memory = PeakMemory(baseline_bytes=baseline, peak_bytes=resident().peak_bytes)

    artifact = subject.describe()
    params, macs = _count(runner, subject.module, artifact.model)
    return Measured(
        artifact=artifact,
        size=runner.size,
        channels=runner.channels,
        params=params,
        macs=macs,
        load_ms=load_ms,
        infer=infer,
        frame=frame,
        memory=memory,
    )


def _count(runner: Runner, module: nn.Module | None, model: str) -> tuple[int | None, int | None]:
    """Parameters and MACs; None where PyTorch is not installed or the architecture cannot be made here."""
    try:
        from lawder_edge.bench.flops import count
        from lawder_edge.models import MODELS, create_model

        if model in MODELS:
            # Not the loaded module, which is of the deploy form where its weights are quantised.
            module = create_model(model, in_channels=runner.channels, num_classes=runner.classes)
        elif module is None:
            return None, None  # a manifest must not make a network's own code run
    except (ImportError, BadInput):
        return None, None
    cost = count(module, runner.size, channels=runner.channels)
    return cost.params, cost.macs


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
    artifact = Artifact(runtime=_torch(), model=name, precision="fp32", file="", sha256="", size_bytes=None)
    return Subject(TorchRunner(module, size=(256, 256)), lambda: artifact, module)


def _describe(predictor: Predictor, file: Path) -> Artifact:
    """file: the checkpoint that it was loaded from."""
    if predictor.bundle is not None:
        return _describe_bundle(predictor.bundle.manifest)
    data = file.read_bytes()
    return Artifact(
        runtime=_torch(),
        model=predictor.model,
        precision=predictor.precision,
        file=file.name,
        sha256=hashlib.sha256(data).hexdigest(),
        size_bytes=len(data),
    )


def _describe_bundle(manifest: Manifest) -> Artifact:
    from lawder_edge.targets.registry import get_target

    target = get_target(manifest.target)
    packages = target.runtime_of(manifest.model_file)
    return Artifact(
        runtime=", ".join(f"{p} {installed_version(p)}".strip() for p in packages) or manifest.target,
        model=manifest.model,
        precision=manifest.precision,
        file=manifest.model_file,
        sha256=manifest.model_entry.sha256,
        size_bytes=target.size_bytes(manifest),
    )


def _torch() -> str:
    return f"torch {installed_version('torch')}"


def run_task(task: Task, load: Loader = load_subject) -> Row:
    """Measure one source; whatever goes wrong becomes the row's reason, with a traceback on stderr if unforeseen."""
    try:
        return Row(task.source, "ok", measured=measure_source(task, load))
    except Unavailable as error:
        return Row(task.source, "unavailable", str(error), error.exit_code)
    except LawderError as error:
        return Row(task.source, "failed", str(error), error.exit_code)
    except ModuleNotFoundError as error:
        reason = f"needs {error.name}, not installed here. PyTorch rows need: pip install 'lawder-edge[train]'"
        return Row(task.source, "unavailable", reason, Unavailable.exit_code)
    except Exception as error:  # the boundary of the process: a runtime may raise anything
        traceback.print_exc()
        return Row(task.source, "failed", f"{type(error).__name__}: {error}", 1)


def main(task_json: str) -> None:
    """Print the row on the real stdout; what libraries print meanwhile goes to stderr."""
    answer = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    row = run_task(decode(Task, task_json, source="task"))
    answer.write(json.dumps(dataclasses.asdict(row)) + "\n")
    answer.flush()


if __name__ == "__main__":
    main(sys.argv[1])
