from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bundle_samples import fill

from lawder_edge import weights
from lawder_edge.bench.machine import describe_machine
from lawder_edge.bench.rows import BenchReport, BenchSpec, Noise, Row
from lawder_edge.bundle.manifest import Manifest
from lawder_edge.bundle.store import Bundle, write_bundle
from lawder_edge.cli import export as command
from lawder_edge.cli import export_table
from lawder_edge.cli.main import run
from lawder_edge.errors import BadInput
from lawder_edge.exporting import isolated, outcome
from lawder_edge.exporting import report as costs
from lawder_edge.exporting.export import export_bundle
from lawder_edge.exporting.outcome import ExportOutcome
from lawder_edge.models import create_model
from lawder_edge.targets.registry import ExportSpec
from lawder_edge.training.checkpoint import save_weights
from lawder_edge.training.record import WeightsRecord

CERTIFIED = ExportOutcome("onnx", "fp32", "certified", bundle="b", file="b.onnx")


def test_what_a_target_said_of_its_file_is_told() -> None:
    row = replace(CERTIFIED, reason="unverified", remarks=("no package",))
    assert export_table.remarks(row) == ("onnx: unverified", "onnx: no package")


def test_a_row_of_masks_has_no_logit_difference() -> None:
    row = replace(CERTIFIED, mask_dice_mean=1.0, mask_dice_worst=0.99)
    assert export_table.cells(row)[-3:] == ("1.00000", "0.99000", "-")


@pytest.mark.parametrize(("status", "code"), [("failed", 1), ("unavailable", 4)])
def test_a_report_tells_what_could_not_be_measured_and_fails(
    status: Any, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = (Row("order", status, "out of memory", code), Row("b", status, "out of patience", code))
    noise = Noise(busy_percent=1.0, p50_ms=1.0, p95_ms=1.0, count=1, mhz=(), throttled=None)
    report = BenchReport(describe_machine(), BenchSpec(), noise, None, rows, (), ())
    monkeypatch.setattr(costs, "bench", lambda *args, **options: report)
    monkeypatch.setattr(outcome, "export_verified", lambda *args, **options: CERTIFIED)
    monkeypatch.setattr(costs, "masks_of_bundle", lambda *args, **options: np.zeros((4, 4, 3), np.uint8))
    assert run(["export", "-t", "onnx", "--out", str(tmp_path / "b"), "--report"]) == code
    said = capsys.readouterr().out
    assert f"order: not measured ({status}): out of memory" in said
    assert f"b: not measured ({status}): out of patience" in said


def test_an_export_that_failed_is_not_hidden_by_its_measurement(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = ExportOutcome("onnx", "fp32", "rejected", reason="other masks", exit_code=3)
    monkeypatch.setattr(isolated, "export_isolated", lambda task, **options: failed)
    monkeypatch.setattr(command, "_report", lambda *args: 1)
    assert run(["export", "-t", "all", "--out", str(tmp_path / "b"), "--report"]) == 3


@pytest.fixture
def carried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package that carries weights for two sides."""
    folder = tmp_path / "carried"
    folder.mkdir()
    monkeypatch.setattr(weights, "BUNDLED", folder)
    for stem, size in (("mk_unet_t", 256), ("mk_unet_t_64", 64)):
        save_weights(folder / f"{stem}.safetensors", create_model("mk_unet_t"), WeightsRecord("mk_unet_t", size=size))
    return folder


def test_a_bundle_of_carried_weights_for_a_side_is_held_against_them(carried: Path, tmp_path: Path) -> None:
    loaded = weights.load_model("mk_unet_t_64")
    bundle = export_bundle(
        loaded.module, target="onnx", spec=ExportSpec(size=(64, 64)), weights_info=loaded.info(), out=tmp_path / "b"
    )
    assert outcome.source_model(bundle).sha256 == loaded.sha256
    (carried / "mk_unet_t_64.safetensors").unlink()
    with pytest.raises(BadInput, match=f"exported from weights {loaded.sha256[:8]}, but mk_unet_t has"):
        outcome.source_model(bundle)


def bundle_of(model: str, folder: Path) -> Bundle:
    """A bundle whose manifest names `model`."""

    def build(at: Path) -> Manifest:
        found = fill(at)
        return replace(found, model=model, weights=replace(found.weights, model=model))

    return write_bundle(folder / "b", build)


@pytest.mark.parametrize("name", ["evilmod:Net", "evilmod:Net=w.safetensors"])
def test_the_name_in_a_manifest_imports_no_code(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "evilmod.py").write_text("from pathlib import Path\nPath(__file__).with_name('imported').touch()\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    bundle = bundle_of(name, tmp_path)
    with pytest.raises(BadInput, match=f"must not make run.*name it and its weights: --model {name}=CHECKPOINT"):
        outcome.source_model(bundle)
    assert not (tmp_path / "imported").exists()


@pytest.mark.parametrize("name", ["unet", "../unet", "/unet", "**unet", ""])
def test_weights_that_are_not_carried_are_asked_for(name: str, carried: Path, tmp_path: Path) -> None:
    assert carried.is_dir()
    with pytest.raises(BadInput, match=r"of which the package carries none.*: --model CHECKPOINT$"):
        outcome.source_model(bundle_of(name, tmp_path))


def test_a_file_that_a_manifest_names_is_not_read(carried: Path, tmp_path: Path) -> None:
    file = carried / "mk_unet_t.safetensors"
    with pytest.raises(BadInput, match="of which the package carries none"):
        outcome.source_model(bundle_of(str(file), tmp_path))


@pytest.mark.parametrize(
    ("size", "said"),
    [
        (None, None),
        ((256, 256), None),
        ((224, 160), None),
        ((64, 64), "take --model mk_unet_t_64"),
        ((128, 64), "train and quantise at the size"),
    ],
)
def test_a_file_for_much_smaller_pictures_than_were_learnt_is_remarked_on(
    size: tuple[int, int] | None, said: str | None, carried: Path
) -> None:
    record = WeightsRecord("mk_unet_t", size=256, train_ids=("a/1",))
    remark = outcome.smaller_than_learnt(size, record)
    assert remark is None if said is None else said in str(remark)
    assert outcome.smaller_than_learnt((64, 64), replace(record, size=64)) is None
    assert outcome.smaller_than_learnt((64, 64), replace(record, train_ids=())) is None
