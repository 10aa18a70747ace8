"""Half precision (fp16): where it can be, and its loss scale."""

from __future__ import annotations

import torch
from accelerate import Accelerator

from lawder_edge.errors import BadInput

# It begins at 65,536 and is halved at each overflow. Gradients that overflow at this one have nothing left to scale
# down.
UNSCALED = 1.0


def check_half(precision: str, device: torch.device, *, option: str) -> None:
    """Raises: BadInput for fp16 on a CPU. option: that asked for it."""
    if precision == "fp16" and device.type == "cpu":
        raise BadInput(f"{option} fp16 needs a GPU. Take bf16, or leave {option} out.")


def loss_scale(accelerator: Accelerator) -> float:
    """What gradients are multiplied by, `UNSCALED` without fp16.

    A step after which it is lower was left out, for gradients that overflowed. `optimizer_step_was_skipped` does not
    tell where AdamW is fused, which leaves such a step out by itself (torch 2.13, accelerate 1.15).
    """
    return UNSCALED if accelerator.scaler is None else float(accelerator.scaler.get_scale())
