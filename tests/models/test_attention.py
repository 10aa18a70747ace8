"""Bidirectional skip attention."""

from __future__ import annotations

from typing import get_args

import pytest
import torch
from torch import Tensor, nn

from lawder_edge.models.attention import BidirectionalSkipAttention, Normaliser, attend


def _trained_like(normaliser: Normaliser, *, stride: int) -> BidirectionalSkipAttention:
    torch.manual_seed(0)
    module = BidirectionalSkipAttention(8, 6, key_channels=4, stride=stride, normaliser=normaliser)
    for p in module.parameters():
        nn.init.normal_(p, std=0.5)
    return module.eval()


@pytest.mark.parametrize("normaliser", ["softmax", "exp_divide"])
def test_softmax_and_exp_then_divide_are_the_same_function(normaliser: Normaliser) -> None:
    torch.manual_seed(0)
    scores, values = 3 * torch.randn(2, 9, 9), torch.randn(2, 9, 4)
    expected = torch.softmax(scores, -1) @ values
    torch.testing.assert_close(attend(scores, values, normaliser, nn.Identity()), expected, rtol=1e-5, atol=1e-6)


def test_sigmoid_attention_is_a_mean_of_gated_values() -> None:
    scores, values = torch.zeros(1, 4, 4), torch.arange(4.0).view(1, 4, 1)
    torch.testing.assert_close(attend(scores, values, "sigmoid", nn.Identity()), torch.full((1, 4, 1), 0.75))


@pytest.mark.parametrize("normaliser", get_args(Normaliser))
def test_a_fresh_adapter_passes_decoder_and_skip_through(normaliser: Normaliser) -> None:
    module = BidirectionalSkipAttention(8, 6, key_channels=4, stride=4, normaliser=normaliser)
    module.init_weights()
    decoder, skip = torch.randn(2, 8, 16, 24), torch.randn(2, 6, 16, 24)
    decoder_out, skip_out = module(decoder, skip)
    torch.testing.assert_close(decoder_out, decoder)
    torch.testing.assert_close(skip_out, skip)


def test_a_fresh_fusion_adds_its_bias_alone() -> None:
    module = BidirectionalSkipAttention(8, 8, key_channels=4, stride=4, fuses=True)
    module.init_weights()
    decoder, skip = torch.randn(2, 8, 16, 24), torch.randn(2, 8, 16, 24)
    fused, skip_out = module(decoder, skip)
    assert module.fuse is not None
    assert module.fuse.bias is not None
    torch.testing.assert_close(fused, decoder + module.fuse.bias.view(1, -1, 1, 1))
    torch.testing.assert_close(skip_out, skip)


@pytest.mark.parametrize("normaliser", get_args(Normaliser))
@pytest.mark.parametrize("stride", [1, 4])
def test_one_similarity_matrix_serves_both_directions(normaliser: Normaliser, stride: int) -> None:
    """Written out token by token, with S for the decoder and its transpose for the skip."""
    module = _trained_like(normaliser, stride=stride)
    decoder, skip = torch.randn(1, 8, 8, 8), torch.randn(1, 6, 8, 8)
    seen: list[Tensor] = []
    module.attention_map.register_forward_hook(lambda _m, _i, out: seen.append(out))
    with torch.no_grad():
        module(decoder, skip)
        pool = nn.AvgPool2d(stride)
        q = module.key_decoder(pool(decoder)).flatten(2)[0]
        k = module.key_skip(pool(skip)).flatten(2)[0]
    scores = q.T @ k * 4**-0.5
    if normaliser == "sigmoid":
        wanted = torch.sigmoid(scores + module.score_bias)
        torch.testing.assert_close(seen[0][0], wanted)
        torch.testing.assert_close(seen[1][0], wanted.T)
    elif normaliser == "softmax":
        torch.testing.assert_close(seen[0][0], torch.softmax(scores, 1), rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(seen[1][0], torch.softmax(scores, 0).T, rtol=1e-4, atol=1e-6)
    else:
        torch.testing.assert_close(seen[0][0].amax(1), torch.ones(len(scores)))
        torch.testing.assert_close(seen[1][0].amax(1), torch.ones(len(scores)))


@pytest.mark.parametrize("normaliser", get_args(Normaliser))
def test_the_map_stays_between_0_and_1(normaliser: Normaliser) -> None:
    module = _trained_like(normaliser, stride=2)
    seen: list[Tensor] = []
    module.attention_map.register_forward_hook(lambda _m, _i, out: seen.append(out))
    with torch.no_grad():
        module(10 * torch.randn(1, 8, 16, 16), 10 * torch.randn(1, 6, 16, 16))
    assert len(seen) == 2
    assert all(float(m.min()) >= 0 and float(m.max()) <= 1 for m in seen)


def test_gradients_reach_every_parameter_once_the_output_is_not_zero() -> None:
    module = _trained_like("sigmoid", stride=4).train()
    fused, skip = module(torch.randn(2, 8, 16, 16), torch.randn(2, 6, 16, 16))
    (fused.square().sum() + skip.square().sum()).backward()
    assert [n for n, p in module.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0] == []
