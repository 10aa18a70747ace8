"""What one row's process does."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import psutil
import pytest

from lawder_edge import loading
from lawder_edge.bench import worker
from lawder_edge.bench.rows import Answer, Artifact, BenchSpec, Measured, Row
from lawder_edge.bench.worker import Loader, Meter, Subject, Task, load_subject, run_task
from lawder_edge.bundle.manifest import FileEntry, InputSpec, Manifest, OutputSpec, WeightsInfo
from lawder_edge.bundle.runner import Runner
from lawder_edge.bundle.store import Bundle, list_files, open_bundle, write_bundle
from lawder_edge.codec import decode
from lawder_edge.errors import BadInput, Unavailable
from lawder_edge.versions import Tool


def row_of(task: Task, load: Loader = load_subject) -> Row:
    """What a whole measurement of one turn answers last."""
    said: list[Answer] = []
    run_task(task, ["turn\n", "end\n"], said.append, load)
    assert said[-1].row is not None
    return said[-1].row


def measure_source(task: Task, load: Loader) -> Measured:
    row = row_of(task, load)
    assert row.measured is not None, row.reason
    return row.measured


def failing(error: Exception) -> Row:
    def load(source: str, threads: int) -> Subject:
        raise error

    return row_of(Task("x", BenchSpec(frame=(48, 64))), load)


def test_a_runner_is_measured_bare_and_with_the_whole_frame(
    runner: Runner, artifact: Artifact, quick: BenchSpec
) -> None:
    measured = measure_source(Task("fake", quick), lambda source, threads: Subject(runner, lambda: artifact))
    assert measured.artifact == artifact
    assert measured.infer.count == measured.frame.count == 3
    assert measured.size == (32, 32)
    assert measured.memory.peak_bytes > 0


def test_the_parts_of_a_prediction_are_told_apart_and_frame_is_the_sum_of_the_included(
    runner: Runner, artifact: Artifact, quick: BenchSpec
) -> None:
    spec = dataclasses.replace(quick, include=("pre", "post"), rule=dataclasses.replace(quick.rule, turns=2))
    meter = Meter(Task("fake", spec), lambda source, threads: Subject(runner, lambda: artifact))
    meter.turn()
    meter.turn()
    m = meter.measured()
    sums = [a + b for a, b in zip(m.pre.values_ms, m.post.values_ms, strict=True)]
    assert m.frame.values_ms == pytest.approx(sums)
    assert len(m.infer.turns_ms) == 2


def test_the_processors_time_leaves_out_waiting_and_is_blank_where_another_process_computes(
    runner: Runner, artifact: Artifact, quick: BenchSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    infer = runner.infer
    monkeypatch.setattr(runner, "infer", lambda tensor: (time.sleep(0.02), infer(tensor))[1])
    # Those that other tests of this process have left running.
    children = psutil.Process.children
    left = {child.pid for child in psutil.Process().children()}
    monkeypatch.setattr(psutil.Process, "children", lambda self: [c for c in children(self) if c.pid not in left])
    task = Task("fake", quick)
    measured = measure_source(task, lambda source, threads: Subject(runner, lambda: artifact))
    assert measured.cpu is not None
    assert measured.cpu.p50_ms < measured.infer.p50_ms - 10
    with subprocess.Popen(["sleep", "60"]) as child:
        measured = measure_source(task, lambda source, threads: Subject(runner, lambda: artifact))
        child.kill()
    assert measured.cpu is None


def test_a_core_that_is_not_there_is_refused_by_its_number(
    runner: Runner, artifact: Artifact, quick: BenchSpec
) -> None:
    row = row_of(Task("fake", dataclasses.replace(quick, pin=(4000,))), lambda s, t: Subject(runner, lambda: artifact))
    assert row.exit_code == 2
    assert "--pin 4000" in row.reason


def test_a_network_that_gives_masks_is_measured_with_its_labels(
    runner: Runner, artifact: Artifact, quick: BenchSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner.kind = "mask"
    made: list[tuple[int, ...]] = []
    finish = runner.finish_labels
    monkeypatch.setattr(runner, "finish_labels", lambda output, size: made.append(size) or finish(output, size))
    measured = measure_source(Task("fake", quick), lambda source, threads: Subject(runner, lambda: artifact))
    assert measured.frame.count == 3
    assert set(made) == {(48, 64)}


def test_the_size_asked_for_is_the_size_measured(runner: Runner, artifact: Artifact, quick: BenchSpec) -> None:
    spec = dataclasses.replace(quick, size=(64, 96))
    measured = measure_source(Task("fake", spec), lambda source, threads: Subject(runner, lambda: artifact))
    assert measured.size == (64, 96)
    assert set(runner.shapes) == {(1, 3, 64, 96)}  # type: ignore[attr-defined]


def test_a_runtime_that_is_not_here_is_told_apart_from_a_failure() -> None:
    row = failing(Unavailable("needs fakert"))
    assert (row.status, row.reason, row.exit_code) == ("unavailable", "needs fakert", 4)
    row = failing(ModuleNotFoundError("No module named 'torch'", name="torch"))
    assert (row.status, row.exit_code) == ("unavailable", 4)
    assert "torch" in row.reason


def test_bad_input_and_unforeseen_errors_become_rows(capsys: pytest.CaptureFixture[str]) -> None:
    assert failing(BadInput("no such model")).exit_code == 2
    row = failing(RuntimeError("tensor on fire"))
    assert (row.status, row.reason, row.exit_code) == ("failed", "RuntimeError: tensor on fire", 1)
    assert "Traceback" in capsys.readouterr().err


def test_a_size_that_the_network_cannot_take_is_refused_with_the_multiple(quick: BenchSpec) -> None:
    row = row_of(Task("unet", dataclasses.replace(quick, size=(100, 128))))
    assert row.exit_code == 2
    assert "multiples of 32" in row.reason


def test_a_name_that_is_no_model_gets_the_closest_one(quick: BenchSpec) -> None:
    assert "Did you mean 'unet'" in row_of(Task("unett", quick)).reason


def test_a_checkpoint_is_described_by_its_file_and_its_architecture(tmp_path: Path) -> None:
    from lawder_edge.models import create_model
    from lawder_edge.training.checkpoint import save_weights
    from lawder_edge.training.record import WeightsRecord

    path = tmp_path / "mine.safetensors"
    save_weights(path, create_model("unet"), WeightsRecord(model="unet", size=64))
    subject = load_subject(str(path), 1)
    found = subject.describe()
    assert (found.file, found.model, found.size_bytes) == ("mine.safetensors", "unet", path.stat().st_size)
    assert len(found.sha256) == 64
    assert subject.runner.size == (64, 64)


def test_a_quantised_checkpoint_is_measured_as_the_int8_that_it_is(tmp_path: Path, quick: BenchSpec) -> None:
    from lawder_edge.models import create_model
    from lawder_edge.models.deploy import to_deploy
    from lawder_edge.quantization.checkpoint import Quantized, write_quantized
    from lawder_edge.quantization.prepare import prepare
    from lawder_edge.quantization.qat import calibrate
    from lawder_edge.training.record import WeightsRecord

    model = create_model("unet")
    network = prepare(to_deploy(model), size=(32, 32))
    calibrate(network, np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8))
    path = tmp_path / "int8.safetensors"
    write_quantized(path, Quantized(network.deployed_state(), network.scales(), WeightsRecord("unet", size=32)))
    row = row_of(Task(str(path), quick))
    assert row.measured is not None, row.reason
    assert (row.measured.artifact.model, row.measured.artifact.precision) == ("unet", "int8")
    # As in a row of float weights: of the architecture, not of its deploy form.
    assert row.measured.static is not None
    assert row.measured.static.params == sum(p.numel() for p in model.parameters())
    assert "multiples of 32" in row_of(Task(str(path), dataclasses.replace(quick, size=(100, 64)))).reason


NOISY_NET = """
import os
from torch import nn

