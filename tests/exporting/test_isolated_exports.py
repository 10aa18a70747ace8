"""Exports in processes of their own."""

from __future__ import annotations

import json
import subprocess
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import pytest

from lawder_edge.codec import decode
from lawder_edge.errors import BadInput, GateFailed, LawderError, Unavailable
from lawder_edge.exporting import isolated, worker
from lawder_edge.exporting.isolated import export_isolated, export_several, in_turns
from lawder_edge.exporting.outcome import ExportOutcome
from lawder_edge.exporting.request import ExportRequest, ExportTask
from lawder_edge.targets.engine import EngineOptions
from lawder_edge.targets.registry import get_target, targets

CERTIFIED = ExportOutcome("onnx", "fp32", "certified", bundle="b", file="b.onnx")


@pytest.fixture
def task(tmp_path: Path) -> ExportTask:
    return ExportTask("onnx", ExportRequest(), tmp_path)


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Let the export's process end with this output."""

    def place(stdout: str, *, stderr: str = "", code: int = 0) -> None:
        ended = subprocess.CompletedProcess((), code, stdout, stderr)
        monkeypatch.setattr(subprocess, "run", lambda *args, **options: ended)

    return place


def test_an_answer_after_a_toolchains_chatter_is_found(answers: Any, task: ExportTask) -> None:
    answers("converting ...\n" + json.dumps(asdict(CERTIFIED)) + "\n")
    assert export_isolated(task) == CERTIFIED


@pytest.mark.parametrize(
    "stdout", ["converting ...\n", "{", "[1]", "3", '{"target": "onnx"}', '{"unknown": 1}', "\n\n"]
)
def test_an_answer_that_is_none_is_a_failed_row(stdout: str, answers: Any, task: ExportTask) -> None:
    answers(stdout)
    row = export_isolated(task)
    assert (row.status, row.exit_code, row.target) == ("failed", 1, "onnx")
    assert row.reason


ALONE = "Export it alone, which has no time limit, to see its output: --target onnx --precision fp32"


@pytest.mark.parametrize(
    ("code", "how"),
    [(-11, "was killed by SIGSEGV"), (134, "ended with exit code 134"), (0, "ended without a result")],
)
def test_a_process_that_dies_tells_how_and_its_last_words_and_what_to_do(
    code: int, how: str, answers: Any, task: ExportTask
) -> None:
    answers("", stderr="loading\nINFO: Created a delegate for CPU.\n", code=code)
    row = export_isolated(task)
    assert (row.status, row.exit_code) == ("failed", 1)
    assert row.reason == f"its process {how}. Its last words: INFO: Created a delegate for CPU. {ALONE}"
    answers("", code=code)
    assert export_isolated(task).reason == f"its process {how}. {ALONE}"


