"""LAW's learned part: where the denoiser is expected to err, told from what it computes on the way."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

ERROR_BINS = 16
# Share of a bin's running mean that a new batch replaces, once the bin has seen enough.
_FORGET = 0.01
_TIME_WAVES = 16
_BOX_PX = 5
# exp(-s) of a head that has gone astray must neither overflow nor drown the loss.
_S_LIMIT = 8.0


class Weighter(nn.Module):
    """s(stop_grad(features), t, m), the log of the error that is expected of each pixel, relative to the time's mean.

    The last layer starts at zero, so that s = 0 everywhere at step 0 and the weights are the prior's. The head works at
    the features' size, where it sees all `patch` x `patch` pixels of the mask that a place stands for, and gives a
    value for each `cell` x `cell` of them, a place of x0.
    """

    level: Tensor
    seen: Tensor

    def __init__(self, *, features: int, planes: int, patch: int, cell: int = 1, width: int = 32) -> None:
        super().__init__()
        self.patch, self.values = patch, patch // cell
        self.narrow = nn.Conv2d(features, width, 1)
        self.time = nn.Linear(2 * _TIME_WAVES, width)
        self.first = nn.Conv2d(width + planes * patch**2, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        self.last = nn.Conv2d(width, self.values**2, 1)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)  # type: ignore[arg-type]
        # b(t): running mean of the error in each of the bins, and how many batches it has seen.
        self.register_buffer("level", torch.ones(ERROR_BINS))
        self.register_buffer("seen", torch.zeros(ERROR_BINS))

    def forward(self, features: Tensor, t: Tensor, planes: Tensor) -> Tensor:
        """features: (B, F, H/p, W/p) of the denoiser, through which nothing is differentiated; t: (B,) in [0, 1);
        planes: (B, K, H, W), the mask as the denoiser was shown it. Returns: s, (B, 1, h, w) on the grid of x0,
        in [-8, 8].
        """
        waves = torch.exp(torch.linspace(0, math.log(1000), _TIME_WAVES, device=t.device))
        angle = t[:, None].float() * waves
        time = self.time(torch.cat([angle.sin(), angle.cos()], 1))[:, :, None, None]
        x = F.silu(self.narrow(features.detach()) + time)
        x = F.silu(self.first(torch.cat([x, F.pixel_unshuffle(planes, self.patch)], 1)))
        s: Tensor = F.pixel_shuffle(self.last(F.silu(self.second(x))), self.values).float()
        return _S_LIMIT * torch.tanh(s / _S_LIMIT)

    @torch.no_grad()
    def observe(self, sums: Tensor, counts: Tensor) -> None:
        """Take a batch's errors into b(t). sums, counts: (bins,) as `error_by_bin` gives them, of all processes."""
        there = counts > 0
        self.seen += there
        mean = sums / counts.clamp(min=1)
        rate = (1 / self.seen.clamp(min=1)).clamp(min=_FORGET)
        self.level.copy_(torch.where(there, self.level + rate * (mean - self.level), self.level))

    def expected_level(self, t: Tensor) -> Tensor:
        """b(t) of each picture: (B, 1, 1, 1). t: (B,) in [0, 1)."""
        return self.level[time_bin(t)].clamp(min=1e-8)[:, None, None, None]


def time_bin(t: Tensor) -> Tensor:
    """Which of the bins a time falls into. The bins are equally likely; log-SNR falls with t, so they part it too."""
    return (t * ERROR_BINS).long().clamp(0, ERROR_BINS - 1)


def local_error(x0_hat: Tensor, x0: Tensor, *, cell: int = 1) -> Tensor:
    """e: mean over the channels of (x0_hat - x0)^2, detached, averaged over a box of 5 x 5 pixels: (B, 1, h, w).

    cell: pixels a side that a place of x0 stands for; the box has 3 x 3 places at the least.
    """
    box = max(3, _BOX_PX // cell | 1)
    e = (x0_hat.detach() - x0).square().mean(1, keepdim=True)
    return F.avg_pool2d(e, box, stride=1, padding=box // 2, count_include_pad=False)


def error_by_bin(e: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
    """Sum over the pictures of each bin of their mean error, and their number: (bins,) each."""
    place = time_bin(t)
    zeros = torch.zeros(ERROR_BINS, device=e.device)
    means = e.mean((1, 2, 3)).float()
    return zeros.scatter_add(0, place, means), zeros.scatter_add(0, place, torch.ones_like(means))


def weighter_loss(s: Tensor, e: Tensor, level: Tensor) -> Tensor:
    """mean( e / b exp(-s) + s ), least at s = log E[e / b | features, t, m]: the expected error, not the present one.

    s, e: (B, 1, H, W), e detached; level: b(t), (B, 1, 1, 1). Differentiable in s alone.
    """
    return ((e / level) * torch.exp(-s) + s).mean()
