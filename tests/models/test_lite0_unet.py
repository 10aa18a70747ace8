"""The teacher's network."""

from __future__ import annotations

import pytest
import torch

from lawder_edge.models import create_model
from lawder_edge.models.lite0 import Lite0Trunk
from lawder_edge.training.config import TrainConfig
from lawder_edge.training.pretrained import fill_lite0, load_lite0
from lawder_edge.training.trainee import FloatTrainee


def test_the_pyramid_halves_at_each_level() -> None:
    found = Lite0Trunk().pyramid(torch.zeros(1, 3, 64, 96))
    assert [f.shape[2:] for f in found] == [(32, 48), (16, 24), (8, 12), (4, 6), (2, 3)]
    assert tuple(f.shape[1] for f in found) == Lite0Trunk.widths


@pytest.mark.parametrize(("channels", "classes"), [(3, 1), (1, 2)])
def test_logits_come_at_full_resolution(channels: int, classes: int) -> None:
    model = create_model("lite0_unet", in_channels=channels, num_classes=classes).eval()
    assert model(torch.zeros(2, channels, 64, 96)).shape == (2, classes, 64, 96)


def test_training_starts_from_imagenet() -> None:
    trained = load_lite0().state_dict()
    network = FloatTrainee(TrainConfig(model="lite0_unet")).create().state_dict()
    names = [n.removeprefix("encoder.") for n in network if n.startswith("encoder.")]
    assert len(names) > 200
    assert all(torch.equal(network[f"encoder.{n}"], trained[n]) for n in names)


def test_a_grey_stem_answers_a_grey_picture_as_the_coloured_one_does() -> None:
    grey, coloured = Lite0Trunk(1).eval(), Lite0Trunk().eval()
    fill_lite0(grey)
    fill_lite0(coloured)
    x = torch.rand(1, 1, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.no_grad():
        torch.testing.assert_close(
            grey.pyramid(x)[-1], coloured.pyramid(x.repeat(1, 3, 1, 1))[-1], rtol=1e-3, atol=1e-3
        )
