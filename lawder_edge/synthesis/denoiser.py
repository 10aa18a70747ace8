"""Networks that take the noise out of a picture, told where the lesion shall be."""

from __future__ import annotations

import importlib.util
import math
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lawder_edge.errors import BadInput, Unavailable

PATCH = 4


class Denoised(NamedTuple):
    """x0: (B, C, H, W), the picture that is expected. features: (B, F, H/p, W/p), what it was computed from last."""

    x0: Tensor
    features: Tensor


class Denoiser(Protocol):
    """What training and sampling ask of a network."""

    features: int
    patch: int

    def __call__(self, x_t: Tensor, t: Tensor, planes: Tensor) -> Denoised:
        """x_t: (B, C, H, W); t: (B,) int64 in [0, 1000); planes: as `mask_planes` gives them."""


def planes_of(num_classes: int) -> int:
    """How many planes a mask of so many classes (1: foreground or not) is shown as."""
    return max(1, num_classes - 1)


def mask_planes(labels: Tensor, *, num_classes: int, shown: Tensor | None = None) -> Tensor:
    """What the denoiser sees of a mask: (B, K, H, W) float32, 1 inside a class and -1 outside it.

    labels: (B, H, W) class indices. shown: (B,) bool; a mask that is withheld is 0 everywhere, which no mask is, so
    that "anything" is told from "nothing there".
    """
    inside = torch.stack([labels == k + 1 for k in range(planes_of(num_classes))], 1)
    planes = inside.float() * 2 - 1
    return planes if shown is None else planes * shown[:, None, None, None]


class SmallDenoiser(nn.Module):
    """diffusers' UNet2DModel on 4x4 patches, predicting the picture itself.

    One layer a block, attention at the coarsest level alone. At widths 48, 96, 128 it has 3.5 M parameters. It predicts
    x_0 because a network of this size, predicting v, gave coloured static after as many steps.
    """

    def __init__(self, *, size: int, channels: int, planes: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        from diffusers import UNet2DModel

        levels = len(widths)
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


def create_denoiser(
    kind: str, *, size: int, channels: int, num_classes: int, widths: tuple[int, ...], hints: int = 0
) -> Any:
    """A `Denoiser` module by name, with weights from torch's generator. hints: planes after the mask's.

    Raises: BadInput for a name, size or widths that cannot be; Unavailable without diffusers.
    """
    if kind not in DENOISERS:
        raise BadInput(f"unknown denoiser {kind!r}. Known: {', '.join(DENOISERS)}.")
    if not widths or min(widths) < 1 or any(width % 4 for width in widths):
        raise BadInput(f"widths {widths}: wanted one or more multiples of 4, such as 48 96 128.")
    step = PATCH * 2 ** (len(widths) - 1)
    if size < 2 * step or size % step:
        raise BadInput(f"size {size}: with {len(widths)} widths wanted a multiple of {step} from {2 * step} on.")
    require_diffusers()
    return DENOISERS[kind](size=size, channels=channels, planes=planes_of(num_classes) + hints, widths=widths)


def require_diffusers() -> None:
    """Raises: Unavailable where the extra is not installed."""
    if importlib.util.find_spec("diffusers") is None:
        raise Unavailable("the package diffusers is not installed. Install it: pip install 'lawder-edge[synth]'")


DENOISERS: dict[str, type[SmallDenoiser]] = {"small": SmallDenoiser}
