"""Networks of about 42,000 parameters beside ORDER, to find out what learns: one change each, trained alike.

    PYTHONPATH=benchmarks lawder-edge train --model variants:UNet42 --data DIR --split TRAIN --schedule 128x12 \
        --val-every 3 --threads 1 --out runs/variants/UNet42

Results: benchmarks/results/variants.md
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from torch import Tensor, nn
from torch.nn import functional as F

from lawder_edge.models.attention import BidirectionalSkipAttention
from lawder_edge.models.blocks import MultiKernelInvertedResidual, upsample
from lawder_edge.models.mk_order import MKOrder
from lawder_edge.models.mk_unet import MKUNet
from lawder_edge.models.order import Order
from lawder_edge.models.unet import UNet, double_conv

Network = TypeVar("Network", bound=nn.Module)


def with_kaiming(network: Network) -> Network:
    """Convolutions at unit gain instead of the published standard deviation of 0.02; what starts at zero stays so."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d) and module.weight.abs().sum() > 0:
            nn.init.kaiming_normal_(module.weight, nonlinearity="linear")
    for module in network.modules():
        if isinstance(module, BidirectionalSkipAttention):
            module.init_weights()
    return network


def Wide(**options: Any) -> MKOrder:  # noqa: N802
    """More channels where pixels are many, fewer where they are few. 42,091 parameters."""
    return MKOrder(widths=(6, 12, 24, 32, 32), **options)


def Kaiming(**options: Any) -> MKOrder:  # noqa: N802
    return with_kaiming(MKOrder(**options))


def UNet42(**options: Any) -> UNet:  # noqa: N802
    """The plain U-Net at ORDER's size: 42,869 parameters."""
    return UNet(widths=(6, 8, 10, 14, 20, 20), **options)


class NoAttention(MKUNet):
    """MK-UNet at mk_order's widths without channel and spatial attention. 39,770 parameters."""

    def __init__(self, widths: Sequence[int] = (4, 8, 16, 32, 48), **options: Any) -> None:
        super().__init__(widths, **options)
        self.spatial_attention: nn.Module = nn.Identity()  # type: ignore[assignment]
        self.channel_attention = nn.ModuleList(nn.Identity() for _ in range(5))
        with_kaiming(self)


class Plain(NoAttention):
    """Nor gates: the skips are added. 38,468 parameters."""

    def __init__(self, widths: Sequence[int] = (4, 8, 16, 32, 48), **options: Any) -> None:
        super().__init__(widths, **options)
        self.gates = nn.ModuleList()

    def merge(self, x: Tensor, skip: Tensor, stage: int) -> Tensor:
        return x + skip


class DensePlain(Plain):
    """The same, two dense 3x3 convolutions in place of each multi-kernel block. 33,852 parameters."""

    def __init__(self, widths: Sequence[int] = (6, 10, 12, 18, 26), **options: Any) -> None:
        super().__init__(widths, **options)
        w, up = self.widths, self.widths[::-1]
        self.encoder = nn.ModuleList(double_conv(a, b) for a, b in zip((self.in_channels, *w[:-1]), w, strict=True))
        self.decoder = nn.ModuleList(double_conv(a, b) for a, b in zip(up, (*up[1:], up[-1]), strict=True))


class MultiKernel(MultiKernelInvertedResidual):
    """MK-UNet's block with a ReLU after it, as the dense stages have."""

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(super().forward(x))


class Below(UNet):
    """A U-Net below full size: a 3x3 stem of stride 2, whole skips from before the pooling, a head at H/2.

    `multi_kernel_from`: the level from which multi-kernel blocks stand in place of two dense 3x3 convolutions.
    """

    def __init__(
        self,
        widths: Sequence[int] = (10, 12, 14, 18, 20),
        *,
        multi_kernel_from: int = 5,
        in_channels: int = 3,
        num_classes: int = 1,
    ) -> None:
        w = tuple(widths)
        super().__init__(w, in_channels=8, num_classes=num_classes)
        self.in_channels = in_channels
        self.stem = nn.Sequential(
            nn.Conv2d(in_channels, 8, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU()
        )
        for level in range(multi_kernel_from, len(w)):
            self.down[level] = MultiKernel(w[level - 1], w[level])
            if level + 1 < len(w):
                self.up[len(w) - 2 - level] = MultiKernel(w[level] + w[level + 1], w[level])
        with_kaiming(self)

    def forward(self, x: Tensor) -> Tensor:
        return upsample(super().forward(self.stem(x)), 2)


def BelowMultiKernel(**options: Any) -> Below:  # noqa: N802
    """The same, multi-kernel blocks at H/8, H/16 and H/32. 42,231 parameters."""
    return Below((10, 14, 16, 20, 28), multi_kernel_from=2, **options)


def BelowWide(**options: Any) -> Below:  # noqa: N802
    """42,571 parameters."""
    return Below((14, 14, 14, 16, 16), **options)


def BelowNarrow(**options: Any) -> Below:  # noqa: N802
    """44,673 parameters."""
    return Below((8, 10, 14, 20, 24), **options)


def Stem6(**options: Any) -> Order:  # noqa: N802
    """Below with ORDER's 6x6 stem: ORDER with whole skips and without adapters. 42,078 parameters."""
    return Order(widths=(10, 12, 14, 18, 20), skips=(10, 12, 14, 18), late_levels=(), **options)


def SixKept(**options: Any) -> Order:  # noqa: N802
    """6 channels of the skip at H/2 in place of 4. 41,976 parameters."""
    return Order(skips=(6, 12, 16, 16), **options)


def SixKeptNoAdapters(**options: Any) -> Order:  # noqa: N802
    return Order(skips=(6, 12, 16, 16), late_levels=(), **options)


def SixKeptTokens16(**options: Any) -> Order:  # noqa: N802
    """Four times the tokens."""
    return Order(skips=(6, 12, 16, 16), token_stride=16, **options)


def SixKeptNarrow(**options: Any) -> Order:  # noqa: N802
    """8 channels at H/2. 41,428 parameters."""
    return Order(widths=(8, 12, 16, 16, 20), skips=(6, 12, 16, 16), **options)


def NoAdapters(**options: Any) -> Order:  # noqa: N802
    """ORDER whose skips do not attend, and nothing in their place. 40,228 parameters."""
    return Order(late_levels=(), **options)


def NoAdaptersWide(**options: Any) -> Order:  # noqa: N802
    """The same, its parameters spent on channels at H/8 instead. 41,783 parameters."""
    return Order(widths=(12, 12, 17, 16, 16), late_levels=(), **options)
