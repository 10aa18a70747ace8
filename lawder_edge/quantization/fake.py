"""Rounding to int8 in floating point, with gradients, for training and for calibration."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from lawder_edge.graph.integer_kernels import QMAX, QMIN
from lawder_edge.quantization.scales import SMALLEST_SCALE, SMALLEST_WEIGHT_SCALE, affine

_NOISE_LENGTH = 1 << 20
# Shares of the observed range that are tried for the one with the least squared error, on so many values.
_SHARES = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3)
_SAMPLE = 4096


class _Round(torch.autograd.Function):
    """What torch.fake_quantize_per_tensor_affine gives, forward and backward, at a seventh of its time on a CPU."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: float, zero_point: int, noise: Tensor | None) -> Tensor:
        low, high = QMIN - zero_point, QMAX - zero_point
        steps = x * (1 / scale)
        if noise is not None:
            steps = _with_noise(steps.contiguous(), noise)
        ctx.save_for_backward(x)
        ctx.inside = (scale * (low - 0.5), scale * (high + 0.5))
        return steps.round_().clamp_(low, high).mul_(scale)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        (x,) = ctx.saved_tensors
        return torch.ops.aten.hardtanh_backward(gradient, x, *ctx.inside), None, None, None


def round_to(x: Tensor, scale: float, zero_point: int, *, noise: Tensor | None = None) -> Tensor:
    """x of any shape to the nearest values of an int8 scale, halves to even, as real numbers.

    The gradient passes where x is inside the range. noise: (n,) steps to add before rounding, repeated from random
    places of it as often as x needs.
    """
    rounded: Tensor = _Round.apply(x, scale, zero_point, noise)  # type: ignore[no-untyped-call]
    return rounded


def _with_noise(steps: Tensor, noise: Tensor) -> Tensor:
    flat, half = steps.view(-1), len(noise) // 2
    starts = torch.randint(half, (-(-len(flat) // half),)).tolist()
    for start, part in zip(starts, torch.split(flat, half), strict=True):
        part.add_(noise[start : start + len(part)])
    return steps


class ActivationRounding(nn.Module):
    """Rounds activation tensors of any shape to one scale, and in training mode, until `frozen`, learns their range.

    A member is one of the tensors that share the scale; `low` and `high`, (members,), are moving averages of each one's
    own range in a batch, which 0 belongs to: from its smallest to its largest value, or with `tight` the share of that
    which is rounded with the least squared error. The scale spans all of them: one average over tensors of different
    sizes would clip the largest in every picture. The gradient passes where the value is inside the range.
    `noise_steps`, a table, moves values before they are rounded in training mode, as they move from one runtime to the
    next.
    """

    low: Tensor
    high: Tensor
    scale: Tensor
    zero_point: Tensor
    seen: Tensor
    noise_steps: Tensor

    def __init__(self, *, fixed: tuple[float, int] | None = None, momentum: float = 0.05, members: int = 1) -> None:
        super().__init__()
        self.momentum = momentum
        self.is_fixed = fixed is not None
        self.frozen = False
        self.tight = False
        scale, zero_point = fixed or (1.0, 0)
        self.register_buffer("seen", torch.zeros(members, dtype=torch.bool))
        self.register_buffer("low", torch.zeros(members))
        self.register_buffer("high", torch.zeros(members))
        self.register_buffer("scale", torch.tensor(scale))
        self.register_buffer("zero_point", torch.tensor(zero_point, dtype=torch.int32))
        self.register_buffer("noise_steps", torch.zeros(0), persistent=False)

    def forward(self, x: Tensor, member: int = 0) -> Tensor:
        if self.training and not (self.is_fixed or self.frozen):
            self.observe(x.detach(), member)
        noise = self.noise_steps if self.training and len(self.noise_steps) else None
        return round_to(x, float(self.scale), int(self.zero_point), noise=noise)

    def observe(self, x: Tensor, member: int = 0) -> None:
        """Move the member's range towards that of `x`; its first one is taken as it is."""
        low, high = (value.float() for value in torch.aminmax(x))
        if self.tight:
            share = _best_share(x, low.clamp(max=0.0), high.clamp(min=0.0))
            low, high = low * share, high * share
        weight = self.momentum if self.seen[member] else 1.0
        self.seen[member] = True
        self.low[member].lerp_(low, weight)
        self.high[member].lerp_(high, weight)
        # A member that was not seen yet stands at 0, which belongs to every range.
        scale, zero_point = affine(float(self.low.min()), float(self.high.max()))
        self.scale.fill_(scale)
        self.zero_point.fill_(zero_point)

    def set(self, scale: float, zero_point: int) -> None:
        """Take a known scale and keep it."""
        self.scale.fill_(scale)
        self.zero_point.fill_(zero_point)
        self.frozen = True


def noise_table(largest: float) -> Tensor:
    """Numbers that are evenly spread over [-largest, largest], always the same: (n,) float32."""
    generator = torch.Generator().manual_seed(0)
    return (torch.rand(_NOISE_LENGTH, generator=generator) * 2 - 1) * largest


def _best_share(x: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """The share of the range low <= 0 to high >= 0 in which a sample of `x` loses least by rounding and clipping."""
    # An odd stride meets all columns of a picture.
    sample = x.flatten()[:: x.numel() // _SAMPLE | 1].float()
    shares = torch.tensor(_SHARES, device=x.device)[:, None]
    step = ((high - low) * shares / (QMAX - QMIN)).clamp(min=SMALLEST_SCALE)
    rounded = (sample / step).round().clamp((low * shares / step).round(), (high * shares / step).round()) * step
    return shares[(rounded - sample).square().mean(1).argmin(), 0]


def weight_scales(weight: Tensor, largest: int) -> Tensor:
    """Symmetric scale of each output channel. weight: (out, in, kh, kw). largest: integer that the largest magnitude
    becomes. Returns: (out,) float32.
    """
    reach = weight.detach().abs().amax(dim=(1, 2, 3))
    return (reach / largest).clamp(min=SMALLEST_WEIGHT_SCALE).float()


class WeightRounding(nn.Module):
    """Rounds weights (out, in, kh, kw) symmetrically to [-largest, largest] steps, one scale an output channel."""

    def __init__(self, largest: int) -> None:
        super().__init__()
        self.largest = largest

    def forward(self, weight: Tensor) -> Tensor:
        scales = weight_scales(weight, self.largest)
        zero_points = torch.zeros_like(scales, dtype=torch.int32)
        rounded: Tensor = torch.fake_quantize_per_channel_affine(
            weight, scales, zero_points, 0, -self.largest, self.largest
        )
        return rounded


def bias_steps(weight: Tensor, input_scale: float, largest: int) -> Tensor:
    """What one step of a convolution's integer sums is worth. weight: (out, in, kh, kw). Returns: (out,) float64."""
    return weight_scales(weight, largest).double() * input_scale


def round_bias(bias: Tensor, steps: Tensor) -> Tensor:
    """bias: (out,), to multiples of `steps`, as float32. The gradient passes."""
    rounded = ((bias.detach().double() / steps).round() * steps).float()
    return bias + (rounded - bias.detach())


class BiasRounding(nn.Module):
    """Rounds a bias as runtimes do that store it as int32. `inputs`: the rounding of the convolution's input."""

    def __init__(self, inputs: ActivationRounding, largest: int) -> None:
        super().__init__()
        # In a tuple, for it is no part of this module.
        self._inputs = (inputs,)
        self.largest = largest

    def forward(self, bias: Tensor, weight: Tensor) -> Tensor:
        return round_bias(bias, bias_steps(weight, float(self._inputs[0].scale), self.largest))
