"""The loss scale of half precision (fp16)."""

from __future__ import annotations

from accelerate import Accelerator

# It begins at 65,536 and is halved at each overflow. Gradients that overflow at this one have nothing left to scale
# down.
UNSCALED = 1.0


def loss_scale(accelerator: Accelerator) -> float:
    """What gradients are multiplied by, `UNSCALED` without fp16.

    A step after which it is lower was left out, for gradients that overflowed. `optimizer_step_was_skipped` does not
    tell where AdamW is fused, which leaves such a step out by itself (torch 2.13, accelerate 1.15).
    """
    return UNSCALED if accelerator.scaler is None else float(accelerator.scaler.get_scale())
