"""What one row's process does."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from lawder_edge.bench.rows import Artifact, BenchSpec, Row
from lawder_edge.bench.worker import Subject, Task, load_subject, measure_source, run_task
from lawder_edge.bundle.runner import Runner
from lawder_edge.codec import decode
from lawder_edge.errors import BadInput, Unavailable


def failing(error: Exception) -> Row:
    def load(source: str, threads: int) -> Subject:
        raise error

    return run_task(Task("x", BenchSpec(frame=(48, 64))), load)


def test_a_runner_is_measured_bare_and_with_the_whole_frame(
    runner: Runner, artifact: Artifact, quick: BenchSpec
) -> None:
    measured = measure_source(Task("fake", quick), lambda source, threads: Subject(runner, lambda: artifact))
    assert measured.artifact == artifact
    assert measured.infer.count == measured.frame.count == 3
    assert measured.size == (32, 32)
    assert measured.memory.peak_bytes > 0


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


def test_the_architecture_of_an_artifact_is_counted(runner: Runner, artifact: Artifact, quick: BenchSpec) -> None:
    measured = measure_source(Task("fake", quick), lambda source, threads: Subject(runner, lambda: artifact))
    assert measured.params == 110_385
    assert measured.macs


def test_an_architecture_that_is_not_here_leaves_the_count_blank(
    runner: Runner, artifact: Artifact, quick: BenchSpec
) -> None:
    other = dataclasses.replace(artifact, model="elsewhere:Net")
    measured = measure_source(Task("fake", quick), lambda source, threads: Subject(runner, lambda: other))
    assert (measured.params, measured.macs) == (None, None)


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
    row = run_task(Task("unet", dataclasses.replace(quick, size=(100, 128))))
    assert row.exit_code == 2
    assert "multiples of 32" in row.reason


def test_a_name_that_is_no_model_gets_the_closest_one(quick: BenchSpec) -> None:
    assert "Did you mean 'unet'" in run_task(Task("unett", quick)).reason


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
    row = run_task(Task(str(path), quick))
    assert row.measured is not None, row.reason
    assert (row.measured.artifact.model, row.measured.artifact.precision) == ("unet", "int8")
    # As in a row of float weights: of the architecture, not of its deploy form.
    assert row.measured.params == sum(p.numel() for p in model.parameters())
    assert "multiples of 32" in run_task(Task(str(path), dataclasses.replace(quick, size=(100, 64)))).reason


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


def test_a_users_own_network_is_measured_in_a_process_whose_stdout_is_one_line_of_json(
    tmp_path: Path, project_root: Path, quick: BenchSpec
) -> None:
    (tmp_path / "noisy_net.py").write_text(NOISY_NET)
    task = json.dumps(dataclasses.asdict(Task("noisy_net:Net", dataclasses.replace(quick, size=(32, 64)))))
    done = subprocess.run(
        [sys.executable, "-m", "lawder_edge.bench.worker", task],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": f"{project_root}:{tmp_path}", "OMP_NUM_THREADS": "1"},
    )
    assert done.stdout.count("\n") == 1
    assert "a library that talks" in done.stderr
    row = decode(Row, done.stdout, source="worker")
    assert row.measured is not None
    assert row.measured.params == 3 * 9 + 1
    assert row.measured.macs == 32 * 64 * 27
    assert row.measured.artifact.runtime.startswith("torch ")
    assert row.measured.infer.first_ms > 0
    assert row.measured.memory.added_bytes > 0