def test_a_target_that_takes_too_long_is_a_failed_row_of_its_precision(
    task: ExportTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    def hang(words: list[str], *, timeout: float, **options: object) -> None:
        raise subprocess.TimeoutExpired(words, timeout)

    monkeypatch.setattr(subprocess, "run", hang)
    row = export_isolated(replace(task, request=ExportRequest(precision="int8")), timeout_s=5)
    assert (row.precision, row.status, row.reason) == (
        "int8",
        "failed",
        f"no result after 5 s, given up. {ALONE.replace('fp32', 'int8')}",
    )


OFF_DEFAULTS = {
    "model": "unet",
    "name": "mine",
    "size": (64, 96),
    "dynamic_batch": True,
    "precision": "int8",
    "opset": 18,
    "threshold": 0.25,
    "data": Path("polyps"),
    "split": (Path("a.txt"), Path("b.txt")),
    "limit": 7,
    "skip_bad": True,
    "card": Path("card.md"),
    "overwrite": True,
    "output": "mask",
    "io": "uint8",
    "ram_bytes": 262144,
}
ENGINES_OFF_DEFAULTS = (
    EngineOptions(compute=("8.9", "12.0"), profile=(64, 128, 192), workspace_mib=64),
    EngineOptions("classic", timing_cache=Path("timings"), dla_core=1, hardware_compatible=True),
)


def sent(task: ExportTask, monkeypatch: pytest.MonkeyPatch) -> ExportTask:
    """The task as its process reads it."""
    called: list[list[str]] = []

    def end(words: list[str], **options: object) -> subprocess.CompletedProcess[str]:
        called.append(words)
        return subprocess.CompletedProcess((), 0, json.dumps(asdict(CERTIFIED)), "")

    monkeypatch.setattr(subprocess, "run", end)
    export_isolated(task)
    return decode(ExportTask, called[0][-1], source="task")


@pytest.mark.parametrize("engine", ENGINES_OFF_DEFAULTS)
def test_every_option_of_a_request_reaches_its_process(
    engine: EngineOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = ExportRequest(engine=engine, **OFF_DEFAULTS)  # type: ignore[arg-type]
    assert not [f.name for f in fields(request) if getattr(request, f.name) == getattr(ExportRequest(), f.name)]
    for one in (request, ExportRequest()):
        task = ExportTask("tensorrt", one, tmp_path / "b", shared=tmp_path)
        # RAM is of c alone.
        assert sent(task, monkeypatch) == replace(task, request=replace(one, ram_bytes=None))


def test_every_option_of_an_engine_is_off_its_default_in_one_of_those_requests() -> None:
    plain = EngineOptions()
    changed = {f.name for e in ENGINES_OFF_DEFAULTS for f in fields(e) if getattr(e, f.name) != getattr(plain, f.name)}
    assert changed == {f.name for f in fields(plain)}


@pytest.mark.parametrize("target", ["onnx", "tensorrt", "tflite", "c"])
def test_of_several_targets_each_gets_the_options_that_it_reads(
    target: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = ExportRequest(opset=18, engine=EngineOptions("classic"), ram_bytes=9)
    got = sent(ExportTask(target, asked, tmp_path), monkeypatch).request
    reads = (got.opset == 18, got.engine.flavor == "classic", got.ram_bytes == 9)
    assert reads == (target in ("onnx", "tensorrt"), target == "tensorrt", target == "c")


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (BadInput("no such weights"), "failed", 2),
        (GateFailed("other masks"), "rejected", 3),
        (Unavailable("no such package"), "failed", 4),
        (LawderError("wrong"), "failed", 1),
        (OSError(28, "No space left on device", "b"), "failed", 2),
        (RuntimeError("a toolchain's own"), "failed", 1),
    ],
)
def test_whatever_goes_wrong_in_the_process_is_its_rows_reason(
    error: Exception, status: str, code: int, task: ExportTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object, **options: object) -> ExportOutcome:
        raise error

    monkeypatch.setattr(worker, "export_verified", fail)
    row = worker.outcome_of_task(task)
    assert (row.target, row.precision, row.status, row.exit_code) == ("onnx", "fp32", status, code)
    assert (error.strerror if isinstance(error, OSError) else str(error)) in row.reason


def test_several_are_told_of_share_one_folder_and_come_back_in_their_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders: set[Path | None] = set()
    started: list[str] = []

    def export(task: ExportTask, **options: object) -> ExportOutcome:
        assert task.shared is not None
        assert task.shared.is_dir()
        folders.add(task.shared)
        return ExportOutcome(task.target, task.request.precision, "certified")

    monkeypatch.setattr(isolated, "export_isolated", export)
    tasks = [ExportTask(name, ExportRequest(), tmp_path / name) for name in ("tflite", "openvino", "onnx")]
    found = export_several(tasks, on_start=lambda task: started.append(task.target))
    assert [row.target for row in found] == ["tflite", "openvino", "onnx"]
    assert sorted(started) == ["onnx", "openvino", "tflite"]
    (folder,) = folders
    assert folder is not None
    assert not folder.exists()


def test_no_two_that_follow_each_other_wait_for_the_same_form(tmp_path: Path) -> None:
    tasks = [
        ExportTask(name, ExportRequest(precision=precision), tmp_path / f"{name}-{precision}")
        for precision in ("fp32", "int8")
        for name, record in targets().items()
        if precision in record.precisions
    ]
    ordered = in_turns(tasks)
    assert sorted(ordered, key=tasks.index) == tasks
    made = [(get_target(t.target).form(t.request.precision), t.request.precision) for t in ordered]
    first = {form: made.index(form) for form in made}
    # The next of the same form starts after another export has been started and ended.
    assert all(b - first[form] >= 2 for b, form in enumerate(made) if b != first[form])
