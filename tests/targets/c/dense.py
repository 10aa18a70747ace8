"""A segmenter of dense 3x3 convolutions on top and multi-kernel blocks below, whose skips are most of memory."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lawder_edge.models.blocks import MultiKernelInvertedResidual, upsample


def double_conv(channels: int, wanted: int, *, stride: int = 1) -> nn.Sequential:
    """Two 3x3 convolutions with ReLU, the first of a stride. (B, channels, H, W) -> (B, wanted, H / stride, ...)."""
    first, second = nn.Conv2d(channels, wanted, 3, stride, 1), nn.Conv2d(wanted, wanted, 3, 1, 1)
    return nn.Sequential(first, nn.ReLU(), second, nn.ReLU())


class Dense(nn.Module):
    """x: (B, in_channels, H, W), H and W multiples of 16. Returns: (B, num_classes, H, W) logits.

    widths: at H/2 and H/4 (dense, skips joined by concatenation), at H/8 and H/16 (multi-kernel, skips added).
    """

    def __init__(self, widths: Sequence[int] = (8, 12, 24, 40), *, in_channels: int = 3, num_classes: int = 1) -> None:
        super().__init__()
        a, b, c, d = widths
        self.down2, self.down4 = double_conv(in_channels, a, stride=2), double_conv(a, b)
        self.down8, self.down16 = MultiKernelInvertedResidual(b, c), MultiKernelInvertedResidual(c, d)
        self.bottom = MultiKernelInvertedResidual(d, c)
        self.up8 = MultiKernelInvertedResidual(c, b)
        self.up4, self.up2 = double_conv(2 * b, a), double_conv(2 * a, a)
        self.head = nn.Conv2d(a, num_classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        at2 = self.down2(x)
        at4 = self.down4(F.max_pool2d(at2, 2))
        at8 = F.relu(self.down8(F.max_pool2d(at4, 2)))
        y = F.relu(self.bottom(F.relu(self.down16(F.max_pool2d(at8, 2)))))
        y = F.relu(self.up8(upsample(y, 2) + at8))
        y = self.up4(torch.cat([upsample(y, 2), at4], dim=1))
        y = self.up2(torch.cat([upsample(y, 2), at2], dim=1))
        logits: Tensor = upsample(self.head(y), 2)
        return logits
