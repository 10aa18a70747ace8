"""EfficientNet-Lite0 without its classifier: features of pictures, and the encoder of a teacher.

Papers: EfficientNet - https://arxiv.org/abs/1905.11946, in TensorFlow's Lite form: no squeeze-and-excitation, ReLU6.
Tensors are named as in the published weights (`lawder_edge.training.pretrained`).
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

NAME = "EfficientNet-Lite0"
SIDE_PX = 224
FEATURES = 1280
_BN_EPS = 1e-3
# Kernel, stride, expansion, channels out and how often.
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


class Lite0Trunk(nn.Module):
    """The stem and the blocks. x: (B, in_channels, H, W) in [-1, 1]; H and W multiples of 32 for `pyramid`."""

    # Of the pyramid's features, from H/2 to H/32.
    widths = (16, 24, 40, 112, 320)

    def __init__(self, in_channels: int = 3) -> None:
        super().__init__()
        self._conv_stem, self._bn0 = _conv(in_channels, 32, 3, 2), _norm(32)
        blocks: list[nn.Module] = []
        channels = 32
        for kernel, stride, expansion, outputs, repeats in _STAGES:
            for repeat in range(repeats):
                blocks.append(
                    _Block(channels, outputs, kernel=kernel, stride=1 if repeat else stride, expansion=expansion)
                )
                channels = outputs
        self._blocks = nn.ModuleList(blocks)

    def pyramid(self, x: Tensor) -> list[Tensor]:
        """The last feature at H/2, H/4, H/8, H/16 and H/32, of `widths` channels."""
        features: list[Tensor] = []
        x = F.relu6(self._bn0(self._conv_stem(x)))
        for block in self._blocks:
            y = block(x)
            if y.shape[2] != x.shape[2]:
                features.append(x)
            x = y
        return [*features, x]


class Lite0(Lite0Trunk):
    """(B, 3, 224, 224) RGB in [-1, 1] -> (B, 1280), the mean over the places of the last feature map."""

    def __init__(self) -> None:
        super().__init__()
        self._conv_head, self._bn1 = _conv(self.widths[-1], FEATURES), _norm(FEATURES)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu6(self._bn1(self._conv_head(self.pyramid(x)[-1]))).mean((2, 3))
