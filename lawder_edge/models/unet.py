"""A small plain U-Net: the network that every toolchain must handle and every claim can be held against.

Paper: U-Net: Convolutional Networks for Biomedical Image Segmentation - https://arxiv.org/abs/1505.04597
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lawder_edge.models.blocks import convolution, upsample

WIDTHS = (8, 12, 16, 24, 32, 32)


def double_conv(in_channels: int, out_channels: int) -> nn.Sequential:
    """Two 3x3 convolutions with BatchNorm and ReLU. (B, in, H, W) -> (B, out, H, W), 0 or more."""
    return nn.Sequential(*convolution(in_channels, out_channels), *convolution(out_channels, out_channels))


class UNet(nn.Module):
    """x: (B, in_channels, H, W) in [-1, 1], H and W multiples of 32. Returns: (B, num_classes, H, W) logits."""

    stride = 32

    def __init__(self, widths: Sequence[int] = WIDTHS, *, in_channels: int = 3, num_classes: int = 1) -> None:
        super().__init__()
        w = tuple(widths)
        self.in_channels, self.num_classes = in_channels, num_classes
        self.down = nn.ModuleList(double_conv(a, b) for a, b in zip((in_channels, *w[:-1]), w, strict=True))
        self.up = nn.ModuleList(double_conv(a + b, b) for a, b in zip(w[:0:-1], w[-2::-1], strict=True))
        self.head = nn.Conv2d(w[0], num_classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        skips: list[Tensor] = []
        for i, stage in enumerate(self.down):
            x = stage(F.max_pool2d(x, 2) if i else x)
            skips.append(x)
        x = skips.pop()
        for stage in self.up:
            x = stage(torch.cat([upsample(x, 2), skips.pop()], dim=1))
        logits: Tensor = self.head(x)
        return logits
