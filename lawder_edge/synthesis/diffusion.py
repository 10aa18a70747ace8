"""The noise: how much of it at each time, and what each time counts in the loss."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

TIMES = 1000
Prediction = Literal["epsilon", "v_prediction"]


@dataclass(frozen=True)
class Schedule:
    """The noise of a denoiser's 1,000 times, in training and in the samplers alike.

    betas: diffusers' name of their curve; first, last: of them, where the curve goes by these. floor: what is added to
    min(SNR, 5) in `time_weight`.
    """

    betas: str
    first: float = 1e-4
    last: float = 0.02
    floor: float = 0.2

    def options(self) -> dict[str, Any]:
        """Keywords of diffusers' schedulers, which are told x_0 whatever the network predicts."""
        return {
            "num_train_timesteps": TIMES,
            "beta_schedule": self.betas,
            "beta_start": self.first,
            "beta_end": self.last,
            "prediction_type": "sample",
        }


# Nichol and Dhariwal, arXiv 2102.09672.
COSINE = Schedule("squaredcos_cap_v2")


def kept_share(schedule: Schedule = COSINE) -> Tensor:
    """alpha_bar of each time, (1000,) float32 from near 1 to near 0: x_t = sqrt(a) x_0 + sqrt(1 - a) noise."""
    from diffusers import DDPMScheduler

    alphas: Tensor = DDPMScheduler(**schedule.options()).alphas_cumprod
    return alphas


def noised(x0: Tensor, noise: Tensor, a: Tensor) -> Tensor:
    """x_t. x0, noise: (B, C, H, W); a: alpha_bar of each picture's time, (B,)."""
    a = a[:, None, None, None]
    return a.sqrt() * x0 + (1 - a).sqrt() * noise


def expected(said: Tensor, x_t: Tensor, a: Tensor, prediction: Prediction) -> Tensor:
    """x_0 of what a network says of the noise, or of v = sqrt(a) noise - sqrt(1 - a) x_0 (arXiv 2202.00512).

    said, x_t: (B, C, h, w); a: alpha_bar of each picture's time, (B,), above 0.
    """
    a = a[:, None, None, None]
    if prediction == "v_prediction":
        return a.sqrt() * x_t - (1 - a).sqrt() * said
    return (x_t - (1 - a).sqrt() * said) / a.sqrt()


def time_weight(a: Tensor, floor: float = COSINE.floor) -> Tensor:
    """lambda(t) = min(SNR, 5) + floor on the error of x_0; SNR = a / (1 - a).

    min-SNR-5 (arXiv 2303.09556), which for x_0 is this clip. A floor of .2 keeps the noisiest times, which decide the
    layout, for a network that predicts x_0. One that predicts the noise errs by 1 / SNR of that error in x_0, so that
    the clip alone is min(SNR, 5) / SNR on its own error, 1 at all noisy times, and it takes a floor of 0: .2 would be
    .2 / SNR there, 43 at the last of Stable Diffusion's times.
    """
    return (a / (1 - a).clamp(min=1e-8)).clamp(max=5) + floor


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
