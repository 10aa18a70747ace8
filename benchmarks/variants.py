"""Networks of about 42,000 parameters beside ORDER, to find out what learns: one change each, trained alike.

    PYTHONPATH=benchmarks lawder-edge train --model variants:UNet42 --data DIR --split TRAIN --schedule 128x12 \
        --val-every 3 --threads 1 --out runs/variants/UNet42

Results: benchmarks/results/variants.md
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from torch import Tensor, nn

from lawder_edge.models.attention import BidirectionalSkipAttention
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


def Wide(**options: Any) -> Order:  # noqa: N802
    """More channels where pixels are many, fewer where they are few. 42,091 parameters."""
    return Order(widths=(6, 12, 24, 32, 32), **options)


def Kaiming(**options: Any) -> Order:  # noqa: N802
    return with_kaiming(Order(**options))


def UNet42(**options: Any) -> UNet:  # noqa: N802
    """The plain U-Net at ORDER's size: 42,869 parameters."""
    return UNet(widths=(6, 8, 10, 14, 20, 20), **options)


class NoAttention(MKUNet):
    """MK-UNet at ORDER's widths without channel and spatial attention. 39,770 parameters."""

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
