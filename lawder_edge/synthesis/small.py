"""A denoiser of pixels, small enough to be trained on a CPU."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lawder_edge.errors import BadInput
from lawder_edge.synthesis.condition import hints_of
from lawder_edge.synthesis.config import SynthConfig
from lawder_edge.synthesis.denoiser import Denoised, planes_of
from lawder_edge.synthesis.diffusion import COSINE

PATCH = 4


class SmallDenoiser(nn.Module):
    """diffusers' UNet2DModel on 4x4 patches, predicting the picture itself.

    One layer a block, attention at the coarsest level alone. At widths 48, 96, 128 it has 3.5 M parameters. It predicts
    x_0 because a network of this size, predicting v, gave coloured static after as many steps.
    """

    limit, schedule, base_sha256 = 1.0, COSINE, ""

    def __init__(self, *, size: int, channels: int, planes: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        from diffusers import UNet2DModel

        levels = len(widths)
        self.shape = (channels, size, size)
        self.patch, self.features = PATCH, widths[0]
        self.unet = UNet2DModel(
            sample_size=size // PATCH,
            in_channels=(channels + planes) * PATCH**2,
            out_channels=channels * PATCH**2,
            layers_per_block=1,
            block_out_channels=widths,
            down_block_types=("DownBlock2D",) * (levels - 1) + ("AttnDownBlock2D",),
            up_block_types=("AttnUpBlock2D",) + ("UpBlock2D",) * (levels - 1),
            norm_num_groups=math.gcd(16, *widths),
        )
        self._before_last: list[Tensor] = []
        # The decoder's output, before the norm and the convolution that make pixels of it: diffusers gives only those.
        self.unet.conv_norm_out.register_forward_pre_hook(self._keep)

    def _keep(self, _: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        self._before_last.append(arguments[0])

    def forward(self, x_t: Tensor, t: Tensor, planes: Tensor) -> Denoised:
        self._before_last.clear()
        patches = F.pixel_unshuffle(torch.cat([x_t, planes], 1), PATCH)
        x0 = F.pixel_shuffle(self.unet(patches, t, return_dict=False)[0], PATCH)
        return Denoised(x0, self._before_last.pop())

    def encode(self, pictures: Tensor) -> Tensor:
        return pictures

    def decode(self, x0: Tensor) -> Tensor:
        return x0

    def begin(self, config: SynthConfig) -> None:
        """Its weights are random: there is nothing to take in."""

    def lend_frozen(self, other: SmallDenoiser) -> None:
        """All of it is trained: there is nothing to lend."""

    def save_memory(self) -> None:
        self.unet.enable_gradient_checkpointing()


def check_small(config: SynthConfig) -> None:
    """Raises: BadInput for a size or widths that cannot be, and for options of another denoiser."""
    size, widths = config.size, config.widths
    if not widths or min(widths) < 1 or any(width % 4 for width in widths):
        raise BadInput(f"widths {widths}: wanted one or more multiples of 4, such as 48 96 128.")
    step = PATCH * 2 ** (len(widths) - 1)
    if size < 2 * step or size % step:
        raise BadInput(f"size {size}: with {len(widths)} widths wanted a multiple of {step} from {2 * step} on.")
    for name in ("base", "controlnet", "prompt"):
        if value := getattr(config, name):
            raise BadInput(f"--{name} {value} is for --denoiser controlnet; this is --denoiser small.")


def create_small(config: SynthConfig) -> SmallDenoiser:
    """With weights from torch's generator. Raises: BadInput as `check_small`."""
    check_small(config)
    planes = planes_of(config.num_classes) + hints_of(config)
    return SmallDenoiser(size=config.size, channels=config.in_channels, planes=planes, widths=config.widths)
