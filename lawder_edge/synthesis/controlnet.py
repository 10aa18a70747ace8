"""A denoiser of Stable Diffusion's latents, told of the mask by a ControlNet (arXiv 2302.05543)."""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Callable
from typing import Any, Self

import torch
from torch import Tensor, nn

from lawder_edge.errors import BadInput
from lawder_edge.synthesis.base_files import (
    CELL,
    DECODER,
    PROMPT_TOKENS,
    Base,
    encode_prompt,
    load_base,
    load_controlnet,
    require_transformers,
    size_step_px,
)
from lawder_edge.synthesis.condition import hints_of
from lawder_edge.synthesis.config import SynthConfig
from lawder_edge.synthesis.denoiser import Denoised, planes_of
from lawder_edge.synthesis.diffusion import expected, kept_share

# The picture of a mask has the channels of a colour picture, as ControlNets take it.
_COLOURS = 3


class ControlNetDenoiser(nn.Module):
    """Stable Diffusion with its encoder frozen and its decoder unlocked, and a ControlNet; x_0 is the VAE's latent.

    The state and the parameters are those of the ControlNet and of the UNet's decoder, and the prompt's embedding. What
    is frozen (VAE, and the UNet's encoder and middle) is held beside them, is moved with them, and is shared by copies.

    x_0 is had from the UNet's prediction, in float32: (x_t - sqrt(1 - a) noise) / sqrt(a) for noise, sqrt(a) x_t -
    sqrt(1 - a) v for v. At Stable Diffusion's last time 1 / sqrt(a) is 15, so that x_0 is known to .015 where the
    prediction is in half precision, at a time where it counts SNR = .005. A latent has no bound.

    A teacher's hint is shown in further channels of its ControlNet's picture.
    """

    limit = math.inf
    patch = CELL
    prompt: Tensor
    kept: Tensor

    def __init__(
        self, base: Base, controlnet: nn.Module, *, size: int, channels: int, planes: int, hints: int = 0
    ) -> None:
        super().__init__()
        config = base.unet.config
        self.shape = (int(config.in_channels), size // CELL, size // CELL)
        self.features = int(config.block_out_channels[0])
        self.schedule, self.base_sha256 = base.schedule, base.sha256
        base.vae.requires_grad_(False)
        base.unet.requires_grad_(False)
        # A plain record: what it holds is no part of the state.
        self._base, self._channels = base, channels
        self._plane_of_channel = [*(colour % planes for colour in range(_COLOURS)), *range(planes, planes + hints)]
        self.controlnet = controlnet
        self.decoder = nn.ModuleDict({name: getattr(base.unet, name) for name in DECODER})
        self.decoder.requires_grad_(True)
        self.register_buffer("prompt", torch.zeros(1, PROMPT_TOKENS, int(config.cross_attention_dim)))
        self.register_buffer("kept", kept_share(base.schedule), persistent=False)
        self._before_last: list[Tensor] = []
        base.unet.conv_norm_out.register_forward_pre_hook(self._keep)

    def _keep(self, _: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        self._before_last.append(arguments[0])

    def _apply(self, fn: Callable[..., Any], recurse: bool = True) -> Self:
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        for part in (self._base.unet, self._base.vae):
            part._apply(fn, recurse)
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> ControlNetDenoiser:
        trained = {id(parameter) for parameter in self.parameters()}
        parts = (self._base.unet, self._base.vae)
        memo |= {id(p): p for part in parts for p in part.parameters() if id(p) not in trained}
        twin = type(self).__new__(type(self))
        memo[id(self)] = twin
        twin.__dict__.update(copy.deepcopy(self.__dict__, memo))
        return twin

    def forward(self, x_t: Tensor, t: Tensor, planes: Tensor) -> Denoised:
        self._before_last.clear()
        text = self.prompt.expand(len(x_t), -1, -1)
        # White inside a class, black outside it, grey where the mask is withheld.
        picture = (planes[:, self._plane_of_channel] + 1) / 2
        down, middle = self.controlnet(x_t, t, text, picture, return_dict=False)
        said = self._base.unet(
            x_t, t, text, down_block_additional_residuals=down, mid_block_additional_residual=middle, return_dict=False
        )[0]
        x0 = expected(said.float(), x_t, self.kept[t], self._base.prediction)
        return Denoised(x0, self._before_last.pop())

    @torch.no_grad()
    def encode(self, pictures: Tensor) -> Tensor:
        """The mean of the VAE's latents, so that nothing is drawn here. Grey pictures are shown in three channels."""
        mean: Tensor = self._base.vae.encode(pictures.expand(-1, _COLOURS, -1, -1)).latent_dist.mode()
        return mean * self._base.scale

    @torch.no_grad()
    def decode(self, x0: Tensor) -> Tensor:
        pictures: Tensor = self._base.vae.decode(x0 / self._base.scale, return_dict=False)[0]
        return pictures if self._channels == _COLOURS else pictures.mean(1, keepdim=True)

    def begin(self, config: SynthConfig) -> None:
        if config.controlnet:
            load_controlnet(config.controlnet, self.controlnet)
        embedding = encode_prompt(config.base, config.prompt)
        if embedding.shape != self.prompt.shape:
            raise BadInput(
                f"--base {config.base}: its text encoder gives {tuple(embedding.shape)}, its UNet takes "
                f"{tuple(self.prompt.shape)}; they are not parts of one model."
            )
        self.prompt.copy_(embedding)

    def lend_frozen(self, other: ControlNetDenoiser) -> None:
        for name, part in self._base.unet.named_children():
            if name not in DECODER:
                setattr(other._base.unet, name, part)
        other._base = dataclasses.replace(other._base, vae=self._base.vae)

    def save_memory(self) -> None:
        for part in (self._base.unet, self.controlnet):
            part.enable_gradient_checkpointing()  # type: ignore[operator]


def check_controlnet(config: SynthConfig) -> None:
    """Raises: BadInput where base and recipe do not go together; Unavailable without transformers."""
    require_transformers()
    _check(config)


def create_controlnet(config: SynthConfig) -> ControlNetDenoiser:
    """The base with a ControlNet that is a copy of its encoder, its first layers random from torch's generator, its
    last ones zero. Raises: BadInput.
    """
    from diffusers import ControlNetModel

    _check(config)
    base, hints = load_base(config.base), hints_of(config)
    return ControlNetDenoiser(
        base,
        ControlNetModel.from_unet(base.unet, conditioning_channels=_COLOURS + hints),
        size=config.size,
        channels=config.in_channels,
        planes=planes_of(config.num_classes),
        hints=hints,
    )


def _check(config: SynthConfig) -> None:
    if not config.base:
        raise BadInput(
            "--denoiser controlnet needs --base: the diffusers folder of Stable Diffusion 1.5, or its id on the hub."
        )
    if config.condition and config.controlnet:
        raise BadInput(
            f"--controlnet {config.controlnet} was trained on pictures of {_COLOURS} channels, and a teacher "
            f"(--condition {config.condition}) shows its own {_COLOURS + hints_of(config)}. Leave --controlnet out."
        )
    if planes_of(config.num_classes) > _COLOURS:
        raise BadInput(
            f"num_classes is {config.num_classes}; with --denoiser controlnet wanted {_COLOURS + 1} at most, since a "
            f"ControlNet takes {_COLOURS} channels and the background needs none."
        )
    step = size_step_px(config.base)
    if config.size < step or config.size % step:
        raise BadInput(f"size {config.size}: with the base {config.base} wanted a multiple of {step}, such as 384.")
