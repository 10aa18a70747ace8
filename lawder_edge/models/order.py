"""ORDER: Optimal Region Detection with Efficient Resolution.

Paper: LAW & ORDER: Adaptive Spatial Weighting for Medical Diffusion and Segmentation - https://arxiv.org/abs/2603.04795
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lawder_edge.models.attention import BidirectionalSkipAttention, Normaliser
from lawder_edge.models.blocks import convolution, upsample
from lawder_edge.models.unet import double_conv

WIDTHS = (12, 12, 16, 16, 16)  # at H/2, H/4, H/8, H/16, H/32
SKIPS = (4, 12, 16, 16)  # what of the first four the decoder is shown
LATE_LEVELS = (1, 2)  # those whose skips attend: H/4 and H/8
STEM_SIDE = 6


class Joined(nn.Sequential):
    """Layers over a decoder feature and a skip. decoder: (B, Cd, H, W), skip: (B, Cs, H, W) -> (B, C, H, W)."""

    def __init__(self, decoder_channels: int, skip_channels: int, out_channels: int) -> None:
        super().__init__(*double_conv(decoder_channels + skip_channels, out_channels))
        self.decoder_channels = decoder_channels

    def forward(self, decoder: Tensor, skip: Tensor) -> Tensor:  # type: ignore[override]
        x = self.join(decoder, skip)
        for layer in self:
            x = layer(x)
        return x

    def join(self, decoder: Tensor, skip: Tensor) -> Tensor:
        """What the layers are given. Returns: (B, Cd + Cs, H, W)."""
        return torch.cat([decoder, skip], dim=1)


class Order(nn.Module):
    """A U-Net below full size whose late skips and decoder features attend to each other.

    x: (B, in_channels, H, W) in [-1, 1], H and W multiples of 32. Returns: (B, num_classes, H, W) logits. In training
    mode with `deep_supervision` set, a tuple: the logits, then those at H/4, H/8 and H/16.

    Differs from the paper's words in its backbone: dense 3x3 convolutions in place of MK-UNet's multi-kernel blocks,
    and skips from before the pooling, concatenated. At 42,000 parameters that learns what the plain reading does not
    (`mk_order`; benchmarks/results/variants.md). Made for devices:

    - One 6x6 convolution of stride 2, as much as a 3x3 one of 2x2 pixels in a channel each: nothing is computed at full
      size, and the one padding is the same in every runtime, which an odd window of stride 2 has not.
    - `skips` of the `widths` channels are kept for the decoder, by a 1x1 convolution where they are fewer: what a row
      needs while it is computed is cheap, what must wait is not: at 256x256 a channel at H/2 is 16 KB. The 4 at H/2 and
      the decoder's 12 fill a vector of 16 channels.
    - `token_stride` is the token grid relative to the input, constant, so that one export is right at every size: 32
      gives 64 tokens at 256x256. `normaliser` is sigmoid: of those whose operators every integer runtime has, the one
      whose map loses least at 1/256 (benchmarks/results/attention_int8.md).
    """

    stride = 32

    def __init__(
        self,
        *,
        widths: Sequence[int] = WIDTHS,
        skips: Sequence[int] = SKIPS,
        late_levels: Sequence[int] = LATE_LEVELS,
        token_stride: int = 32,
        key_channels: int = 8,
        normaliser: Normaliser = "sigmoid",
        in_channels: int = 3,
        num_classes: int = 1,
    ) -> None:
        super().__init__()
        w = tuple(widths)
        self.widths, self.in_channels, self.num_classes = w, in_channels, num_classes
        self.deep_supervision = False
        stem = convolution(in_channels, w[0], side=STEM_SIDE, stride=2)
        self.encoder = nn.ModuleList(
            [nn.Sequential(*stem, *convolution(w[0], w[0]))] + [double_conv(a, b) for a, b in pairwise(w)]
        )
        self.keep = nn.ModuleList(
            nn.Identity() if a == b else nn.Sequential(*convolution(a, b, side=1))
            for a, b in zip(w[:-1], skips, strict=True)
        )
        self.decoder = nn.ModuleList(
            Joined(below, skip, out) for below, skip, out in zip(w[1:], skips, w[:-1], strict=True)
        )
        self.adapters = nn.ModuleDict(
            {
                str(level): BidirectionalSkipAttention(
                    w[level + 1],
                    skips[level],
                    key_channels=key_channels,
                    stride=token_stride >> level + 1,
                    normaliser=normaliser,
                )
                for level in late_levels
            }
        )
        self.aux_heads = nn.ModuleList(nn.Conv2d(c, num_classes, 1) for c in w[1:4])
        self.head = nn.Conv2d(w[0], num_classes, 1)
        _init_weights(self)

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, ...]:
        skips = []
        for level, stage in enumerate(self.encoder):
            x = stage(F.max_pool2d(x, 2) if level else x)
            if level < len(self.keep):
                skips.append(self.keep[level](x))
        aux = []
        for level in reversed(range(len(self.decoder))):
            x, skip = upsample(x, 2), skips[level]
            if str(level) in self.adapters:
                x, skip = self.adapters[str(level)](x, skip)
            x = self.decoder[level](x, skip)
            if level and self.training and self.deep_supervision:
                aux.append(self.aux_heads[level - 1](x))
        # Equal to a head above the upsampling, as bilinear weights sum to one, at a quarter of its work.
        logits = upsample(self.head(x), 2)
        return (logits, *aux[::-1]) if aux else logits


def _init_weights(model: Order) -> None:
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu" if module.bias is None else "linear")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    for adapter in model.adapters.children():
        if isinstance(adapter, BidirectionalSkipAttention):
            adapter.init_weights()
