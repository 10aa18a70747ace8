"""Bundles that are made once and kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from bundle_samples import fill

from lawder_edge.bundle.store import write_bundle
from lawder_edge.errors import BadInput, GateFailed, LawderError, Unavailable
from lawder_edge.exporting import kept
from lawder_edge.exporting.kept import Wanted
from lawder_edge.exporting.outcome import ExportOutcome
from lawder_edge.exporting.request import ExportTask


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Where bundles were exported to, by a stand-in that makes small ones."""
    folders: list[Path] = []

    def export(tasks: Sequence[ExportTask], *, on_start: Callable[[ExportTask], None]) -> tuple[ExportOutcome, ...]:
        for task in tasks:
            assert task.request.overwrite
            folders.append(task.out)
            write_bundle(task.out, fill, overwrite=True)
        return tuple(ExportOutcome(task.target, task.request.precision, "certified") for task in tasks)

    monkeypatch.setattr(kept, "export_several", export)
    return folders


def test_a_bundle_is_made_once_for_the_same_weights_target_and_precision(tmp_path: Path, made: list[Path]) -> None:
    weights = tmp_path / "w.safetensors"
    weights.write_bytes(b"one")

    def ask(target: str = "onnx", precision: str = "fp32") -> Path:
        return kept.kept_bundle(Wanted("w", weights, target, precision), cache=tmp_path / "cache")

    assert ask() == ask()
    assert len(made) == 1
    assert len({ask(), ask("tflite"), ask(precision="int8")}) == 3
    weights.write_bytes(b"two")
    assert ask() not in made[:3]


def test_of_several_bundles_those_that_are_missing_are_made_in_one_call(tmp_path: Path, made: list[Path]) -> None:
    weights = tmp_path / "w.safetensors"
    weights.write_bytes(b"one")
    wanted = [Wanted("w", weights, target, "fp32") for target in ("onnx", "openvino", "tflite")]
    first = kept.kept_bundle(wanted[1], cache=tmp_path)
    found = kept.kept_bundles(wanted, cache=tmp_path)
    assert found[1] == first
    assert made == [first, found[0], found[2]]


def test_a_damaged_bundle_is_made_again(tmp_path: Path, made: list[Path]) -> None:
    weights = tmp_path / "w.safetensors"
    weights.write_bytes(b"one")
    for _ in range(2):
        folder = kept.kept_bundle(Wanted("w", weights, "onnx", "fp32"), cache=tmp_path / "cache")
        next(folder.glob("*.onnx")).write_bytes(b"damaged")
    assert made == [folder, folder]


@pytest.mark.parametrize(("code", "error"), [(1, LawderError), (2, BadInput), (3, GateFailed), (4, Unavailable)])
def test_why_an_export_failed_is_raised_as_what_it_was(
    code: int, error: type[LawderError], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = ExportOutcome("onnx", "fp32", "failed", reason="something is wrong", exit_code=code)
    monkeypatch.setattr(kept, "export_several", lambda tasks, *, on_start: (failed,))
    (tmp_path / "w.safetensors").write_bytes(b"one")
    with pytest.raises(error, match="something is wrong") as caught:
        kept.kept_bundle(Wanted("w", tmp_path / "w.safetensors", "onnx", "fp32"), cache=tmp_path)
    assert type(caught.value) is error
