"""Blocks of MK-UNet."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from lawder_edge.models.blocks import channel_shuffle, depthwise, paired, upsample


@pytest.mark.parametrize("kernel", [1, 3, 5])
def test_the_training_route_of_a_depthwise_convolution_equals_the_convolution(kernel: int) -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(6, 6, kernel, padding=kernel // 2, groups=6, bias=False)
    x = torch.randn(3, 6, 9, 11, requires_grad=True)
    expected, got = conv(x), depthwise(x, conv.weight)
    torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-5)
    seed = torch.randn_like(expected)
    want = torch.autograd.grad(expected, [x, conv.weight], seed)
    have = torch.autograd.grad(got, [x, conv.weight], seed)
    for a, b in zip(have, want, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


def test_the_training_route_of_a_paired_convolution_equals_the_convolution() -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(8, 4, 3, padding=1, groups=4)
    x = torch.randn(3, 8, 9, 11, requires_grad=True)
    expected, got = conv(x), paired(x, conv)
    torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-5)
    seed = torch.randn_like(expected)
    parameters = [x, conv.weight, conv.bias]
    for a, b in zip(
        torch.autograd.grad(got, parameters, seed), torch.autograd.grad(expected, parameters, seed), strict=True
    ):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


def test_the_shuffle_moves_channel_g_times_n_plus_i_to_i_times_groups_plus_g() -> None:
    x = torch.arange(6.0).view(1, 6, 1, 1)
    assert channel_shuffle(x, 2).flatten().tolist() == [0, 3, 1, 4, 2, 5]


def test_upsampling_is_bilinear_at_half_pixel_centres() -> None:
    x = torch.tensor([[[[0.0, 4.0]]]])
    assert upsample(x, 2)[0, 0, 0].tolist() == [0.0, 1.0, 3.0, 4.0]
    assert torch.equal(upsample(x, 4), F.interpolate(x, scale_factor=4.0, mode="bilinear", align_corners=False))
