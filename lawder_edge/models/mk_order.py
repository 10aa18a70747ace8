"""The plain reading of ORDER: MK-UNet, its adapters beside the gates. At this size `order` learns more.

Paper: LAW & ORDER: Adaptive Spatial Weighting for Medical Diffusion and Segmentation - https://arxiv.org/abs/2603.04795
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from lawder_edge.models.attention import BidirectionalSkipAttention, Normaliser
from lawder_edge.models.blocks import upsample
from lawder_edge.models.mk_unet import MKUNet

WIDTHS = (4, 8, 16, 32, 48)
LATE_STAGES = (1, 2)  # the decoder stages that end at H/8 and H/4
STAGE_STRIDE = (16, 8, 4, 2)


class MKOrder(MKUNet):
    """MK-UNet with bidirectional skip attention at the late decoder stages.

    x: (B, in_channels, H, W) in [-1, 1], H and W multiples of 32. Returns: (B, num_classes, H, W) logits; in training
    as `MKUNet`.

    `token_stride` is the token grid relative to the input: 32 gives 64 tokens at 256x256; 0 keeps every position of the
    stage (the paper's 0.56 GFLOPs). It is constant, so that one export is right at every size. `normaliser` is sigmoid:
    of those whose operators every integer runtime has, the one whose map loses least at 1/256
    (benchmarks/results/attention_int8.md).

    Differs from MK-UNet in the order of three linear or positive operations: ReLU before the upsampling, and the head
    below the last upsampling (equal for a 1x1 head, as bilinear weights sum to one); an export then resizes
    num_classes channels at full size instead of C1.
    """

    def __init__(
        self,
        *,
        widths: Sequence[int] = WIDTHS,
        token_stride: int = 32,
        normaliser: Normaliser = "sigmoid",
        key_ratio: float = 0.5,
        in_channels: int = 3,
        num_classes: int = 1,
    ) -> None:
        super().__init__(widths, in_channels=in_channels, num_classes=num_classes)
        adapters: Mapping[str, BidirectionalSkipAttention] = {
            str(stage): BidirectionalSkipAttention(
                (c := self.widths[3 - stage]),
                c,
                key_channels=int(c * key_ratio),
                stride=token_stride // STAGE_STRIDE[stage] if token_stride else 1,
                normaliser=normaliser,
                fuses=True,
            )
            for stage in LATE_STAGES
        }
        self.adapters = nn.ModuleDict(adapters)
        for adapter in adapters.values():
            adapter.init_weights()

    def rise(self, x: Tensor, stage: int) -> Tensor:
        x = self.spatial_attention(self.channel_attention[stage](x))
        return upsample(F.relu(self.decoder[stage](x)), 2)

    def merge(self, x: Tensor, skip: Tensor, stage: int) -> Tensor:
        if stage in LATE_STAGES:
            x, skip = self.adapters[str(stage)](x, skip)
        return super().merge(x, skip, stage)

    def finish(self, x: Tensor) -> Tensor:
        x = self.spatial_attention(self.channel_attention[4](x))
        return upsample(self.head(F.relu(self.decoder[4](x))), 2)
