"""Quantised weights: how they are made, kept and read."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from lawder_edge.errors import BadCheckpoint, BadInput
from lawder_edge.models import MODELS
from lawder_edge.models.deploy import to_deploy
from lawder_edge.quantization.checkpoint import is_quantized, read_quantized, write_quantized
from lawder_edge.quantization.network import QuantizedNetwork
from lawder_edge.quantization.qat import distillation
from lawder_edge.quantization.recipe import QatOptions
from lawder_edge.quantization.run import calibration_images, ranges_said, recipe_of, run_ptq, run_qat
from lawder_edge.training.checkpoint import fingerprint, read_tensors, read_weights, save_weights, write_tensors
from lawder_edge.training.config import Progress
from lawder_edge.training.prepare import PreparedRun
from lawder_edge.weights import LoadedModel, load_model

OPTIONS = QatOptions(size=32, passes=2, batch=4, learning_rate=1e-2, calibration=8, checkpoint_every=2)


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def test_ranges_alone_give_quantised_weights_and_a_report(
    loaded: LoadedModel, run: PreparedRun, tmp_path: Path
) -> None:
    dice = run_ptq(loaded.module, loaded.record, run=run, options=OPTIONS, out=tmp_path)
    assert dice > 0.6
    found = read_quantized(tmp_path / "best.safetensors")
    assert found.scales.weight_bits == 7
    assert fingerprint(found.tensors) == fingerprint(dict(to_deploy(loaded.module).state_dict()))
    report = json.loads((tmp_path / "calibration.json").read_text())
    assert report["images"] == 8
    first = report["tensors"][0]
    assert (first["key"], first["low"], first["high"]) == ("input", -1.0, pytest.approx(127 / 128))
    assert len(report["tensors"]) == len(found.scales.tensors)


def test_fine_tuning_keeps_what_was_learnt_and_what_it_was_learnt_from(
    loaded: LoadedModel, run: PreparedRun, tmp_path: Path
) -> None:
    result = run_qat(loaded.module, loaded.record, run=run, options=OPTIONS, out=tmp_path, resume=False, cpu=True)
    assert result.best_dice > 0.6
    found = read_quantized(result.weights)
    assert found.record.train_ids == run.train.ids
    assert found.record.model == "unet"
    assert (tmp_path / "calibration.json").is_file()
    # What is read back computes what was chosen on validation.
    network = load_model(str(result.weights)).computed
    assert isinstance(network, QuantizedNetwork)
    with torch.no_grad():
        logits = network(torch.from_numpy((run.val.images.astype(np.float32) - 128) / 128).permute(0, 3, 1, 2))
    step = found.scales.tensors[-1].scale
    assert torch.allclose(logits / step, (logits / step).round(), atol=1e-3)


def test_a_report_names_the_lists_of_its_pictures(loaded: LoadedModel, run: PreparedRun, tmp_path: Path) -> None:
    listed = dataclasses.replace(run, splits=("train.txt", "more.txt"))
    options = dataclasses.replace(OPTIONS, passes=1)
    reports = {}
    for name, given in (("all", run), ("ptq", listed), ("qat", listed)):
        out = tmp_path / name
        out.mkdir()
        if name == "qat":
            run_qat(loaded.module, loaded.record, run=given, options=options, out=out, resume=False, cpu=True)
        else:
            run_ptq(loaded.module, loaded.record, run=given, options=options, out=out)
        reports[name] = json.loads((out / "calibration.json").read_text())["splits"]
    assert reports == {"all": [], "ptq": ["train.txt", "more.txt"], "qat": ["train.txt", "more.txt"]}


def test_ranges_are_told_in_one_line(loaded: LoadedModel, run: PreparedRun, tmp_path: Path) -> None:
    run_ptq(loaded.module, loaded.record, run=run, options=OPTIONS, out=tmp_path)
    tensors = json.loads((tmp_path / "calibration.json").read_text())["tensors"]
    said = ranges_said(tmp_path)
    assert f"ranges of {len(tensors)} tensors" in said
    spans = {t["key"]: t["high"] - t["low"] for t in tensors}
    smallest, largest = (choose(spans, key=lambda key: spans[key]) for choose in (min, max))
    assert 0 < said.index(f"({smallest})") < said.index(f"({largest})")
    assert said.endswith(f"each is in {tmp_path / 'calibration.json'}")


def test_quantised_weights_remember_what_the_float_weights_had_seen(
    loaded: LoadedModel, other_run: PreparedRun, tmp_path: Path
) -> None:
    run = other_run
    before = dataclasses.replace(loaded.record, train_groups=("patient0",), val_groups=("patient1",))
    remembering = dataclasses.replace(loaded, record=before)
    for name in ("qat", "ptq"):
        (tmp_path / name).mkdir()
    run_qat(
        remembering.module, remembering.record, run=run, options=OPTIONS, out=tmp_path / "qat", resume=False, cpu=True
    )
    run_ptq(remembering.module, remembering.record, run=run, options=OPTIONS, out=tmp_path / "ptq")
    calibrating = calibration_images(run.train, size=32, count=OPTIONS.calibration)[1]
    for name, fitted in (("qat", run.train.ids), ("ptq", calibrating)):
        record = read_quantized(tmp_path / name / "best.safetensors").record
        assert record.train_ids == (*before.train_ids, *fitted)
        assert record.val_ids == (*before.val_ids, *run.val.ids)
        assert (record.train_groups, record.val_groups) == (("patient0", "patient2"), ("patient1", "patient3"))


def test_a_killed_fine_tuning_goes_on_as_if_nothing_had_been(
    loaded: LoadedModel, run: PreparedRun, tmp_path: Path
) -> None:
    class KilledError(Exception):
        pass

    def kill(p: Progress) -> None:
        if p.step == 3:
            raise KilledError

    for name in ("whole", "killed"):
        (tmp_path / name).mkdir()
    run_qat(loaded.module, loaded.record, run=run, options=OPTIONS, out=tmp_path / "whole", resume=False, cpu=True)
    with pytest.raises(KilledError):
        run_qat(
            loaded.module,
            loaded.record,
            run=run,
            options=OPTIONS,
            out=tmp_path / "killed",
            resume=False,
            on_step=kill,
            cpu=True,
        )
    run_qat(loaded.module, loaded.record, run=run, options=OPTIONS, out=tmp_path / "killed", resume=True, cpu=True)
    for name in ("best.safetensors", "last.safetensors"):
        whole, killed = (fingerprint(read_tensors(tmp_path / run / name)[0]) for run in ("whole", "killed"))
        assert whole == killed
    with pytest.raises(BadCheckpoint, match="weight_bits was 7, now 8"):
        run_qat(
            loaded.module, loaded.record, run=run, options=dataclasses.replace(OPTIONS, weight_bits=8),
            out=tmp_path / "killed", resume=True, cpu=True,
        )  # fmt: skip


def test_the_teacher_costs_nothing_where_both_agree() -> None:
    logits = torch.randn(2, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    assert float(distillation(logits, logits)) == pytest.approx(0, abs=1e-6)
    assert float(distillation(logits + 1, logits)) > 0.01
    several = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    assert float(distillation(several, several)) == pytest.approx(0, abs=1e-6)
    assert float(distillation(several.flip(1), several)) > 0.01


def test_calibration_images_are_spread_over_the_list(run: PreparedRun) -> None:
    images, ids = calibration_images(run.train, size=64, count=3)
    assert images.shape == (3, 64, 64, 3)
    assert ids == ("tiny/0_0", "tiny/0_5", "tiny/0_11")
    assert len(calibration_images(run.train, size=32, count=99)[1]) == 12


def test_files_of_two_kinds_are_told_apart(loaded: LoadedModel, run: PreparedRun, tmp_path: Path) -> None:
    run_ptq(loaded.module, loaded.record, run=run, options=OPTIONS, out=tmp_path)
    quantised, plain = tmp_path / "best.safetensors", tmp_path / "float.safetensors"
    save_weights(plain, loaded.module, loaded.record)
    assert is_quantized(quantised)
    assert not is_quantized(plain)
    with pytest.raises(BadCheckpoint, match="these weights are not quantised"):
        read_quantized(plain)
    with pytest.raises(BadCheckpoint, match="format 'lawder-edge-quantized-1'"):
        read_weights(quantised)
    with pytest.raises(BadInput, match="quantised already"):
        recipe_of(load_model(str(quantised)).computed, loaded.record, options=OPTIONS)


@pytest.mark.parametrize("name", [name for name, model in MODELS.items() if model.float_only])
def test_a_model_that_stays_in_floating_point_is_not_quantised(name: str, loaded: LoadedModel) -> None:
    record = dataclasses.replace(loaded.record, model=name)
    with pytest.raises(BadInput, match=f"{name} stays in floating point"):
        recipe_of(loaded.module, record, options=OPTIONS)


@pytest.mark.parametrize("scales", ["{}", "no json", '{"weight_bits": 7, "tensors": [{"key": "a"}]}'])
def test_a_header_without_scales_is_refused(scales: str, loaded: LoadedModel, run: PreparedRun, tmp_path: Path) -> None:
    run_ptq(loaded.module, loaded.record, run=run, options=OPTIONS, out=tmp_path)
    path = tmp_path / "best.safetensors"
    tensors, header = read_tensors(path)
    write_tensors(path, tensors, {**header, "scales": scales})
    with pytest.raises(BadCheckpoint, match="does not say its scales"):
        read_quantized(path)


def test_scales_of_another_network_are_refused(loaded: LoadedModel, run: PreparedRun, tmp_path: Path) -> None:
    run_ptq(loaded.module, loaded.record, run=run, options=OPTIONS, out=tmp_path)
    found = read_quantized(tmp_path / "best.safetensors")
    fewer = dataclasses.replace(found.scales, tensors=found.scales.tensors[:-1])
    write_quantized(tmp_path / "fewer.safetensors", dataclasses.replace(found, scales=fewer))
    network = load_model(str(tmp_path / "fewer.safetensors")).computed
    with pytest.raises(BadInput, match="no scale for head:conv2d"):
        network(torch.zeros(1, 3, 32, 32))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"weight_bits": 3}, "weight_bits is 3"),
        ({"teacher": 1.5}, "teacher is 1.5"),
        ({"calibration": 0}, "calibration is 0"),
        ({"size": 100}, "multiples of 32"),
        ({"passes": 0}, "256x0|SIZExPASSES|passes"),
    ],
)
def test_an_option_that_makes_no_sense_is_named(changes: dict[str, object], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        dataclasses.replace(OPTIONS, **changes).recipe(model="unet", in_channels=3, num_classes=1)  # type: ignore[arg-type]
