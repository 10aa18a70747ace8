"""The arms: how much each pixel counts in the diffusion loss.

Of every arm, and of every picture by itself: mean(w) = 1 and lowest <= w <= highest hold together. So no arm changes
how much a picture counts, or the learning rate; it only moves weight within the picture.

A weight may depend on what the denoiser is given (noisy picture, time, mask) and leaves the best denoiser what it was:
the minimiser of E[w(x_t, t, m) (x0_hat - x0)^2] is E[x0 | x_t, t, m] for any w > 0. One that depends on what the
denoiser does not see (the present residual, the noise that was drawn, a mask that was withheld) biases it. A picture
whose mask is withheld for guidance is therefore weighted as one with an empty mask: w = 1.

No gradient passes from the diffusion loss to the weighter, which learns the expected error by a loss of its own. The
law_joint arm alone is otherwise, since that is what it is there to show: its delta is moved by the diffusion loss.

All maps are (B, 1, H, W), on the grid where the loss is taken. Masks are 0 or 1, of any type, or, where that grid is
coarser than the picture, the share of each place that is lesion (`on_grid`): what is said of masks holds of those too.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from lawder_edge.synthesis.arms import LEARNED, ON_REGIONS, Arm

DELTA_LIMIT = math.log(3)
# What inside, boundary band and outside weigh together in a picture, whatever their areas.
REGION_MASS = (0.35, 0.25, 0.40)
# Half the width of the boundary band, in pixels of a picture of 128.
BAND_PX_OF_128 = 3

# Below this a sum of prior and delta is cut: weights are above 0. The prior alone is .5 or more.
_LEAST_SUM = 0.05
# Each halves the logarithm's interval of the factor; 2^-40 of the 180 that float32 spans is below its resolution.
_HALVINGS = 40


@dataclass(frozen=True)
class Bounds:
    """What a weight may be: lowest in (0, 1), highest above 1."""

    lowest: float = 0.2
    highest: float = 5.0


def on_grid(mask: Tensor, grid: Sequence[int]) -> Tensor:
    """Share of each place of a grid that is lesion: (B, 1, h, w) float32, the mask itself on the picture's own grid.

    The picture's share of lesion stays what it is, and a lesion smaller than a place is not lost, as it would be to the
    nearest pixel. mask: (B, 1, H, W), 0 or 1; grid: (h, w), which divide H and W.
    """
    return F.adaptive_avg_pool2d(mask.float(), (grid[0], grid[1]))


def lesion_share(mask: Tensor) -> Tensor:
    """r, the share of the picture that is lesion: (B, 1, 1, 1) float32 in [0, 1]."""
    return mask.float().mean((1, 2, 3), keepdim=True)


def has_regions(mask: Tensor) -> Tensor:
    """(B, 1, 1, 1) bool: whether there is both lesion and background to trade weight between."""
    share = lesion_share(mask)
    return (share > 0) & (share < 1)


def ratio_prior(mask: Tensor) -> Tensor:
    """p / mean(p) of the paper's p = m (1 - r) + (1 - m) r, which is m / (2 r) + (1 - m) / (2 (1 - r)).

    Lesion and background weigh the same together. Unnormalised, p scales a picture's loss by mean(p) = 2 r (1 - r): .02
    at r = .01 and .42 at r = .3. Above r = .5 this prior takes weight away from the lesion, as the paper's does. 1
    without regions. The ratio is that of ArSDM (MICCAI 2023) and ADC (arXiv 2507.23652).
    """
    m, r = mask.float(), lesion_share(mask)
    # Any divisor does where the other branch is taken.
    inside, outside = 2 * r.clamp(min=1e-12), 2 * (1 - r).clamp(min=1e-12)
    return torch.where(has_regions(mask), m / inside + (1 - m) / outside, torch.ones_like(m))


def regions(mask: Tensor) -> Tensor:
    """Inside, boundary band and outside, (3, B, 1, H, W) float32, 1 in the region and 0 elsewhere; shares of each place
    that sum to 1 where the mask is one of shares.

    The band is what lies within `BAND_PX_OF_128` pixels (scaled with the picture's shorter side) of the contour, along
    rows, columns or both, on both sides; the picture's edge is no contour.
    """
    m = mask.float()
    reach = max(1, round(min(m.shape[2:]) * BAND_PX_OF_128 / 128))
    window = 2 * reach + 1
    grown = F.max_pool2d(m, window, stride=1, padding=reach)
    shrunk = 1 - F.max_pool2d(1 - m, window, stride=1, padding=reach)
    return torch.stack([shrunk, grown - shrunk, 1 - grown])


def region_prior(mask: Tensor) -> Tensor:
    """A constant in each of inside, boundary band and outside, so that they weigh `REGION_MASS` together.

    A region that is absent, such as the inside of a small lesion, leaves its mass to the others in proportion. 1
    without regions.
    """
    inside_band_outside = regions(mask)
    share = inside_band_outside.mean((2, 3, 4), keepdim=True)
    mass = torch.tensor(REGION_MASS, device=mask.device).view(3, 1, 1, 1, 1) * (share > 0)
    density = mass / mass.sum(0, keepdim=True) / share.clamp(min=1e-12)
    return torch.where(has_regions(mask), (inside_band_outside * density).sum(0), torch.ones_like(density[0]))


def project(v: Tensor, bounds: Bounds) -> Tensor:
    """P(v) = clip(c v, lowest, highest), with the c of each picture for which the mean is 1.

    mean(clip(c v, lowest, highest)) grows with c from `lowest` to `highest`, so there is such a c; it is found by
    bisection of its logarithm. Clipping and then dividing by the mean would break the bound that it divides through:
    7.2 against 5 for the ratio prior at r = .008.

    v: (B, 1, H, W), above 0. Returns: float32 with mean 1 within 1e-5; differentiable where v is.
    """
    v = v.float()
    c = _factor(v.detach(), bounds)
    if v.requires_grad:
        # The mean of w stays 1 however v moves, so sum of d(c v) over the pixels that are not clipped is 0: c is what
        # it is, and moves as 1 / (their sum of v) does.
        free = (c * v >= bounds.lowest) & (c * v <= bounds.highest)
        total = (v * free).sum((1, 2, 3), keepdim=True)
        c = c * torch.where(total > 0, total.detach() / total.clamp(min=1e-12), torch.ones_like(total))
    return (c * v).clamp(bounds.lowest, bounds.highest)


def _factor(v: Tensor, bounds: Bounds) -> Tensor:
    """The c of `project`, (B, 1, 1, 1)."""
    low = bounds.lowest / v.amax((1, 2, 3), keepdim=True)
    high = bounds.highest / v.amin((1, 2, 3), keepdim=True)
    for _ in range(_HALVINGS):
        # Roots first: the product of the two may be beyond float32.
        middle = low.sqrt() * high.sqrt()
        heavy = (middle * v).clamp(bounds.lowest, bounds.highest).mean((1, 2, 3), keepdim=True) > 1
        low, high = torch.where(heavy, low, middle), torch.where(heavy, middle, high)
    return low.sqrt() * high.sqrt()


def delta_map(arm: Arm, s: Tensor, mask: Tensor) -> Tensor:
    """What a learned arm moves its prior by, (B, 1, H, W), 0 where s is.

    - law, law_on_regions: clip(s - mean(s), -log 3, log 3), the mean over each picture; s is the log of the expected
      relative error
    - law_regions: the mean of that over each of the picture's `regions`
    - law_joint: tanh(s), in [-1, 1]

    mask: what the denoiser was shown as lesion.
    """
    if arm == "law_joint":
        return torch.tanh(s)
    delta = (s - s.mean((1, 2, 3), keepdim=True)).clamp(-DELTA_LIMIT, DELTA_LIMIT)
    return region_mean(delta, mask) if arm == "law_regions" else delta


def region_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Each value replaced by the mean of its region of the picture. values: (B, 1, H, W)."""
    parts = regions(mask)
    means = (parts * values).sum((2, 3, 4), keepdim=True) / parts.sum((2, 3, 4), keepdim=True).clamp(min=1e-12)
    return (parts * means).sum(0)


def pixel_weights(
    arm: Arm, mask: Tensor, *, s: Tensor | None = None, gamma: float = 0.5, bounds: Bounds = Bounds()
) -> Tensor:
    """w of each pixel, (B, 1, H, W) float32. In s of the law_joint arm it is differentiable, in all others in nothing.

    - uniform: 1
    - ratio: P(ratio prior)
    - regions: P(region prior)
    - law: P(ratio prior exp(gamma delta)), near the w that is worst for the denoiser among those near the prior:
      argmax_w mean(w E[e]) - tau KL(w || prior) is proportional to prior exp(E[e] / tau); here s = log E[e] stands for
      E[e] / tau, which bounds what a few pixels can draw. With s = 0 or gamma = 0 it is the ratio arm. With gamma < 0
      weight goes where little error is expected, towards the inverse of the variance that weighted least squares takes.
    - law_on_regions: P(region prior exp(gamma delta)), as law from the prior of the regions arm.
    - law_regions: as law, with delta replaced by its mean inside, in the band and outside. Three numbers a picture and
      time: what law gains over it comes from where within a region the error is expected.
    - law_joint: P(max(ratio prior + gamma delta, .05)), the sum that reviews of the paper describe, its delta learned
      by the diffusion loss itself with the regularisers of `joint_loss`. So here, and here alone, a gradient passes
      from the diffusion loss to the weighter, and that pull is towards pixels of low error, not towards lesions.

    A picture without regions has w = 1 in every arm.

    mask: what the denoiser was shown as lesion. s: of `Weighter`, for the learned arms alone.
    """
    if arm == "uniform":
        return torch.ones_like(mask, dtype=torch.float32)
    prior = region_prior(mask) if arm in ON_REGIONS else ratio_prior(mask)
    if arm in LEARNED:
        if s is None:
            raise ValueError(f"the {arm} arm needs s, the map that its weighter gives")
        if arm == "law_joint":
            prior = (prior + gamma * delta_map(arm, s.float(), mask)).clamp(min=_LEAST_SUM)
        else:
            prior = prior * (gamma * delta_map(arm, s.detach().float(), mask)).exp()
    return torch.where(has_regions(mask), project(prior, bounds), torch.ones_like(prior))
