"""What one step is made of: that mask, times, features and classes reach the places where they count."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from synth_samples import TINY
from torch import Tensor

from lawder_edge.synthesis.diffusion import TIMES, kept_share, noised
from lawder_edge.synthesis.draws import Draw, draw
from lawder_edge.synthesis.generator import Generator
from lawder_edge.synthesis.step import StepLoss, step_loss
from lawder_edge.synthesis.train import train
from lawder_edge.synthesis.weighter import local_error, time_bin
from lawder_edge.synthesis.weighting import Bounds, pixel_weights
from lawder_edge.training.batches import TrainData
from lawder_edge.training.checkpoint import read_tensors

LAW = dataclasses.replace(TINY, arm="law", batch=6)


class Spied:
    """A generator whose inputs and outputs are kept."""

    def __init__(self, generator: Generator) -> None:
        self._generator = generator
        self.planes = self.x0_hat = torch.empty(0)

    def __call__(self, x_t: Tensor, t: Tensor, planes: Tensor) -> Any:
        found = self._generator(x_t, t, planes)
        self.planes, self.x0_hat = planes, found.x0.detach()
        return found


def _generator(config: Any = LAW) -> Generator:
    """With a head that gives other values than 0."""
    torch.manual_seed(0)
    model = Generator(config)
    assert model.weighter is not None
    torch.nn.init.normal_(model.weighter.last.weight)
    return model


def _drawn(pictures: TrainData, config: Any = LAW) -> Draw:
    """Six pictures, two of which withhold their mask."""
    drawn = draw(pictures, config, step=0, places=range(6))
    return dataclasses.replace(drawn, shown=torch.tensor([True, False, True, True, False, True]))


def _loss(spied: Any, model: Generator, drawn: Draw, config: Any = LAW) -> StepLoss:
    return step_loss(spied, model.weighter, drawn, config, kept=kept_share(), sum_of_all=lambda v: v)


def test_a_withheld_mask_does_not_reach_the_denoiser(pictures: TrainData) -> None:
    model, drawn = _generator(), _drawn(pictures)
    spied = Spied(model)
    _loss(spied, model, drawn)
    withheld = ~drawn.shown
    assert torch.equal(spied.planes[withheld], torch.zeros_like(spied.planes[withheld]))
    lesion = drawn.labels[drawn.shown][:, None] == 1
    assert lesion.any()
    assert torch.equal(spied.planes[drawn.shown], lesion.float() * 2 - 1)


def test_noisy_times_count_as_min_snr_has_them(pictures: TrainData) -> None:
    model, drawn = _generator(), _drawn(pictures)
    spied = Spied(model)
    loss = _loss(spied, model, drawn)
    a = kept_share().double()[drawn.t]
    times = (a / (1 - a)).clamp(max=5) + 0.2
    assert float(times.max() / times.min()) > 3
    e = (spied.x0_hat - drawn.x0).double().square().mean(1, keepdim=True)
    assert float(loss.diffusion) == pytest.approx(float((times * (loss.weights * e).mean((1, 2, 3))).mean()), rel=1e-5)


def test_the_error_at_each_time_is_what_the_weighter_holds_it_against(pictures: TrainData) -> None:
    model, drawn = _generator(), _drawn(pictures)
    spied = Spied(model)
    loss = _loss(spied, model, drawn)
    e, bins = local_error(spied.x0_hat, drawn.x0), time_bin(drawn.t / TIMES)
    assert model.weighter is not None
    level = model.weighter.expected_level(drawn.t / TIMES)
    means = torch.stack([e[bins == b].mean() for b in bins])
    torch.testing.assert_close(level[:, 0, 0, 0], means)
    s = model(noised(drawn.x0, drawn.noise, kept_share()[drawn.t]), drawn.t, spied.planes).s
    by_hand = (e / means[:, None, None, None] * torch.exp(-s) + s).mean()
    torch.testing.assert_close(loss.total - loss.diffusion, by_hand, rtol=1e-4, atol=1e-5)


def test_the_map_depends_on_what_the_denoiser_sees_in_the_picture(pictures: TrainData) -> None:
    model, drawn = _generator(), _drawn(pictures)
    planes = torch.ones(6, 1, 32, 32)
    with torch.no_grad():
        maps = [model(x, drawn.t, planes).s for x in (drawn.x0, drawn.x0.flip(0))]
    assert float((maps[0] - maps[1]).abs().max()) > 0.01 * float(maps[0].abs().max())


def test_the_lesion_of_the_loss_begins_at_the_class_that_was_named(pictures: TrainData) -> None:
    config = dataclasses.replace(LAW, arm="ratio", num_classes=3, lesion_class=2)
    labels = pictures.labels.copy()
    labels[:, :, :16][labels[:, :, :16] == 1] = 2
    drawn = _drawn(dataclasses.replace(pictures, labels=labels), config)
    torch.manual_seed(0)
    model = Generator(config)
    loss = _loss(model, model, drawn, config)
    lesion = (drawn.labels == 2)[:, None] * drawn.shown[:, None, None, None]
    assert not torch.equal(lesion, (drawn.labels >= 1)[:, None])
    wanted = pixel_weights("ratio", lesion.float(), s=None, gamma=config.gamma, bounds=Bounds(0.2, 5.0))
    assert torch.equal(loss.weights, wanted)


def test_the_generator_that_is_sampled_from_holds_the_averaged_weights(tmp_path: Path, pictures: TrainData) -> None:
    result = train(LAW, pictures, out=tmp_path, cpu=True)
    saved = read_tensors(result.weights)[0]
    run = read_tensors(tmp_path / "last.safetensors")[0]
    names = [name for name in saved if name.startswith("denoiser.")]
    assert names
    assert all(torch.equal(saved[name], run[f"ema.{name.removeprefix('denoiser.')}"]) for name in names)
    differs = [not np.array_equal(saved[name], run[f"model.{name}"]) for name in names]
    assert np.mean(differs) > 0.9
