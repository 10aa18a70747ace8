"""Building blocks of MK-UNet.

Paper: MK-UNet: Multi-kernel Lightweight CNN for Medical Image Segmentation - https://arxiv.org/abs/2509.18493

All tensors are NCHW float32. Blocks keep H and W unless their docstring says otherwise.
"""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

KERNELS = (1, 3, 5)


def channel_shuffle(x: Tensor, groups: int) -> Tensor:
    """Interleave channel groups: channel g * (C / groups) + i moves to i * groups + g. x: (B, C, H, W)."""
    b, c, h, w = x.shape
    return x.view(b, groups, c // groups, h, w).transpose(1, 2).reshape(b, c, h, w)


def upsample(x: Tensor, factor: int) -> Tensor:
    """Bilinear, half-pixel centres. x: (B, C, H, W) -> (B, C, factor * H, factor * W)."""
    return F.interpolate(x, scale_factor=float(factor), mode="bilinear", align_corners=False)


def convolution(in_channels: int, out_channels: int, *, side: int = 3, stride: int = 1) -> list[nn.Module]:
    """A dense convolution with BatchNorm and ReLU. (B, in, H, W) -> (B, out, H / stride, W / stride), 0 or more.

    side - stride is even, so that as much is padded on either side.
    """
    conv = nn.Conv2d(in_channels, out_channels, side, stride=stride, padding=(side - stride) // 2, bias=False)
    return [conv, nn.BatchNorm2d(out_channels), nn.ReLU()]


def depthwise(x: Tensor, weight: Tensor) -> Tensor:
    """A depthwise convolution of stride 1 that keeps height and width, by the route whose gradient is cheap on CPUs.

    x: (B, C, H, W). weight: (C, 1, k, k), k odd.

    oneDNN's weight gradient of a 5x5 depthwise convolution costs 2.5 to 3.4 times as much in NCHW as in NHWC, and a 1x1
    one is a product. Over a training step of ORDER at 256x256: 1.4 times faster.
    """
    c, k = x.shape[1], weight.shape[2]
    if k == 1:
        return x * weight.view(1, c, 1, 1)
    nhwc = x.contiguous(memory_format=torch.channels_last)
    return F.conv2d(nhwc, weight, padding=k // 2, groups=c).contiguous()


def paired(x: Tensor, conv: nn.Conv2d) -> Tensor:
    """The same result as conv(x) for groups of two channels in, one out: a depthwise convolution and a sum of pairs.

    The batch is folded into the channels, which keeps oneDNN on its depthwise kernel (3 to 6 times faster backward).
    """
    b, c, h, w = x.shape
    k = conv.kernel_size[0]
    # Not view: weights may be in channels_last.
    weight = conv.weight.reshape(c, 1, k, k).repeat(b, 1, 1, 1)
    y = F.conv2d(x.reshape(1, b * c, h, w), weight, padding=k // 2, groups=b * c).reshape(b, c // 2, 2, h, w).sum(2)
    return y if conv.bias is None else y + conv.bias.view(1, -1, 1, 1)


class MultiKernelInvertedResidual(nn.Module):
    """MKIR: 1x1 expansion by 2, the sum of 1x1, 3x3 and 5x5 depthwise branches, shuffle, 1x1 projection, residual.

    Paper section 3.1. x: (B, in_channels, H, W) -> (B, out_channels, H, W), unbounded.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        hidden = 2 * in_channels
        self.expand = nn.Conv2d(in_channels, hidden, 1, bias=False)
        self.expand_bn = nn.BatchNorm2d(hidden)
        self.branches = nn.ModuleList(
            nn.Conv2d(hidden, hidden, k, padding=k // 2, groups=hidden, bias=False) for k in KERNELS
        )
        self.branch_bns = nn.ModuleList(nn.BatchNorm2d(hidden) for _ in KERNELS)
        self.groups = math.gcd(hidden, out_channels)
        self.project = nn.Conv2d(hidden, out_channels, 1, bias=False)
        self.project_bn = nn.BatchNorm2d(out_channels)
        self.skip = (
            nn.Identity() if in_channels == out_channels else nn.Conv2d(in_channels, out_channels, 1, bias=False)
        )

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu6(self.expand_bn(self.expand(x)))
        parts = [
            F.relu6(bn(depthwise(y, cast(nn.Conv2d, conv).weight) if self.training else conv(y)))
            for conv, bn in zip(self.branches, self.branch_bns, strict=True)
        ]
        total = channel_shuffle(parts[0] + parts[1] + parts[2], self.groups)
        out: Tensor = self.project_bn(self.project(total)) + self.skip(x)
        return out


class ChannelAttention(nn.Module):
    """CBAM channel attention, one shared bottleneck for the average- and the maximum-pooled vector.

    x: (B, C, H, W) -> x times a gate in (0, 1) of shape (B, C, 1, 1).
    """

    def __init__(self, channels: int, *, ratio: int) -> None:
        super().__init__()
        hidden = max(channels // ratio, 1)
        self.squeeze = nn.Conv2d(channels, hidden, 1, bias=False)
        self.excite = nn.Conv2d(hidden, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        # amax and mean rather than adaptive pooling: every exporter has a lowering for them.
        average = self.excite(F.relu(self.squeeze(x.mean((2, 3), keepdim=True))))
        peak = self.excite(F.relu(self.squeeze(x.amax((2, 3), keepdim=True))))
        return x * torch.sigmoid(average + peak)


class SpatialAttention(nn.Module):
    """CBAM spatial attention. x: (B, C, H, W) -> x times a gate in (0, 1) of shape (B, 1, H, W)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 1, 7, padding=3, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        stats = torch.cat([x.mean(1, keepdim=True), x.amax(1, keepdim=True)], dim=1)
        return x * torch.sigmoid(self.conv(stats))


class GroupedAttentionGate(nn.Module):
    """GAG: the skip, scaled by a gate that the decoder feature and the skip agree on.

    Paper section 3.2. decoder, skip: (B, C, H, W), C even -> (B, C, H, W).
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        half = channels // 2
        self.decoder_conv = nn.Conv2d(channels, half, 3, padding=1, groups=half)
        self.decoder_bn = nn.BatchNorm2d(half)
        self.skip_conv = nn.Conv2d(channels, half, 3, padding=1, groups=half)
        self.skip_bn = nn.BatchNorm2d(half)
        self.psi = nn.Conv2d(half, 1, 1)
        self.psi_bn = nn.BatchNorm2d(1)

    def forward(self, decoder: Tensor, skip: Tensor) -> Tensor:
        if self.training:
            joint = self.decoder_bn(paired(decoder, self.decoder_conv)) + self.skip_bn(paired(skip, self.skip_conv))
        else:
            joint = self.decoder_bn(self.decoder_conv(decoder)) + self.skip_bn(self.skip_conv(skip))
        return skip * torch.sigmoid(self.psi_bn(self.psi(F.relu(joint))))


def init_weights(module: nn.Module) -> None:
    """Convolutions normal with std 0.02 and zero bias, BatchNorm identity, as published."""
    for m in module.modules():
        if isinstance(m, nn.Conv2d):
            nn.init.normal_(m.weight, std=0.02)
            if m.bias is not None:
                nn.init.zeros_(m.bias)
