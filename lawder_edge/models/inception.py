"""Inception-v3 as published FID and KID use it: TensorFlow's network of 2015-12-05, features alone.

Paper: Rethinking the Inception Architecture - https://arxiv.org/abs/1512.00567. Names, widths and strides are those of
torchvision's port; the poolings differ from it, since the weights are another training's: an average leaves out the
padding (A, C and the first E), and the last block takes the largest value instead, which the paper's figure does not
(facts from mseitzer/pytorch-fid, `src/pytorch_fid/inception.py`).
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

NAME = "Inception-v3"
SIDE_PX = 299
FEATURES = 2048
# Of the weights' classifier: 1,001 classes of ImageNet and seven places that TensorFlow's graph left unused.
_CLASSES = 1008
_BN_EPS = 1e-3

# Channels out, kernel's height and width.
Layer = tuple[int, int, int]
Chains = Mapping[str, tuple[Layer, ...]]


class _Unit(nn.Module):
    """Convolution, BatchNorm, ReLU. Attributes are named as in the weights' file."""

    def __init__(self, inputs: int, layer: Layer, *, stride: int = 1, padded: bool = True) -> None:
        super().__init__()
        outputs, *kernel = layer
        padding = (kernel[0] // 2, kernel[1] // 2) if padded else (0, 0)
        self.conv = nn.Conv2d(inputs, outputs, (kernel[0], kernel[1]), stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(outputs, eps=_BN_EPS)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(x)))


