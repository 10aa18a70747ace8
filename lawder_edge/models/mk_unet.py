"""MK-UNet.

Paper: MK-UNet: Multi-kernel Lightweight CNN for Medical Image Segmentation - https://arxiv.org/abs/2509.18493
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from lawder_edge.models.blocks import (
    ChannelAttention,
    GroupedAttentionGate,
    MultiKernelInvertedResidual,
    SpatialAttention,
    init_weights,
    upsample,
)

# Squeeze ratios of the channel attention from the deepest stage up (the released code; the paper says 16 everywhere).
CA_RATIOS = (16, 16, 16, 8, 4)


class MKUNet(nn.Module):
    """Five encoder stages, five decoder stages, gated skips; logits at full resolution.

    x: (B, in_channels, H, W) in [-1, 1], H and W multiples of 32. Returns: (B, num_classes, H, W) logits. In training
    mode with `deep_supervision` set, a tuple: the logits, then those of the stages at H/2, H/4 and H/8, each at its own
    resolution.
    """

    stride = 32

    def __init__(self, widths: Sequence[int], *, in_channels: int = 3, num_classes: int = 1) -> None:
        super().__init__()
        w = tuple(widths)
        self.widths, self.in_channels, self.num_classes = w, in_channels, num_classes
        self.deep_supervision = False
        self.encoder = nn.ModuleList(
            MultiKernelInvertedResidual(a, b) for a, b in zip((in_channels, *w[:-1]), w, strict=True)
        )
        up = w[::-1]
        self.channel_attention = nn.ModuleList(ChannelAttention(c, ratio=r) for c, r in zip(up, CA_RATIOS, strict=True))
        self.spatial_attention = SpatialAttention()  # one for all stages, as published
        self.decoder = nn.ModuleList(
            MultiKernelInvertedResidual(a, b) for a, b in zip(up, (*up[1:], up[-1]), strict=True)
        )
        self.gates = nn.ModuleList(GroupedAttentionGate(c) for c in up[1:])
        # The published network carries three auxiliary heads and discards their output; here they serve deep
        # supervision and are dropped from every export.
        self.aux_heads = nn.ModuleList(nn.Conv2d(c, num_classes, 1) for c in (w[2], w[1], w[0]))
        self.head = nn.Conv2d(w[0], num_classes, 1)
        init_weights(self)

    def encode(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Returns: the H/32 feature and the skips at H/2, H/4, H/8, H/16."""
        skips = []
        for stage in self.encoder:
            x = F.max_pool2d(stage(x), 2)
            skips.append(x)
        return skips.pop(), skips

    def rise(self, x: Tensor, stage: int) -> Tensor:
        """Attention, MKIR and a doubling of the resolution."""
        x = self.spatial_attention(self.channel_attention[stage](x))
        return F.relu(upsample(self.decoder[stage](x), 2))

    def merge(self, x: Tensor, skip: Tensor, stage: int) -> Tensor:
        """Add the gated skip. x, skip: (B, C, h, w)."""
        merged: Tensor = x + self.gates[stage](x, skip)
        return merged

    def finish(self, x: Tensor) -> Tensor:
        """The last stage and the head: (B, C1, H/2, W/2) -> (B, num_classes, H, W)."""
        logits: Tensor = self.head(self.rise(x, 4))
        return logits

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, ...]:
        x, skips = self.encode(x)
        aux = []
        for stage in range(4):
            x = self.merge(self.rise(x, stage), skips[3 - stage], stage)
            if stage and self.training and self.deep_supervision:
                aux.append(self.aux_heads[stage - 1](x))
        logits = self.finish(x)
        return (logits, *aux[::-1]) if aux else logits
