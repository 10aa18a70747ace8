"""What the law_joint arm adds to the diffusion loss."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from lawder_edge.synthesis.joint import DICE_WEIGHT, L2_WEIGHT, TEMPERATURE, joint_loss


def _mask(*, side: int = 8) -> Tensor:
    mask = torch.zeros(2, 1, side, side)
    mask[:, :, 2:5, 3:7] = 1
    return mask


def test_it_is_dice_and_squares_as_written() -> None:
    mask, delta = _mask(), torch.linspace(-1, 1, 2 * 64).view(2, 1, 8, 8)
    dices = []
    for m, d in zip(mask, delta, strict=True):
        inside = 1 / (1 + (-d / TEMPERATURE).exp())
        dices.append(2 * float((inside * m).sum()) / float(inside.sum() + m.sum()))
    by_hand = DICE_WEIGHT * (1 - sum(dices) / 2) + L2_WEIGHT * float((delta**2).mean())
    assert float(joint_loss(delta, mask)) == pytest.approx(by_hand, rel=1e-5)


def test_a_map_that_follows_the_mask_costs_less_than_none_or_its_contrary() -> None:
    mask = _mask()
    towards = 0.5 * (2 * mask - 1)
    assert joint_loss(towards, mask) < joint_loss(0 * towards, mask) < joint_loss(-towards, mask)


@settings(deadline=None)
@given(full=st.booleans(), value=st.floats(-1, 1))
def test_where_there_is_nothing_to_tell_apart_the_squares_alone_count(full: bool, value: float) -> None:
    mask = torch.full((2, 1, 8, 8), float(full))
    delta = torch.full_like(mask, value).requires_grad_()
    loss = joint_loss(delta, mask)
    assert float(loss.detach()) == pytest.approx(L2_WEIGHT * value**2, abs=1e-6)
    (gradient,) = torch.autograd.grad(loss, delta)
    torch.testing.assert_close(gradient, 2 * L2_WEIGHT * delta.detach() / delta.numel())
