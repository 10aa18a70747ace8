"""The denoisers by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lawder_edge.errors import BadInput
from lawder_edge.synthesis.config import SynthConfig
from lawder_edge.synthesis.controlnet import check_controlnet, create_controlnet
from lawder_edge.synthesis.denoiser import require_diffusers
from lawder_edge.synthesis.small import check_small, create_small


@dataclass(frozen=True)
class Kind:
    """check: raises where a run of this recipe cannot begin. create: a `Denoiser` module, on the CPU."""

    check: Callable[[SynthConfig], None]
    create: Callable[[SynthConfig], Any]


DENOISERS = {
    "small": Kind(check_small, create_small),
    "controlnet": Kind(check_controlnet, create_controlnet),
}


def check_denoiser(config: SynthConfig) -> None:
    """Raises: BadInput for a name or option that cannot be; Unavailable without the packages that it takes."""
    kind = _kind(config)
    require_diffusers()
    kind.check(config)


def create_denoiser(config: SynthConfig) -> Any:
    """A `Denoiser` module, with random weights from torch's generator where it has such.

    Raises: BadInput for a name, size, widths or base that cannot be; Unavailable without diffusers.
    """
    kind = _kind(config)
    require_diffusers()
    denoiser = kind.create(config)
    if config.gradient_checkpointing:
        denoiser.save_memory()
    return denoiser


def _kind(config: SynthConfig) -> Kind:
    if config.denoiser not in DENOISERS:
        raise BadInput(f"unknown denoiser {config.denoiser!r}. Known: {', '.join(DENOISERS)}.")
    return DENOISERS[config.denoiser]
