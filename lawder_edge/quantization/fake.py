"""Rounding to int8 in floating point, with gradients, for training and for calibration."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lawder_edge.quantization.scales import QMAX, QMIN, SMALLEST_WEIGHT_SCALE, affine


class ActivationRounding(nn.Module):
    """Rounds an activation tensor of any shape to its scale, and in training mode, until `frozen`, learns its range.

    The range is a moving average of each batch's smallest and largest value, which 0 belongs to. The gradient passes
    where the value is inside the range.
    """

    low: Tensor
    high: Tensor
    scale: Tensor
    zero_point: Tensor
    seen: Tensor

    def __init__(self, *, fixed: tuple[float, int] | None = None, momentum: float = 0.05) -> None:
        super().__init__()
        self.momentum = momentum
        self.is_fixed = fixed is not None
        self.frozen = False
        scale, zero_point = fixed or (1.0, 0)
        self.register_buffer("seen", torch.zeros((), dtype=torch.bool))
        self.register_buffer("low", torch.zeros(()))
        self.register_buffer("high", torch.zeros(()))
        self.register_buffer("scale", torch.tensor(scale))
        self.register_buffer("zero_point", torch.tensor(zero_point, dtype=torch.int32))

    def forward(self, x: Tensor) -> Tensor:
        if self.training and not (self.is_fixed or self.frozen):
            self.observe(x.detach())
        rounded: Tensor = torch.fake_quantize_per_tensor_affine(x, self.scale, self.zero_point, QMIN, QMAX)
        return rounded

    def observe(self, x: Tensor) -> None:
        """Move the range towards that of `x`; the first one is taken as it is."""
        low, high = torch.aminmax(x)
        weight = self.momentum if self.seen else 1.0
        self.seen.fill_(True)
        self.low.lerp_(low.float(), weight)
        self.high.lerp_(high.float(), weight)
        scale, zero_point = affine(float(self.low), float(self.high))
        self.scale.fill_(scale)
        self.zero_point.fill_(zero_point)

    def set(self, scale: float, zero_point: int) -> None:
        """Take a known scale and keep it."""
        self.scale.fill_(scale)
        self.zero_point.fill_(zero_point)
        self.frozen = True


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
