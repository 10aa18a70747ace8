"""ORDER and MK-UNet as whole networks."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from lawder_edge.models import create_model
from lawder_edge.models.blocks import upsample
from lawder_edge.models.mk_order import MKOrder
from lawder_edge.models.order import Order


def randomise(model: nn.Module) -> nn.Module:
    """Weights and BatchNorm statistics as after a training, so that no branch is dead or the identity."""
    generator = torch.Generator().manual_seed(0)
    for p in model.parameters():
        p.data = 0.3 * torch.randn(p.shape, generator=generator)
    for m in model.modules():
        if isinstance(m, nn.BatchNorm2d):
            m.running_mean = 0.1 * torch.randn(m.num_features, generator=generator)
            m.running_var = 0.5 + torch.rand(m.num_features, generator=generator)
    return model.eval()


def test_the_head_below_the_upsampling_of_the_plain_reading_equals_the_head_above_it() -> None:
    model = randomise(MKOrder())
    x = torch.randn(1, 4, 16, 16)
    with torch.no_grad():
        below = model.finish(x)
        y = model.spatial_attention(model.channel_attention[4](x))
        above = model.head(upsample(F.relu(model.decoder[4](y)), 2))
    torch.testing.assert_close(below, above, rtol=1e-5, atol=1e-5)


def test_the_stem_is_a_3x3_convolution_of_2x2_pixels_in_a_channel_each() -> None:
    model = randomise(Order())
    stem = model.encoder[0][0]
    x = torch.randn(1, 3, 64, 64)
    # The kernel's pixel (2i + p, 2j + q) is tap (i, j) of the channel that holds pixel (p, q) of each 2x2.
    weight = F.pixel_unshuffle(stem.weight, 2)
    torch.testing.assert_close(stem(x), F.conv2d(F.pixel_unshuffle(x, 2), weight, padding=1), rtol=1e-5, atol=1e-5)


def test_nothing_is_computed_at_full_size_but_the_logits() -> None:
    model, sizes = randomise(Order()), []
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(lambda _m, _i, out: sizes.append(out.shape[-1]))
    with torch.no_grad():
        assert model(torch.zeros(1, 3, 64, 64)).shape[-1] == 64
    assert max(sizes) == 32


def test_the_decoder_is_shown_no_more_of_a_skip_than_is_kept() -> None:
    model = Order(widths=(12, 12, 16, 16, 16), skips=(6, 12, 8, 16))
    kept = [stage[0].in_channels - below for stage, below in zip(model.decoder, (12, 16, 16, 16), strict=True)]
    assert kept == [6, 12, 8, 16]


def test_the_token_grid_follows_the_size() -> None:
    seen: list[int] = []
    model = randomise(Order(token_stride=32))
    for adapter in model.adapters.values():
        adapter.attention_map.register_forward_hook(lambda _m, _i, out: seen.append(out.shape[-1]))
    with torch.no_grad():
        model(torch.zeros(1, 3, 256, 256))
        model(torch.zeros(1, 3, 128, 352))
    assert seen == [64] * 4 + [44] * 4


@pytest.mark.parametrize(
    ("name", "sides"), [("order", [16, 8, 4]), ("mk_order", [32, 16, 8]), ("mk_unet_t", [32, 16, 8])]
)
def test_deep_supervision_adds_outputs_of_three_stages_in_training_only(name: str, sides: list[int]) -> None:
    model: Any = create_model(name)
    model.deep_supervision = True
    outputs = model.train()(torch.zeros(2, 3, 64, 64))
    assert [tuple(o.shape[2:]) for o in outputs] == [(64, 64), *((side, side) for side in sides)]
    assert model.eval()(torch.zeros(2, 3, 64, 64)).shape == (2, 1, 64, 64)


@pytest.mark.parametrize("name", ["order", "mk_order", "mk_unet_t"])
def test_training_and_evaluation_run_the_same_function(name: str) -> None:
    """The quick training routes change no result: with BatchNorm's statistics fixed, both modes agree."""
    model = randomise(create_model(name))
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        expected = model(x)
        model.train()
        for m in model.modules():
            if isinstance(m, nn.BatchNorm2d):
                m.eval()
        got = model(x)
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4)


def test_every_parameter_but_the_auxiliary_heads_learns() -> None:
    model = randomise(Order()).train()
    model(torch.randn(2, 3, 64, 64)).square().mean().backward()
    idle = {n.split(".")[0] for n, p in model.named_parameters() if p.grad is None}
    assert idle == {"aux_heads"}
