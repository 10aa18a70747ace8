"""A training of a generator that runs into values that are no numbers."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from synth_samples import TINY

from lawder_edge.errors import BadCheckpoint, BadInput
from lawder_edge.synthesis import train as train_module
from lawder_edge.synthesis.generator import load_generator
from lawder_edge.synthesis.step import StepLoss, step_loss
from lawder_edge.synthesis.train import train
from lawder_edge.training.batches import TrainData
from lawder_edge.training.checkpoint import fingerprint, read_tensors, write_tensors


def _run(folder: Path) -> str:
    return fingerprint(read_tensors(folder / "last.safetensors")[0])


@pytest.mark.parametrize("bad_step", [1, 4])
def test_a_loss_that_is_no_number_stops_the_run_and_keeps_the_last_good_state(
    bad_step: int, tmp_path: Path, pictures: TrainData, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def breaking(*args: object, **more: object) -> StepLoss:
        calls.append(1)
        loss = step_loss(*args, **more)  # type: ignore[arg-type]
        return loss._replace(total=loss.total * float("nan")) if len(calls) == bad_step else loss

    config = dataclasses.replace(TINY, checkpoint_every=2)
    monkeypatch.setattr(train_module, "step_loss", breaking)
    with pytest.raises(BadInput, match=rf"the loss became nan .* at step {bad_step} .*generator\.safetensors"):
        train(config, pictures, out=tmp_path, cpu=True)
    for file in ("last.safetensors", "generator.safetensors"):
        assert all(value.isfinite().all() for value in read_tensors(tmp_path / file)[0].values())
    monkeypatch.setattr(train_module, "step_loss", step_loss)
    whole = tmp_path / "whole"
    whole.mkdir()
    train(config, pictures, out=tmp_path, cpu=True, resume=True)
    train(config, pictures, out=whole, cpu=True)
    assert _run(tmp_path) == _run(whole)


def test_a_gradient_that_is_no_number_is_not_stepped_into(
    tmp_path: Path, pictures: TrainData, monkeypatch: pytest.MonkeyPatch
) -> None:
    def steep(*args: object, **more: object) -> StepLoss:
        loss = step_loss(*args, **more)  # type: ignore[arg-type]
        # Finite itself, with an infinite slope.
        return loss._replace(total=loss.total + (loss.total - loss.total.detach()).abs().sqrt())

    monkeypatch.setattr(train_module, "step_loss", steep)
    with pytest.raises(BadInput, match=r"its gradient (nan|inf) at step 1"):
        train(TINY, pictures, out=tmp_path, cpu=True)


def test_weights_that_are_no_numbers_are_not_saved_over_the_last_good_ones(tmp_path: Path, pictures: TrainData) -> None:
    config = dataclasses.replace(TINY, learning_rate=1e38, warmup_steps=0, checkpoint_every=1)
    with pytest.raises(BadInput, match=r"at step [12] .*the last good state: --init .*generator\.safetensors"):
        train(config, pictures, out=tmp_path, cpu=True)
    for file in ("last.safetensors", "generator.safetensors"):
        assert all(value.isfinite().all() for value in read_tensors(tmp_path / file)[0].values())


def test_a_generator_of_weights_that_are_no_numbers_is_refused(tmp_path: Path, pictures: TrainData) -> None:
    file = train(dataclasses.replace(TINY, steps=1), pictures, out=tmp_path, cpu=True).weights
    tensors, header = read_tensors(file)
    name = next(name for name in tensors if name.startswith("denoiser."))
    tensors[name].view(-1)[0] = float("nan")
    write_tensors(file, tensors, header)
    with pytest.raises(BadCheckpoint, match=f"1 of its {len(tensors)} tensors hold values that are not finite, {name}"):
        load_generator(file)


@pytest.mark.parametrize(("overflows", "stops"), [(16, False), (30, True)])
def test_half_precision_whose_gradients_overflow_at_every_scale_stops_and_keeps_the_last_good_state(
    overflows: int, stops: bool, tmp_path: Path, pictures: TrainData, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Scaled(Accelerator):
        """With the loss scale of half precision, which accelerate gives to GPUs alone."""

        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            self.scaler = torch.amp.GradScaler("cpu")

    calls = []
    gradients = train_module._gradients

    def overflowing(model: torch.nn.Module, *args: Any, **more: Any) -> list[float]:
        values = gradients(model, *args, **more)
        calls.append(1)
        if len(calls) <= overflows:
            next(model.parameters()).grad.fill_(float("inf"))  # type: ignore[union-attr]
        return values

    monkeypatch.setattr(train_module, "Accelerator", Scaled)
    monkeypatch.setattr(train_module, "_gradients", overflowing)
    config = dataclasses.replace(TINY, steps=40)
    if stops:
        # 2^16, halved at every overflow.
        with pytest.raises(BadInput, match=r"overflow half precision .* at step 17 .*generator\.safetensors"):
            train(config, pictures, out=tmp_path, cpu=True)
    else:
        assert train(config, pictures, out=tmp_path, cpu=True).step == 40
    for file in ("last.safetensors", "generator.safetensors"):
        assert all(value.isfinite().all() for value in read_tensors(tmp_path / file)[0].values())
