"""What takes the noise out of a picture, told where the lesion shall be: what every such network gives and is shown."""

from __future__ import annotations

import importlib.util
from typing import NamedTuple, Protocol, Self

import torch
from torch import Tensor

from lawder_edge.errors import Unavailable
from lawder_edge.synthesis.config import SynthConfig
from lawder_edge.synthesis.diffusion import Schedule


class Denoised(NamedTuple):
    """x0: (B, C, h, w), what is expected. features: (B, F, H/p, W/p), what it was computed from last."""

    x0: Tensor
    features: Tensor


class Denoiser(Protocol):
    """What training and sampling ask of a network, which is a module whose state holds what is trained.

    x_0 is the picture itself or a code of it, on a grid whose places stand for one pixel or for squares of them; noise
    and loss are taken there.

    shape: of x_0, (C, h, w). limit: of |x_0|; infinity where there is none. schedule: of the noise. features: channels
    of `Denoised.features`. patch: pixels a side that a place of them stands for. base_sha256: of the frozen weights
    that it goes by and its state lacks; empty where there are none.
    """

    shape: tuple[int, int, int]
    limit: float
    schedule: Schedule
    features: int
    patch: int
    base_sha256: str

    def __call__(self, x_t: Tensor, t: Tensor, planes: Tensor) -> Denoised:
        """x_t: (B, C, h, w); t: (B,) int64 in [0, 1000); planes: (B, K, H, W) as `mask_planes` gives them."""

    def encode(self, pictures: Tensor) -> Tensor:
        """x_0 of pictures (B, C, H, W) in [-1, 1]. No gradient passes."""

    def decode(self, x0: Tensor) -> Tensor:
        """Pictures (B, C, H, W), about in [-1, 1], of x_0."""

    def begin(self, config: SynthConfig) -> None:
        """Take in what a run begins with and one that goes on has in its state. Raises: BadInput, Unavailable."""

    def lend_frozen(self, other: Self) -> None:
        """Let another of the same base go by the frozen weights of this one, instead of by a copy of its own."""

    def save_memory(self) -> None:
        """Compute activations again on the way back instead of keeping them: the same gradients, later."""


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


def require_diffusers() -> None:
    """Raises: Unavailable where the extra is not installed."""
    if importlib.util.find_spec("diffusers") is None:
        raise Unavailable("the package diffusers is not installed. Install it: pip install 'lawder-edge[synth]'")
