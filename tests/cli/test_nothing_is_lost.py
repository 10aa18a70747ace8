"""What stands on disk stays whole: where output exists, where the disk fills up, and after Ctrl-C."""

from __future__ import annotations

import errno
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
from cli_calls import BRIEF, call_cli, done, process_environment, refused

from lawder_edge.bundle.store import open_bundle
from lawder_edge.files import write_file
from lawder_edge.models import create_model
from lawder_edge.targets import onnx
from lawder_edge.training.checkpoint import fingerprint, read_tensors, read_weights, save_weights
from lawder_edge.training.record import WeightsRecord


def _everything_below(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@contextmanager
def _files_end_at(size_bytes: int) -> Iterator[None]:
    """No file of this process grows beyond that: what `ulimit -f` sets. As on a full disk, a write fails."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A disk that is full once `flushes_left` files were flushed."""
    state = SimpleNamespace(flushes_left=10**9)
    flush = os.fsync

    def fsync(descriptor: int) -> None:
        if not state.flushes_left:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        state.flushes_left -= 1
        flush(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    return state


def test_a_run_is_not_overwritten(trained: Path, pairs: Path) -> None:
    before = _everything_below(trained)
    refused(call_cli(["train", "--data", pairs, "--out", trained, *BRIEF]), str(trained), "--resume", "--overwrite")
    assert _everything_below(trained) == before


def test_weights_without_their_run_are_not_resumed_over(trained: Path, pairs: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    shutil.copy(trained / "best.safetensors", run)
    before = _everything_below(run)
    refused(call_cli(["train", "--data", pairs, "--out", run, *BRIEF, "--resume"]), "without the last.safetensors")
    assert _everything_below(run) == before


def test_resuming_and_overwriting_at_once_is_refused(trained: Path, pairs: Path) -> None:
    before = _everything_below(trained)
    refused(call_cli(["train", "--data", pairs, "--out", trained, *BRIEF, "--resume", "--overwrite"]), "Give one")
    assert _everything_below(trained) == before


def test_a_run_that_is_overwritten_takes_only_its_own_files_along(pairs: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    done(["train", "--data", pairs, "--out", run, *BRIEF])
    (run / "notes.txt").write_text("precious")
    first = read_tensors(run / "last.safetensors")
    done(["train", "--data", pairs, "--out", run, *BRIEF, "--seed", 1, "--overwrite"])
    assert fingerprint(read_tensors(run / "last.safetensors")[0]) != fingerprint(first[0])
    assert (run / "notes.txt").read_text() == "precious"


def test_a_data_error_comes_before_an_earlier_run_is_removed(trained: Path, pairs: Path, tmp_path: Path) -> None:
    run = shutil.copytree(trained, tmp_path / "run", ignore=shutil.ignore_patterns("cache"))
    before = _everything_below(run)
    (pairs / "images" / "p2.png").write_bytes(b"")
    refused(call_cli(["train", "--data", pairs, "--out", run, *BRIEF, "--overwrite"]), "p2.png")
    assert _everything_below(run) == before


def test_a_teacher_that_cannot_teach_is_told_before_an_earlier_run_is_removed(
    trained: Path, pairs: Path, tmp_path: Path
) -> None:
    run = shutil.copytree(trained, tmp_path / "run", ignore=shutil.ignore_patterns("cache"))
    before = _everything_below(run)
    teacher = tmp_path / "teacher.safetensors"
    save_weights(teacher, create_model("mk_unet_t", num_classes=3), WeightsRecord(model="mk_unet_t", num_classes=3))
    command = ["train", "--data", pairs, "--out", run, *BRIEF, "--overwrite", "--teacher"]
    refused(call_cli([*command, teacher]), "the teacher mk_unet_t has 3 channels in and 3 classes")
    refused(call_cli([*command, trained / "best.safetensors", "--num-classes", 2]), "a student of 2 classes")
    assert _everything_below(run) == before


def test_a_run_that_failed_over_its_data_can_be_started_again(pairs: Path, tmp_path: Path) -> None:
    image = pairs / "images" / "p2.png"
    whole = image.read_bytes()
    image.write_bytes(b"")
    command = ["train", "--data", pairs, "--out", tmp_path / "run", *BRIEF]
    refused(call_cli(command), "p2.png")
    image.write_bytes(whole)
    done(command)


@pytest.mark.parametrize("verb", ["train", "predict", "export"])
def test_a_file_where_a_folder_should_go(verb: str, checkpoint: Path, pairs: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.write_text("precious")
    call = {
        "train": ["train", "--data", pairs, "--out", out, *BRIEF, "--overwrite"],
        "predict": ["predict", pairs / "images", "--model", checkpoint, "--out", out, "--overwrite"],
        "export": ["export", "--target", "onnx", "--model", checkpoint, "--out", out, "--overwrite"],
    }[verb]
    refused(call_cli(call), str(out))
    assert out.read_text() == "precious"


def test_a_bundle_is_not_overwritten(bundle: Path, checkpoint: Path) -> None:
    before = _everything_below(bundle)
    refused(call_cli(["export", "-t", "onnx", "-m", checkpoint, "--out", bundle]), str(bundle), "--overwrite")
    assert _everything_below(bundle) == before


def test_a_folder_that_is_no_bundle_is_not_overwritten_even_when_told(checkpoint: Path, pairs: Path) -> None:
    before = _everything_below(pairs)
    refused(call_cli(["export", "-t", "onnx", "-m", checkpoint, "--out", pairs, "--overwrite"]), "is no bundle")
    assert _everything_below(pairs) == before


def test_the_picture_of_a_report_is_not_overwritten(checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "b.png").write_text("precious")
    refused(call_cli(["export", "-t", "onnx", "-m", checkpoint, "--out", tmp_path / "b", "--report"]), "b.png")
    assert (tmp_path / "b.png").read_text() == "precious"
    assert not (tmp_path / "b").exists()


def test_no_mask_is_written_where_one_of_them_would_be_overwritten(
    checkpoint: Path, pairs: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "p7_overlay.png").write_text("precious")
    command = ["predict", pairs / "images", "--model", checkpoint, "--out", out]
    refused(call_cli(command), "p7_overlay.png", "--overwrite")
    assert _everything_below(out) == {"p7_overlay.png": b"precious"}
    done([*command, "--overwrite"])
    assert len(list(out.iterdir())) == 16
    assert (out / "p7_overlay.png").read_bytes() != b"precious"


def test_a_contact_sheet_is_not_overwritten(checkpoint: Path, pairs: Path, tmp_path: Path) -> None:
    sheet = tmp_path / "new" / "sheet.png"
    command = ["eval", "--model", checkpoint, "--data", pairs, "--sheet", sheet]
    done(command)
    sheet.write_text("precious")
    refused(call_cli(command), str(sheet), "--overwrite")
    assert sheet.read_text() == "precious"
    refused(call_cli([*command[:-1], tmp_path, "--overwrite"]), str(tmp_path))
    done([*command, "--overwrite"])
    assert sheet.read_text(errors="replace") != "precious"


def test_phantom_frames_replace_phantom_frames_only(pairs: Path, tmp_path: Path) -> None:
    out = tmp_path / "phantom"
    command = ["data", "phantom", "-n", 2, "--size", 32, 32, "--out"]
    done([*command, out])
    refused(call_cli([*command, out]), str(out), "--overwrite")
    done([*command, out, "--seed", 1, "--overwrite"])
    before = _everything_below(pairs)
    refused(call_cli([*command, pairs, "--overwrite"]), "is no phantom frame")
    assert _everything_below(pairs) == before


@pytest.mark.parametrize("flushes", [0, 1, 3, 5, 8])
def test_a_disk_that_fills_up_in_training_leaves_a_run_that_goes_on(
    flushes: int, disk: SimpleNamespace, pairs: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    command = [
        "train",
        "--data",
        pairs,
        "--out",
        run,
        *BRIEF,
        "--schedule",
        "32x3",
        "--checkpoint-every",
        1,
        "--val-every",
        1,
    ]
    disk.flushes_left = flushes
    refused(call_cli(command), str(run), "No space left", "unchanged")
    kept = {p.name for p in run.iterdir()}
    assert not [name for name in kept if name.endswith(".tmp")]
    for name in kept & {"last.safetensors", "best.safetensors"}:
        assert read_tensors(run / name)[0]
    disk.flushes_left = 10**9
    done([*command, "--resume"])
    whole = tmp_path / "whole"
    done([*command[:4], whole, *command[5:]])
    for name in ("last.safetensors", "best.safetensors"):
        assert fingerprint(read_tensors(run / name)[0]) == fingerprint(read_tensors(whole / name)[0])


def test_a_disk_without_room_for_the_decoded_pictures(pairs: Path, tmp_path: Path) -> None:
    with _files_end_at(100_000):
        said = call_cli(["train", "--data", pairs, "--out", tmp_path / "run", *BRIEF])
    refused(said, str(tmp_path / "run" / "cache"), "cannot be written")
    done(["train", "--data", pairs, "--out", tmp_path / "run", *BRIEF])


def test_a_disk_without_room_for_the_weights_keeps_the_old_ones(trained: Path, phantom: Path, tmp_path: Path) -> None:
    run = shutil.copytree(trained, tmp_path / "run")
    before = (run / "best.safetensors").read_bytes()
    recipe = read_weights(run / "best.safetensors")[1].recipe
    config = tmp_path / "recipe.toml"
    config.write_text("\n".join(f"{k} = {json.dumps(v)}" for k, v in json.loads(recipe).items()))
    command = ["train", "--data", phantom, "--out", run, "--config", config, "--resume", "--cpu"]
    # The run is complete, so that resuming it only writes its threshold again.
    with _files_end_at(50_000):
        refused(call_cli(command), "best.safetensors", "File too large")
    assert (run / "best.safetensors").read_bytes() == before
    done(command)
    (tensors, record), (old, old_record) = (read_weights(f / "best.safetensors") for f in (run, trained))
    assert fingerprint(tensors) == fingerprint(old)
    assert record == old_record


@pytest.mark.parametrize("size_bytes", [1_000, 100_000])
def test_a_disk_that_fills_up_in_an_export_keeps_the_old_bundle(
    size_bytes: int, bundle: Path, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = shutil.copytree(bundle, tmp_path / "bundle")
    before = _everything_below(old)

    def export(program: object, spec: object, out: Path) -> None:
        write_file(out, bytes(200_000))

    # The exporter itself takes 10 s and is not what is tried here.
    monkeypatch.setattr(onnx, "export", export)
    with _files_end_at(size_bytes):
        said = call_cli(["export", "-t", "onnx", "-m", checkpoint, "--out", old, "--overwrite"])
    refused(said, ".onnx", "File too large", "unchanged")
    assert _everything_below(old) == before
    assert [p.name for p in tmp_path.iterdir()] == ["bundle"]
    open_bundle(old)


def test_a_disk_that_fills_up_keeps_the_old_certificate(
    bundle: Path, checkpoint: Path, phantom: Path, tmp_path: Path, disk: SimpleNamespace
) -> None:
    old = shutil.copytree(bundle, tmp_path / "bundle")
    before = _everything_below(old)
    disk.flushes_left = 0
    given = ["--data", phantom, "--limit", 2]
    refused(call_cli(["verify", old, "--model", checkpoint, *given]), "certificate.json", "No space left")
    assert _everything_below(old) == before


def test_a_disk_that_fills_up_keeps_old_masks(
    checkpoint: Path, pairs: Path, tmp_path: Path, disk: SimpleNamespace
) -> None:
    out = tmp_path / "out"
    command = ["predict", pairs / "images", "--model", checkpoint, "--out", out, "--overwrite"]
    done(command)
    before = _everything_below(out)
    disk.flushes_left = 0
    refused(call_cli([*command, "--threshold", 0.01]), "p0_mask.png", "No space left")
    assert _everything_below(out) == before


SLOW_NETWORK = """
import os, time
from torch import nn

class Net(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Conv2d(3, 4, 3, padding=1), nn.Dropout(0.2), nn.ReLU(), nn.Conv2d(4, 1, 1))

    def forward(self, x):
        if self.training and "SLOW" in os.environ:
            time.sleep(0.3)
        return super().forward(x)
"""


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_keeps_the_run_and_it_can_be_finished(
    number: int, pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "slow_network.py").write_text(SLOW_NETWORK)
    run, whole = tmp_path / "run", tmp_path / "whole"
    command = [
        "train", "--data", pairs, *BRIEF, "--model", "slow_network:Net", "--schedule", "32x8", "--batch", 3,
        "--checkpoint-every", 1, "--val-every", 4, "--out",
    ]  # fmt: skip
    process = subprocess.Popen(
        [sys.executable, "-m", "lawder_edge", *map(str, command), str(run)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**process_environment(tmp_path), "SLOW": "1"},
    )  # fmt: skip
    try:
        until = time.monotonic() + 120
        while not (run / "last.safetensors").exists() and process.poll() is None and time.monotonic() < until:
            time.sleep(0.05)
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130, err
    assert out == ""
    assert "Traceback" not in err
    assert f"{run / 'last.safetensors'}: kept; go on with --resume\ninterrupted\n" in err
    assert read_tensors(run / "last.safetensors")[0]

    monkeypatch.syspath_prepend(tmp_path)
    done([*command, run, "--resume"])
    done([*command, whole])
    for name in ("last.safetensors", "best.safetensors"):
        assert fingerprint(read_tensors(run / name)[0]) == fingerprint(read_tensors(whole / name)[0])
