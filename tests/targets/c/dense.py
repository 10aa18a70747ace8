"""Segmenters of dense 3x3 convolutions, whose skips are most of memory: one to be quantised, one already a graph."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from networks import Made
from torch import Tensor, nn
from torch.nn import functional as F

from lawder_edge.graph.ir import Concat, Conv2D, Graph, Logistic, MaxPool2D, Mean, Mul, Pad, ResizeBilinear
from lawder_edge.models.blocks import MultiKernelInvertedResidual, upsample

AROUND = Pad(((0, 0), (1, 1), (1, 1), (0, 0)))


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


def up(m: Made, x: str) -> str:
    _, h, w, c = next(t.shape for t in m.tensors if t.name == x)
    return m.add(ResizeBilinear(), x, shape=(1, 2 * h, 2 * w, c))


def dense_graph(height: int, width: int, *, gated: bool) -> Graph:
    """Stride-2 stem, two double convolutions, their skips joined by concatenation, logits resized at the end.

    gated: what is at H/8 is scaled by its mean, before which nothing of the decoder can be computed.
    """
    m = Made(height, width, 3, weight_scale=0.006)

    def convolved(x: str, channels: int, size: int = 3) -> str:
        return m.add(Conv2D("same", activation="relu"), x, shape=(channels, size, size))

    stem = m.add(Conv2D("valid", (2, 2), activation="relu"), m.add(AROUND, "image"), shape=(5, 3, 3))
    at2 = convolved(stem, 5)
    at4 = convolved(convolved(m.add(MaxPool2D((2, 2), (2, 2)), at2), 6), 6)
    y = convolved(m.add(MaxPool2D((2, 2), (2, 2)), at4), 7, 1)
    y = m.add(Mul(), y, m.add(Logistic(), m.add(Mean((1, 2)), y))) if gated else y
    y = convolved(convolved(m.add(Concat(3), up(m, y), at4), 6), 3, 1)
    y = convolved(convolved(m.add(Concat(3), up(m, y), at2), 5), 5)
    return m.graph(up(m, m.add(Conv2D(), y, shape=(1, 1, 1))))