class _Mixed(nn.Module):
    """Chains of units side by side on one input, and a pooled branch; their outputs one after another.

    chains: by name; of two layers or more, a number is added to the name. pooled: channels of the pooled branch's 1x1
    unit; 0 for a block that halves the picture, whose chains end at stride 2 without padding and whose pooled branch is
    the maximum itself. forked: the last layer of each longer chain is two side by side, along the row (a) and the
    column (b). largest: the pooled branch takes the maximum.
    """

    def __init__(
        self, inputs: int, chains: Chains, *, pooled: int, forked: bool = False, largest: bool = False
    ) -> None:
        super().__init__()
        self._halves, self._largest = not pooled, largest
        # For each branch its chain of names, and the names of the two that it ends in where it forks.
        self._branches: list[tuple[list[str], list[str]]] = []
        self.channels = pooled or inputs
        for name, layers in chains.items():
            before, line, ends = inputs, [], []
            for number, layer in enumerate(layers, start=1):
                last = number == len(layers)
                own = f"{name}_{number}" if len(layers) > 1 else name
                if last and forked and len(layers) > 1:
                    n, across, _ = layer
                    for suffix, shape in (("a", (n, 1, across)), ("b", (n, across, 1))):
                        self.add_module(own + suffix, _Unit(before, shape))
                        ends.append(own + suffix)
                    before = 2 * n
                else:
                    halving = last and self._halves
                    self.add_module(own, _Unit(before, layer, stride=1 + halving, padded=not halving))
                    line.append(own)
                    before = layer[0]
            self._branches.append((line, ends))
            self.channels += before
        if pooled:
            self.branch_pool = _Unit(inputs, (pooled, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        outputs = []
        for line, ends in self._branches:
            y = x
            for name in line:
                y = self.get_submodule(name)(y)
            outputs += [self.get_submodule(name)(y) for name in ends] or [y]
        if self._halves:
            outputs.append(F.max_pool2d(x, 3, 2))
        elif self._largest:
            outputs.append(self.branch_pool(F.max_pool2d(x, 3, 1, 1)))
        else:
            outputs.append(self.branch_pool(F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)))
        return torch.cat(outputs, 1)


_A: Chains = {"branch1x1": ((64, 1, 1),), "branch5x5": ((48, 1, 1), (64, 5, 5)),
              "branch3x3dbl": ((64, 1, 1), (96, 3, 3), (96, 3, 3))}  # fmt: skip
_B: Chains = {"branch3x3": ((384, 3, 3),), "branch3x3dbl": ((64, 1, 1), (96, 3, 3), (96, 3, 3))}
_D: Chains = {"branch3x3": ((192, 1, 1), (320, 3, 3)),
              "branch7x7x3": ((192, 1, 1), (192, 1, 7), (192, 7, 1), (192, 3, 3))}  # fmt: skip
_E: Chains = {"branch1x1": ((320, 1, 1),), "branch3x3": ((384, 1, 1), (384, 3, 3)),
              "branch3x3dbl": ((448, 1, 1), (384, 3, 3), (384, 3, 3))}  # fmt: skip


def _c(n: int) -> Chains:
    return {
        "branch1x1": ((192, 1, 1),),
        "branch7x7": ((n, 1, 1), (n, 1, 7), (192, 7, 1)),
        "branch7x7dbl": ((n, 1, 1), (n, 7, 1), (n, 1, 7), (n, 7, 1), (192, 1, 7)),
    }


class FidInception(nn.Module):
    """(B, 3, 299, 299) RGB in [-1, 1) -> (B, 2048), the mean over the 8 x 8 places of the last feature map.

    `legacy_bilinear` brings pictures to that size as TensorFlow's graph does.
    """

    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = _Unit(3, (32, 3, 3), stride=2, padded=False)
        self.Conv2d_2a_3x3 = _Unit(32, (32, 3, 3), padded=False)
        self.Conv2d_2b_3x3 = _Unit(32, (64, 3, 3))
        self.Conv2d_3b_1x1 = _Unit(64, (80, 1, 1))
        self.Conv2d_4a_3x3 = _Unit(80, (192, 3, 3), padded=False)
        self._order: list[str] = []
        channels = 192
        for name, chains, pooled, forked, largest in (
            ("Mixed_5b", _A, 32, False, False), ("Mixed_5c", _A, 64, False, False), ("Mixed_5d", _A, 64, False, False),
            ("Mixed_6a", _B, 0, False, False), ("Mixed_6b", _c(128), 192, False, False),
            ("Mixed_6c", _c(160), 192, False, False), ("Mixed_6d", _c(160), 192, False, False),
            ("Mixed_6e", _c(192), 192, False, False), ("Mixed_7a", _D, 0, False, False),
            ("Mixed_7b", _E, 192, True, False), ("Mixed_7c", _E, 192, True, True),
        ):  # fmt: skip
            block = _Mixed(channels, chains, pooled=pooled, forked=forked, largest=largest)
            self.add_module(name, block)
            self._order.append(name)
            channels = block.channels
        # Never asked. It tells these weights from torchvision's, of 1,000 classes and all other names and shapes alike.
        self.fc = nn.Linear(channels, _CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x)))
        x = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(F.max_pool2d(x, 3, 2)))
        x = F.max_pool2d(x, 3, 2)
        for name in self._order:
            x = self.get_submodule(name)(x)
        return x.mean((2, 3))


def legacy_bilinear(x: Tensor, side: int = SIDE_PX) -> Tensor:
    """(B, C, H, W) -> (B, C, side, side) as TensorFlow 1 resizes: place i reads i H / side, without half a pixel.

    No anti-aliasing. F.interpolate (of pytorch-fid) reads (i + .5) H / side - .5, and clean-fid (arXiv 2104.11222)
    shrinks by an anti-aliased cubic: each gives other features, and none is wrong by itself.
    """
    for axis in (3, 2):
        size = x.shape[axis]
        place = torch.arange(side, dtype=torch.float32, device=x.device) * (size / side)
        low = place.long().clamp(max=size - 1)
        high = (low + 1).clamp(max=size - 1)
        share = (place - low).view((-1, 1) if axis == 2 else (1, -1))
        first, second = x.index_select(axis, low), x.index_select(axis, high)
        x = first + (second - first) * share
    return x
