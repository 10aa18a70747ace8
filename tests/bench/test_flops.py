"""The count of MACs, held against the paper's budgets and two other counters."""

from __future__ import annotations

import logging

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from lawder_edge.bench.flops import count
from lawder_edge.models import create_model

SIZE = (256, 256)


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        tokens = x.flatten(2).transpose(1, 2)
        mixed: torch.Tensor = self.inner(tokens, tokens, tokens, need_weights=False)[0]
        return mixed


class BareAttention(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        tokens = x.flatten(2).transpose(1, 2)[:, None]
        return F.scaled_dot_product_attention(tokens, tokens[:, :, :17], tokens[:, :, :17])


def test_order_stays_within_its_budget() -> None:
    cost = count(create_model("order"), SIZE)
    assert cost.flops <= 0.56e9
    assert cost.flops == pytest.approx(0.272e9, rel=0.01)
    assert cost.params == 41_732


def test_every_position_a_token_has_the_flops_of_the_paper_with_attention_as_most_of_them() -> None:
    cost = count(create_model("mk_order_full"), SIZE)
    assert 0.55e9 <= cost.flops <= 0.565e9
    assert cost.by_operator[0][0] == "bmm"


@pytest.mark.parametrize("name", ["order", "mk_unet_t", "unet"])
def test_two_other_counters_find_the_same_convolutions_and_products(name: str) -> None:
    from fvcore.nn import FlopCountAnalysis
    from torch.utils.flop_counter import FlopCounterMode

    logging.getLogger("fvcore").setLevel(logging.ERROR)
    module = create_model(name).eval()
    image = torch.zeros(1, 3, *SIZE)
    ours = count(module, SIZE)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        module(image)
    assert counter.get_total_flops() == ours.flops
    theirs = FlopCountAnalysis(module, image).unsupported_ops_warnings(False).by_operator()
    assert theirs["conv"] + theirs["matmul"] + theirs["bmm"] == ours.macs


@pytest.mark.parametrize(
    ("module", "macs"),
    [
        # 8x8 output positions x 6 output channels x 4 input channels of the group x 9 taps
        (nn.Conv2d(8, 6, 3, padding=1, groups=2, bias=False), 64 * 6 * 4 * 9),
        # a transposed convolution spends them on each of the 8x8 input positions
        (nn.ConvTranspose2d(8, 6, 3, stride=2, groups=2), 64 * 8 * 3 * 9),
        # four 8x8 projections of 64 tokens, then twice 64x64x4 in each of two heads
        (Attention(), 4 * 64 * 8 * 8 + 2 * 2 * 64 * 64 * 4),
        (BareAttention(), 2 * 64 * 17 * 8),
        (nn.Sequential(nn.Flatten(1), nn.Linear(512, 10)), 512 * 10),
        (nn.Sequential(nn.BatchNorm2d(8), nn.ReLU(), nn.Upsample(scale_factor=2)), 0),
    ],
)
def test_an_operator_costs_what_its_formula_says(module: nn.Module, macs: int) -> None:
    assert count(module, (8, 8), channels=8).macs == macs


def test_counting_leaves_the_module_as_it_was() -> None:
    module = create_model("unet").train()
    before = {k: v.clone() for k, v in module.state_dict().items()}
    count(module, (64, 64))
    assert module.training
    assert all(torch.equal(v, before[k]) for k, v in module.state_dict().items())


def test_macs_grow_with_the_area_of_the_input() -> None:
    module = create_model("unet")
    assert count(module, (64, 128)).macs == 2 * count(module, (64, 64)).macs
