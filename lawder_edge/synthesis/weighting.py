"""The arms: how much each pixel counts in the diffusion loss.

Of every arm, and of every picture by itself: mean(w) = 1 and lowest <= w <= highest hold together. So no arm changes
how much a picture counts, or the learning rate; it only moves weight within the picture.

A weight may depend on what the denoiser is given (noisy picture, time, mask) and leaves the best denoiser what it was:
the minimiser of E[w(x_t, t, m) (x0_hat - x0)^2] is E[x0 | x_t, t, m] for any w > 0. One that depends on what the
denoiser does not see (the present residual, the noise that was drawn, a mask that was withheld) biases it. A picture
whose mask is withheld for guidance is therefore weighted as one with an empty mask: w = 1.

All maps are (B, 1, H, W). Masks are 0 or 1, of any type.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from lawder_edge.synthesis.arms import Arm

DELTA_LIMIT = math.log(3)
# What inside, boundary band and outside weigh together in a picture, whatever their areas.
REGION_MASS = (0.35, 0.25, 0.40)
# Half the width of the boundary band, in pixels of a picture of 128.
BAND_PX_OF_128 = 3

# Each halves the logarithm's interval of the factor; 2^-40 of the 180 that float32 spans is below its resolution.
_HALVINGS = 40


@dataclass(frozen=True)
class Bounds:
    """What a weight may be: lowest in (0, 1), highest above 1."""

    lowest: float = 0.2
    highest: float = 5.0


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


def region_prior(mask: Tensor) -> Tensor:
    """A constant in each of inside, boundary band and outside, so that they weigh `REGION_MASS` together.

    The band is what lies within `BAND_PX_OF_128` pixels (scaled with the picture's shorter side) of the contour, along
    rows, columns or both, on both sides; the picture's edge is no contour. A region that is absent, such as the inside
    of a small lesion, leaves its mass to the others in proportion. 1 without regions.
    """
    m = mask.float()
    reach = max(1, round(min(m.shape[2:]) * BAND_PX_OF_128 / 128))
    window = 2 * reach + 1
    grown = F.max_pool2d(m, window, stride=1, padding=reach)
    shrunk = 1 - F.max_pool2d(1 - m, window, stride=1, padding=reach)
    regions = torch.stack([shrunk, grown - shrunk, 1 - grown])
    share = regions.mean((2, 3, 4), keepdim=True)
    mass = torch.tensor(REGION_MASS, device=m.device).view(3, 1, 1, 1, 1) * (share > 0)
    density = mass / mass.sum(0, keepdim=True) / share.clamp(min=1e-12)
    return torch.where(has_regions(mask), (regions * density).sum(0), torch.ones_like(m))


def project(v: Tensor, bounds: Bounds) -> Tensor:
    """P(v) = clip(c v, lowest, highest), with the c of each picture for which the mean is 1.

    mean(clip(c v, lowest, highest)) grows with c from `lowest` to `highest`, so there is such a c; it is found by
    bisection of its logarithm. Clipping and then dividing by the mean would break the bound that it divides through:
    7.2 against 5 for the ratio prior at r = .008.

    v: (B, 1, H, W), above 0. Returns: float32 with mean 1 within 1e-5.
    """
    v = v.float()
    low = bounds.lowest / v.amax((1, 2, 3), keepdim=True)
    high = bounds.highest / v.amin((1, 2, 3), keepdim=True)
    for _ in range(_HALVINGS):
        # Roots first: the product of the two may be beyond float32.
        middle = low.sqrt() * high.sqrt()
        heavy = (middle * v).clamp(bounds.lowest, bounds.highest).mean((1, 2, 3), keepdim=True) > 1
        low, high = torch.where(heavy, low, middle), torch.where(heavy, middle, high)
    return (low.sqrt() * high.sqrt() * v).clamp(bounds.lowest, bounds.highest)


def delta_map(s: Tensor) -> Tensor:
    """delta = clip(s - mean(s), -log 3, log 3), the mean over each picture. s: log of the expected relative error."""
    return (s - s.mean((1, 2, 3), keepdim=True)).clamp(-DELTA_LIMIT, DELTA_LIMIT)


def pixel_weights(
    arm: Arm, mask: Tensor, *, s: Tensor | None = None, gamma: float = 0.5, bounds: Bounds = Bounds()
) -> Tensor:
    """w of each pixel, (B, 1, H, W) float32, of which nothing can be differentiated.

    - uniform: 1
    - ratio: P(ratio prior)
    - regions: P(region prior)
    - law: P(ratio prior exp(gamma delta)), near the w that is worst for the denoiser among those near the prior:
      argmax_w mean(w E[e]) - tau KL(w || prior) is proportional to prior exp(E[e] / tau); here s = log E[e] stands for
      E[e] / tau, which bounds what a few pixels can draw. With s = 0 or gamma = 0 it is the ratio arm.

    A picture without regions has w = 1 in every arm.

    mask: what the denoiser was shown as lesion. s: of `Weighter`, for law alone.
    """
    if arm == "uniform":
        return torch.ones_like(mask, dtype=torch.float32)
    prior = region_prior(mask) if arm == "regions" else ratio_prior(mask)
    if arm == "law":
        if s is None:
            raise ValueError("the law arm needs s, the map that its weighter gives")
        prior = prior * (gamma * delta_map(s.detach().float())).exp()
    return torch.where(has_regions(mask), project(prior, bounds), torch.ones_like(prior))
