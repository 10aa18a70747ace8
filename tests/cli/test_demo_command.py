"""`lawder-edge demo` as a person calls it."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import cv2
import pytest
from cli_calls import call_cli, done, process_environment, refused, scene
from PIL import Image

from lawder_edge.exporting import kept
from lawder_edge.exporting.outcome import ExportOutcome
from lawder_edge.exporting.request import ExportTask
from lawder_edge.video import networks

SMALL = ("--size", 96, 128)


def frames_of(path: Path) -> int:
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    count = 0
    while capture.read()[0]:
        count += 1
    return count


def test_the_procedural_clip_is_written_and_reported(bundle: Path, tmp_path: Path) -> None:
    clip, report = tmp_path / "out.webm", tmp_path / "report.json"
    said = done(["demo", "--model", bundle, "--save", clip, "--frames", 8, "--report", report, *SMALL])
    assert frames_of(clip) == 8
    assert f"{clip}: written" in said.out
    assert "8 of 8 frames shown" in said.out
    found = json.loads(report.read_text())
    assert (found["captured"], found["shown"], found["dropped"], found["failures"]) == (8, 8, 0, 0)
    assert found["capture_to_display"]["count"] == 8
    assert found["infer"]["p50_ms"] > 0
    assert found["written"] == [str(clip)]


def test_the_same_seed_draws_the_same_clip(bundle: Path, tmp_path: Path) -> None:
    for name in ("a.avi", "b.avi"):
        done(["demo", "--model", bundle, "--save", tmp_path / name, "--frames", 4, *SMALL])
    assert (tmp_path / "a.avi").read_bytes() == (tmp_path / "b.avi").read_bytes()


def test_a_folder_is_recorded_with_masks_and_a_report_to_read(bundle: Path, tmp_path: Path) -> None:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for i in range(3):
        Image.fromarray(scene(i, height=96, width=128)).save(pictures / f"{i}.png")
    (pictures / "broken.png").write_bytes(b"")
    report = tmp_path / "report.md"
    said = done([
        "demo", "--source", pictures, "--model", bundle, "--record", tmp_path / "rec", "--report", report, "--no-judge",
    ])  # fmt: skip
    (folder,) = (tmp_path / "rec").iterdir()
    assert len((folder / "frames.jsonl").read_text().splitlines()) == 3
    assert len(list((folder / "masks").iterdir())) == 3
    assert frames_of(folder / "video.webm") == 3
    assert "1 images left out" in said.err
    assert "| missing or unreadable | 1 |" in report.read_text()


def test_two_bundles_stand_side_by_side(bundle: Path, tmp_path: Path) -> None:
    clip = tmp_path / "out.avi"
    done(["demo", "--model", bundle, "--compare", bundle, "--save", clip, "--frames", 2, *SMALL])
    assert cv2.VideoCapture(str(clip)).get(cv2.CAP_PROP_FRAME_WIDTH) == 3 * 128


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_with_whole_files(number: signal.Signals, bundle: Path, tmp_path: Path) -> None:
    clip, report = tmp_path / "out.mp4", tmp_path / "report.json"
    options = ["--model", bundle, "--save", clip, "--record", tmp_path / "rec", "--report", report, "--frames", 100000]
    running = subprocess.Popen(
        [sys.executable, "-m", "lawder_edge", "demo", *map(str, [*options, *SMALL])],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=process_environment(),
    )  # fmt: skip
    started_s = time.monotonic()
    while not any(p.stat().st_size > 200 for p in tmp_path.glob("rec/*/frames.jsonl")):
        assert running.poll() is None, running.communicate()
        assert time.monotonic() - started_s < 120
        time.sleep(0.05)
    running.send_signal(number)
    out, err = running.communicate(timeout=120)
    assert running.returncode == 0, err
    shown = json.loads(report.read_text())["shown"]
    # An MP4 cannot be opened without its end.
    assert frames_of(clip) == shown > 0
    (folder,) = (tmp_path / "rec").iterdir()
    assert frames_of(folder / "video.webm") == len((folder / "frames.jsonl").read_text().splitlines()) == shown
    assert f"{clip}: written" in out
    assert not list(tmp_path.glob(".*partial*"))


def test_what_can_only_fail_later_is_refused_at_once(bundle: Path, tmp_path: Path) -> None:
    there = tmp_path / "there.webm"
    there.write_text("precious")
    for options, words in (
        (["--save", there], "--overwrite"),
        (["--save", tmp_path / "out.gif"], ".webm"),
        (["--save", tmp_path / "a.webm", "--report", tmp_path / "r.txt"], ".json or .md"),
        (["--save", tmp_path / "a.webm", "--threshold", 1.5], "between 0 and 1"),
        (["--save", tmp_path / "a.webm", "--frames", -1], "--frames -1"),
        (["--save", tmp_path / "a.webm", "--fps", "inf"], "--fps inf"),
        (["--save", tmp_path / "a.webm", "--seed", -1], "--seed -1"),
        (["--save", tmp_path / "a.webm", "--source", tmp_path / "none.mp4"], "no such file"),
        (["--save", tmp_path / "a.webm", "--runtime", "tflite"], "bundle for onnx"),
        (["--save", tmp_path / "a.webm", "--cpu", 4096], "--cpu 4096"),
    ):
        refused(call_cli(["demo", "--model", bundle, *options]), words)
    assert there.read_text() == "precious"
    assert not (tmp_path / "a.webm").exists()


def test_without_a_display_and_without_a_file_it_says_what_else_there_is(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("tkinter", reason="this Python has no Tk")
    monkeypatch.delenv("DISPLAY", raising=False)
    refused(call_cli(["demo", "--model", bundle, *SMALL]), "no display", "--serve", "--save", code=4)


def test_a_model_name_is_exported_once_and_again_when_the_cache_is_damaged(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exported: list[str] = []

    def export(tasks: Sequence[ExportTask], **options: object) -> tuple[ExportOutcome, ...]:
        (task,) = tasks
        exported.append(task.target)
        shutil.copytree(bundle, task.out, dirs_exist_ok=True)
        return (ExportOutcome(task.target, task.request.precision, "certified"),)

    monkeypatch.setattr(kept, "export_several", export)
    for _ in range(2):
        network = networks.open_network("order", runtime="onnx", cache=tmp_path)
        assert network.name == "order fp32 onnx"
    assert exported == ["onnx"]
    (folder,) = tmp_path.iterdir()
    next(folder.glob("*.onnx")).write_bytes(b"damaged")
    networks.open_network("order", cache=tmp_path)
    assert exported == ["onnx", "onnx"]


def test_a_model_name_runs_in_pytorch_where_that_is_asked_for_or_nothing_else_is_here(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert networks.open_network("order", runtime="torch").name == "order fp32 torch"
    monkeypatch.setattr(networks, "_missing", lambda name: ("onnxruntime",))
    assert networks.open_network("order").runtime == "torch"
    refused(call_cli(["demo", "--runtime", "onnx", "--save", "x.webm"]), "onnxruntime, not installed", code=4)
