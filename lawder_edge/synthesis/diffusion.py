"""The noise: how much of it at each time, and what each time counts in the loss."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

TIMES = 1000
# diffusers' cosine schedule (Nichol and Dhariwal, arXiv 2102.09672), of training and of the samplers alike.
SCHEDULE: dict[str, Any] = {
    "num_train_timesteps": TIMES,
    "beta_schedule": "squaredcos_cap_v2",
    "prediction_type": "sample",
}


def kept_share() -> Tensor:
    """alpha_bar of each time, (1000,) float32 from near 1 to near 0: x_t = sqrt(a) x_0 + sqrt(1 - a) noise."""
    from diffusers import DDPMScheduler

    alphas: Tensor = DDPMScheduler(**SCHEDULE).alphas_cumprod
    return alphas


def noised(x0: Tensor, noise: Tensor, a: Tensor) -> Tensor:
    """x_t. x0, noise: (B, C, H, W); a: alpha_bar of each picture's time, (B,)."""
    a = a[:, None, None, None]
    return a.sqrt() * x0 + (1 - a).sqrt() * noise


def time_weight(a: Tensor) -> Tensor:
    """lambda(t) = min(SNR, 5) + .2 on the error of x_0; SNR = a / (1 - a).

    min-SNR-5 (arXiv 2303.09556), which for x_0 is this clip; the .2 keeps the noisiest times, which decide the layout.
    """
    return (a / (1 - a).clamp(min=1e-8)).clamp(max=5) + 0.2


def diffusion_loss(x0_hat: Tensor, x0: Tensor, *, weights: Tensor, time_weights: Tensor) -> Tensor:
    """mean over pictures of lambda(t) mean over pixels of w mean over channels of (x0_hat - x0)^2.

    x0_hat, x0: (B, C, H, W); weights: (B, 1, H, W); time_weights: (B,). Returns: a scalar.
    """
    e = (x0_hat - x0).square().mean(1, keepdim=True)
    return (time_weights * (weights * e).mean((1, 2, 3))).mean()


def draw_times(u: float, batch: int) -> Tensor:
    """Times of a batch, (B,) int64, spread evenly over all of them (Kingma et al., arXiv 2107.00630, appendix I.1).

    u: one number in [0, 1) for the batch; each picture's time is uniform over the draws of it.
    """
    return (((u + torch.arange(batch, dtype=torch.float64) / batch) % 1) * TIMES).long()
