"""ORDER and MK-UNet as whole networks."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from lawder_edge.models import create_model
from lawder_edge.models.blocks import upsample
from lawder_edge.models.mk_unet import MKUNet
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


def test_the_head_below_the_upsampling_equals_the_head_above_it() -> None:
    model = randomise(Order())
    x = torch.randn(1, 4, 16, 16)
    with torch.no_grad():
        below = model.finish(x)
        y = model.spatial_attention(model.channel_attention[4](x))
        above = model.head(upsample(F.relu(model.decoder[4](y)), 2))
    torch.testing.assert_close(below, above, rtol=1e-5, atol=1e-5)


def test_the_token_grid_follows_the_size() -> None:
    seen: list[int] = []
    model = randomise(Order(token_stride=32))
    for adapter in model.adapters.values():
        adapter.attention_map.register_forward_hook(lambda _m, _i, out: seen.append(out.shape[-1]))
    with torch.no_grad():
        model(torch.zeros(1, 3, 256, 256))
        model(torch.zeros(1, 3, 128, 352))
    assert seen == [64] * 4 + [44] * 4


@pytest.mark.parametrize("name", ["order", "mk_unet_t"])
def test_deep_supervision_adds_outputs_at_h2_h4_h8_in_training_only(name: str) -> None:
    model = create_model(name)
    assert isinstance(model, MKUNet)
    model.deep_supervision = True
    outputs = model.train()(torch.zeros(2, 3, 64, 64))
    assert [tuple(o.shape[2:]) for o in outputs] == [(64, 64), (32, 32), (16, 16), (8, 8)]
    assert model.eval()(torch.zeros(2, 3, 64, 64)).shape == (2, 1, 64, 64)


@pytest.mark.parametrize("name", ["order", "mk_unet_t"])
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
