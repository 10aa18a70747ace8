"""Networks and what they are shown."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from synth_samples import TINY

from lawder_edge.errors import BadInput
from lawder_edge.synthesis.config import SynthConfig
from lawder_edge.synthesis.denoiser import mask_planes
from lawder_edge.synthesis.denoisers import create_denoiser


def test_the_small_denoiser_has_three_and_a_half_million_parameters_and_gives_its_features() -> None:
    denoiser = create_denoiser(SynthConfig())
    assert sum(p.numel() for p in denoiser.parameters()) == 3_525_536
    with torch.no_grad():
        out = denoiser(torch.randn(1, 3, 128, 128), torch.tensor([500]), torch.zeros(1, 1, 128, 128))
    assert out.x0.shape == (1, 3, 128, 128)
    assert out.features.shape == (1, denoiser.features, 32, 32)


@pytest.mark.parametrize(("channels", "classes"), [(1, 1), (3, 3)])
def test_the_picture_depends_on_noisy_picture_time_and_each_plane_of_the_mask(channels: int, classes: int) -> None:
    torch.manual_seed(0)
    config = dataclasses.replace(TINY, in_channels=channels, num_classes=classes)
    denoiser = create_denoiser(config).eval()
    x, t = torch.randn(1, channels, 32, 32), torch.tensor([500])
    planes = mask_planes(torch.zeros(1, 32, 32), num_classes=classes)
    with torch.no_grad():
        x0 = denoiser(x, t, planes).x0
        assert x0.shape == x.shape
        assert not torch.allclose(denoiser(x + 1, t, planes).x0, x0)
        assert not torch.allclose(denoiser(x, t - 400, planes).x0, x0)
        for plane in range(planes.shape[1]):
            changed = planes.clone()
            changed[:, plane] *= -1
            assert not torch.allclose(denoiser(x, t, changed).x0, x0)


def test_an_empty_mask_and_a_withheld_one_are_told_apart() -> None:
    labels = torch.zeros(2, 4, 4, dtype=torch.int64)
    planes = mask_planes(labels, num_classes=1, shown=torch.tensor([True, False]))
    assert planes[0].unique().tolist() == [-1]
    assert planes[1].unique().tolist() == [0]


def test_each_class_but_the_background_has_a_plane() -> None:
    labels = torch.tensor([[[0, 1], [2, 1]]])
    planes = mask_planes(labels, num_classes=3)
    assert planes.tolist() == [[[[-1, 1], [-1, 1]], [[-1, -1], [1, -1]]]]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"denoiser": "huge"}, "unknown denoiser 'huge'. Known: small"),
        ({"base": "sd"}, "--base sd is for --denoiser controlnet"),
        ({"size": 100}, "multiple of 8 from 16 on"),
        ({"size": 8}, "multiple of 8 from 16 on"),
        ({"widths": ()}, "widths"),
        ({"widths": (8, 15)}, "multiples of 4"),
    ],
)
def test_a_denoiser_that_cannot_be_says_why(changes: dict[str, object], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        create_denoiser(dataclasses.replace(TINY, **changes))  # type: ignore[arg-type]
