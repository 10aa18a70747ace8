"""A U-Net on an EfficientNet-Lite0 encoder, 100 times the size of ORDER: its teacher, never its rival on a device.

Papers: U-Net - https://arxiv.org/abs/1505.04597, EfficientNet - https://arxiv.org/abs/1905.11946
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lawder_edge.models.blocks import upsample
from lawder_edge.models.lite0 import Lite0Trunk
from lawder_edge.models.unet import double_conv

DECODER_WIDTHS = (96, 64, 40, 24)


class Lite0UNet(nn.Module):
    """x: (B, in_channels, H, W) in [-1, 1], H and W multiples of 32. Returns: (B, num_classes, H, W) logits.

    The head works at H/2; its logits are upsampled.
    """

    stride = 32

    def __init__(self, *, in_channels: int = 3, num_classes: int = 1) -> None:
        super().__init__()
        self.in_channels, self.num_classes = in_channels, num_classes
        self.encoder = Lite0Trunk(in_channels)
        *skips, deepest = Lite0Trunk.widths
        below = (deepest, *DECODER_WIDTHS[:-1])
        self.up = nn.ModuleList(
            double_conv(a + skip, b) for a, skip, b in zip(below, skips[::-1], DECODER_WIDTHS, strict=True)
        )
        self.head = nn.Conv2d(DECODER_WIDTHS[-1], num_classes, 1)
        # NHWC makes wide convolutions cheaper on CPUs and GPUs alike.
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, x: Tensor) -> Tensor:
        *skips, x = self.encoder.pyramid(x.contiguous(memory_format=torch.channels_last))
        for stage, skip in zip(self.up, reversed(skips), strict=True):
            x = stage(torch.cat([upsample(x, 2), skip], dim=1))
        logits: Tensor = upsample(self.head(x), 2)
        return logits