class Net(nn.Conv2d):
    def __init__(self):
        super().__init__(3, 1, 3, padding=1)

    def forward(self, x):
        print("a library that talks")
        os.write(1, b"even from C")
        return super().forward(x)
"""


def test_a_users_own_network_is_measured_in_a_process_whose_stdout_is_a_line_of_json_for_each_order(
    tmp_path: Path, project_root: Path, quick: BenchSpec
) -> None:
    (tmp_path / "noisy_net.py").write_text(NOISY_NET)
    task = json.dumps(dataclasses.asdict(Task("noisy_net:Net", dataclasses.replace(quick, size=(32, 64)))))
    done = subprocess.run(
        [sys.executable, "-m", "lawder_edge.bench.worker", task],
        capture_output=True,
        text=True,
        check=True,
        input="turn\nend\n",
        env={"PYTHONPATH": f"{project_root}:{tmp_path}", "OMP_NUM_THREADS": "1"},
    )
    assert done.stdout.count("\n") == 3
    assert "a library that talks" in done.stderr
    row = decode(Answer, done.stdout.splitlines()[-1], source="worker").row
    assert row is not None
    assert row.measured is not None
    assert row.measured.static is not None
    assert row.measured.static.params == 3 * 9 + 1
    assert row.measured.static.macs == 32 * 64 * 27
    assert row.measured.static.activations == 32 * 64
    assert row.measured.static.moved == 32 * 64 * (1 + 3) + 28
    assert row.measured.static.peak_activations == 32 * 64 * (1 + 3)
    assert row.measured.artifact.runtime.startswith("torch ")
    assert row.measured.infer.first_ms > 0
    assert row.measured.memory.added_bytes > 0


def write_onnx_bundle(path: Path) -> Bundle:
    """Of a model file that no runtime opens."""

    def build(folder: Path) -> Manifest:
        (folder / "net.onnx").write_bytes(b"model")
        files: tuple[FileEntry, ...] = list_files(folder)
        size = InputSpec(64, 64, dynamic=False, dynamic_batch=False, multiple_of=32, channels=3, layout="NCHW")
        weights = WeightsInfo("unet", "{}", "a" * 64, (), "", 0.5)
        output = OutputSpec(kind="logits", classes=1)
        return Manifest(2, "net", "unet", "onnx", "fp32", "net.onnx", files, size, output, 0.5, None, weights, ())

    write_bundle(path, build)
    return open_bundle(path)


def test_a_bundle_that_was_changed_after_it_was_made_is_refused(tmp_path: Path, quick: BenchSpec) -> None:
    bundle = write_onnx_bundle(tmp_path / "bundle")
    bundle.model_path.write_bytes(b"other")
    row = row_of(Task(str(bundle.path), quick))
    assert (row.status, row.exit_code) == ("failed", 2)
    assert "net.onnx" in row.reason
    assert "sha256" in row.reason


def test_a_bundle_is_described_with_the_distribution_that_its_runtime_comes_from_and_its_planned_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, runner: Runner
) -> None:
    bundle = write_onnx_bundle(tmp_path / "bundle")
    runner.arena_bytes = 4096
    loaded = SimpleNamespace(runner=runner, module=None, bundle=bundle)
    monkeypatch.setattr(loading, "load_predictor", lambda source, threads: loaded)
    monkeypatch.setattr(worker, "tool_of", lambda module: Tool(f"{module}-gpu", "1.23.0"))
    described = load_subject(str(bundle.path), 1).describe()
    assert described.runtime == "onnxruntime-gpu 1.23.0"
    assert (described.scalar_bytes, described.arena_bytes) == (4, 4096)
