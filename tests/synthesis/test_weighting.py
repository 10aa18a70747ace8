"""What holds of every arm's weights, whatever the masks and the learned map."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from torch import Tensor

from lawder_edge.synthesis.arms import ARMS, LEARNED, Arm
from lawder_edge.synthesis.weighting import (
    REGION_MASS,
    Bounds,
    delta_map,
    on_grid,
    pixel_weights,
    project,
    ratio_prior,
    region_mean,
    region_prior,
    regions,
)

SIDE = 24
MASKS = hnp.arrays(np.bool_, (3, 1, SIDE, SIDE), elements=st.booleans(), fill=st.booleans())
MAPS = hnp.arrays(
    np.float32, (3, 1, SIDE, SIDE), elements=st.floats(-20, 20, width=32), fill=st.floats(-20, 20, width=32)
)
ARM = st.sampled_from(ARMS)
LEARNED_ARM = st.sampled_from(LEARNED)


@st.composite
def blobs(draw: st.DrawFn) -> Tensor:
    """Three rectangles, which may be empty, single pixels or the whole picture."""
    masks = np.zeros((3, 1, SIDE, SIDE), np.float32)
    for mask in masks:
        y, x = (draw(st.integers(0, SIDE - 1)) for _ in range(2))
        height, width = (draw(st.integers(0, SIDE)) for _ in range(2))
        mask[0, y : y + height, x : x + width] = 1
    return torch.from_numpy(masks)


ANY_MASK = st.one_of(blobs(), MASKS.map(lambda m: torch.from_numpy(m).float()))


def holds(w: Tensor, bounds: Bounds) -> None:
    assert w.dtype == torch.float32
    assert (w.double().mean((1, 2, 3)) - 1).abs().max() < 1e-5
    assert w.min() >= bounds.lowest
    assert w.max() <= bounds.highest


@settings(deadline=None, max_examples=150)
@given(arm=ARM, mask=ANY_MASK, s=MAPS, gamma=st.floats(-3, 3), low=st.floats(0.01, 0.95), high=st.floats(1.05, 50))
def test_mean_one_and_the_bounds_hold_together_in_each_picture(
    arm: Arm, mask: Tensor, s: np.ndarray, gamma: float, low: float, high: float
) -> None:
    # Bounds as float32 holds them, in which the weights are.
    bounds = Bounds(float(np.float32(low)), float(np.float32(high)))
    holds(pixel_weights(arm, mask, s=torch.from_numpy(s), gamma=gamma, bounds=bounds), bounds)


@settings(deadline=None)
@given(arm=ARM, mask=ANY_MASK, s=MAPS, low=st.floats(0.01, 0.95), high=st.floats(1.05, 50))
def test_they_hold_of_the_shares_of_a_coarser_grid_too(
    arm: Arm, mask: Tensor, s: np.ndarray, low: float, high: float
) -> None:
    bounds = Bounds(float(np.float32(low)), float(np.float32(high)))
    shares = on_grid(mask, (3, 3))
    w = pixel_weights(arm, shares, s=torch.from_numpy(s)[..., ::8, ::8], bounds=bounds)
    assert w.shape == (3, 1, 3, 3)
    holds(w, bounds)
    assert (regions(shares).sum(0) - 1).abs().max() < 1e-6
    # A place weighs what its pixels do on average.
    torch.testing.assert_close(ratio_prior(shares), on_grid(ratio_prior(mask), (3, 3)), rtol=1e-4, atol=1e-5)


def test_a_coarser_grid_keeps_the_share_of_lesion_and_loses_no_pixel_of_it() -> None:
    mask = torch.zeros(1, 1, 64, 64)
    mask[..., 3, 5] = 1
    coarse = on_grid(mask, (8, 8))
    assert float(coarse[0, 0, 0, 0]) == 1 / 64
    assert float(coarse.mean()) == float(mask.mean())
    assert torch.equal(on_grid(mask, (64, 64)), mask)
    # One region a place, and a mean over what the region has of it.
    assert float(region_mean(torch.full((1, 1, 8, 8), 3.0), coarse)[0, 0, 0, 0]) == pytest.approx(3)


@settings(deadline=None, max_examples=150)
@given(exponents=hnp.arrays(np.float32, (2, 1, 8, 8), elements=st.floats(-12, 12, width=32)))
def test_the_projection_holds_over_24_orders_of_magnitude_and_keeps_the_order(exponents: np.ndarray) -> None:
    v = 10 ** torch.from_numpy(exponents)
    bounds = Bounds()
    w = project(v, bounds)
    holds(w, bounds)
    for picture, result in zip(v, w, strict=True):
        assert result.flatten()[picture.flatten().argsort()].diff().min() >= 0


@settings(deadline=None)
@given(arm=LEARNED_ARM, mask=ANY_MASK, gamma=st.floats(-3, 3), low=st.floats(0.01, 0.95))
def test_a_learned_arm_at_step_0_is_the_projected_prior(arm: Arm, mask: Tensor, gamma: float, low: float) -> None:
    s, bounds = torch.zeros_like(mask), Bounds(low, 5)
    assert delta_map(arm, s, mask).abs().max() == 0
    w = pixel_weights(arm, mask, s=s, gamma=gamma, bounds=bounds)
    fixed: Arm = "regions" if arm == "law_on_regions" else "ratio"
    assert torch.equal(w, pixel_weights(fixed, mask, bounds=bounds))
    both = (mask.mean((1, 2, 3)) > 0) & (mask.mean((1, 2, 3)) < 1)
    prior = region_prior(mask) if fixed == "regions" else ratio_prior(mask)
    assert torch.equal(w[both], project(prior, bounds)[both])


def test_a_negative_gamma_sends_weight_where_little_error_is_expected() -> None:
    mask = torch.zeros(1, 1, SIDE, SIDE)
    mask[..., :2] = 1
    s = torch.linspace(-0.5, 0.5, SIDE)[:, None].expand(1, 1, SIDE, SIDE)
    along, away = (pixel_weights("law", mask, s=s, gamma=gamma)[0, 0, :, -1] for gamma in (0.5, -0.5))
    assert along.diff().min() > 0
    torch.testing.assert_close(away, along.flip(0))


@settings(deadline=None)
@given(arm=ARM, s=MAPS, full=st.booleans())
def test_empty_and_full_masks_are_weighted_by_one(arm: Arm, s: np.ndarray, full: bool) -> None:
    mask = torch.full((3, 1, SIDE, SIDE), float(full))
    assert torch.equal(pixel_weights(arm, mask, s=torch.from_numpy(s)), torch.ones_like(mask))


@settings(deadline=None)
@given(arm=ARM, mask=ANY_MASK, s=MAPS, axis=st.sampled_from([2, 3]))
def test_a_flipped_picture_has_flipped_weights(arm: Arm, mask: Tensor, s: np.ndarray, axis: int) -> None:
    learned = torch.from_numpy(s)
    there = pixel_weights(arm, mask.flip(axis), s=learned.flip(axis)).flip(axis)
    # Sums over a picture in another order.
    torch.testing.assert_close(there, pixel_weights(arm, mask, s=learned), rtol=1e-4, atol=1e-5)


@settings(deadline=None)
@given(arm=ARM, mask=ANY_MASK, s=MAPS)
def test_a_picture_is_weighted_the_same_in_any_company(arm: Arm, mask: Tensor, s: np.ndarray) -> None:
    learned = torch.from_numpy(s)
    together = pixel_weights(arm, mask, s=learned)
    for i in range(3):
        torch.testing.assert_close(
            pixel_weights(arm, mask[i : i + 1], s=learned[i : i + 1]), together[i : i + 1], rtol=1e-4, atol=1e-5
        )


@settings(deadline=None)
@given(arm=LEARNED_ARM, mask=ANY_MASK, s=MAPS)
def test_delta_is_bounded_and_blind_to_a_constant_where_s_is_a_log_of_the_error(
    arm: Arm, mask: Tensor, s: np.ndarray
) -> None:
    learned = torch.from_numpy(s)
    delta = delta_map(arm, learned, mask)
    assert delta.abs().max() <= math.log(3) + 1e-6
    if arm != "law_joint":
        torch.testing.assert_close(delta_map(arm, learned + 3, mask), delta, rtol=0, atol=1e-4)


@settings(deadline=None)
@given(mask=ANY_MASK, values=MAPS)
def test_a_region_mean_is_one_number_a_region_and_keeps_what_each_region_sums_to(
    mask: Tensor, values: np.ndarray
) -> None:
    learned = torch.from_numpy(values)
    means = region_mean(learned, mask)
    assert torch.equal(regions(mask).sum(0), torch.ones_like(mask))
    for picture, value, mean in zip(regions(mask).unbind(1), learned, means, strict=True):
        for region in picture:
            there = mean[region > 0]
            if len(there):
                assert float(there.max() - there.min()) == 0
                assert float(there[0]) == pytest.approx(float(value[region > 0].double().mean()), abs=1e-4)


@settings(deadline=None)
@given(mask=ANY_MASK, s=MAPS)
def test_law_by_regions_moves_each_region_as_a_whole(mask: Tensor, s: np.ndarray) -> None:
    # Bounds that clip nothing, so that the ratio to the prior is told.
    bounds = Bounds(1e-6, 1e6)
    moved = pixel_weights("law_regions", mask, s=torch.from_numpy(s), bounds=bounds) / ratio_prior(mask)
    for picture, ratio in zip(regions(mask).unbind(1), moved, strict=True):
        for region in picture:
            there = ratio[region > 0]
            assert not len(there) or float(there.max() / there.min()) == pytest.approx(1, abs=1e-5)


@settings(deadline=None)
@given(arm=ARM, mask=blobs(), s=MAPS)
def test_the_joint_arm_alone_is_differentiable_in_its_map(arm: Arm, mask: Tensor, s: np.ndarray) -> None:
    learned = torch.from_numpy(s).requires_grad_()
    w = pixel_weights(arm, mask, s=learned)
    assert w.requires_grad == (arm == "law_joint")
    if w.requires_grad:
        (gradient,) = torch.autograd.grad((w * torch.linspace(0, 1, SIDE)).sum(), learned)
        assert gradient.isfinite().all()
        # Nothing moves the mean.
        (gradient,) = torch.autograd.grad(pixel_weights(arm, mask, s=learned).sum(), learned)
        assert gradient.abs().max() < 1e-4


@pytest.mark.parametrize("share", [0.008, 0.07, 0.3, 0.8])
@pytest.mark.parametrize("gamma", [0.3, 2.0])
def test_the_gradient_through_the_projection_is_what_a_small_step_shows(share: float, gamma: float) -> None:
    mask = disc(share, side=32)
    random = torch.Generator().manual_seed(0)
    s, step, e = (torch.randn(1, 1, 32, 32, generator=random) for _ in range(3))
    s.requires_grad_()

    def loss(at: Tensor) -> Tensor:
        return (pixel_weights("law_joint", mask, s=at, gamma=gamma).double() * e).sum()

    (gradient,) = torch.autograd.grad(loss(s), s)
    h = 1e-3
    with torch.no_grad():
        seen = (loss(s + h * step) - loss(s - h * step)) / (2 * h)
    assert float((gradient * step).sum()) == pytest.approx(float(seen), rel=0.02, abs=0.02)


def test_the_joint_arm_takes_weight_to_where_the_error_is_least_if_nothing_holds_it() -> None:
    mask = disc(0.1)
    e = torch.ones_like(mask)
    e[..., :64, :] = 3
    s = torch.zeros_like(mask, requires_grad=True)
    (gradient,) = torch.autograd.grad((pixel_weights("law_joint", mask, s=s) * e).mean(), s)
    w = pixel_weights("law_joint", mask, s=-1e4 * gradient)
    assert float(w[..., :64, :].mean()) < float(pixel_weights("ratio", mask)[..., :64, :].mean()) - 0.1


def disc(share: float, *, side: int = 128) -> Tensor:
    y, x = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    distance = (y - side / 2) ** 2 + (x - side / 2) ** 2
    cut = distance.flatten().sort().values[round(share * side * side)]
    return (distance < cut).float()[None, None]


@pytest.mark.parametrize("share", [0.01, 0.07, 0.3, 0.8])
def test_the_ratio_prior_gives_lesion_and_background_the_same_mass(share: float) -> None:
    mask = disc(share)
    prior = ratio_prior(mask)
    assert float((prior * mask).mean()) == pytest.approx(0.5, abs=1e-4)
    assert float(prior.mean()) == pytest.approx(1, abs=1e-4)
    r = float(mask.mean())
    paper = mask * (1 - r) + (1 - mask) * r
    torch.testing.assert_close(prior, paper / paper.mean(), rtol=1e-4, atol=1e-5)


def test_the_region_prior_gives_its_masses_to_inside_band_and_outside() -> None:
    mask = torch.zeros(1, 1, 128, 128)
    mask[..., 40:90, 30:100] = 1
    prior = region_prior(mask)
    inside, outside = prior[0, 0, 64, 64], prior[0, 0, 0, 0]
    (band,) = {float(v) for v in prior.unique()} - {float(inside), float(outside)}
    masses = [float((prior * (prior == level)).mean()) for level in (inside, band, outside)]
    assert masses == pytest.approx(REGION_MASS, abs=1e-4)
    # Through the middle the band is crossed twice, 3 pixels on each side of the contour.
    assert int((prior[0, 0, 64] == band).sum()) == 12


def test_a_lesion_that_is_all_band_leaves_the_mass_of_its_inside_to_the_others() -> None:
    mask = torch.zeros(1, 1, 64, 64)
    mask[..., 30:32, 30:32] = 1
    prior = region_prior(mask)
    assert float(prior.mean()) == pytest.approx(1, abs=1e-4)
    assert float((prior * (prior == prior.max())).mean()) == pytest.approx(0.25 / 0.65, abs=1e-4)


def test_clipping_and_then_normalising_would_break_the_bound_that_the_projection_keeps() -> None:
    mask, bounds = disc(0.008), Bounds()
    clipped = ratio_prior(mask).clamp(bounds.lowest, bounds.highest)
    assert float((clipped / clipped.mean()).max()) > bounds.highest
    holds(project(ratio_prior(mask), bounds), bounds)


@pytest.mark.parametrize("arm", LEARNED)
def test_a_learned_arm_moves_weight_to_a_lesion_where_its_map_is_high(arm: Arm) -> None:
    mask = disc(0.3)
    w, without = pixel_weights(arm, mask, s=mask), pixel_weights("ratio", mask)
    assert float((w * mask).mean()) > float((without * mask).mean()) + 0.03


@pytest.mark.parametrize("arm", ["law", "law_joint"])
def test_law_moves_weight_within_a_region_to_where_its_map_is_high(arm: Arm) -> None:
    mask = disc(0.1)
    s = torch.zeros_like(mask)
    s[..., :64, :] = 1
    w, without = pixel_weights(arm, mask, s=s), pixel_weights("ratio", mask)
    assert float(w[..., :64, :].mean()) > float(without[..., :64, :].mean()) + 0.1


@pytest.mark.parametrize("arm", LEARNED)
def test_a_learned_arm_without_its_map_is_an_error_of_the_caller(arm: Arm) -> None:
    with pytest.raises(ValueError, match=f"the {arm} arm needs s"):
        pixel_weights(arm, disc(0.1))
