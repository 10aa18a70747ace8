"""What a generator's training is: one frozen record, written into the run folder and into the generator."""

from __future__ import annotations

import math
from dataclasses import dataclass

from lawder_edge.errors import BadInput
from lawder_edge.synthesis.arms import ARMS

# How long a run goes on, and what it shows of itself: a run may be resumed with other values of these.
FREE = ("steps", "checkpoint_every", "preview_every", "snapshots", "gradient_checkpointing")


@dataclass(frozen=True)
class SynthConfig:
    """The recipe. Sizes in pixels, times in optimiser steps.

    It is one that gave endoscopy-like pictures on two CPU cores within an hour (128 px, 3,400 steps a thread and hour).
    """

    arm: str = "law"  # how pixels are weighted: uniform, ratio, regions, law, law_on_regions, law_regions, law_joint
    steps: int = 4000  # of the optimiser; a finished run goes on with --resume and more of them
    size: int = 128  # side of the pictures
    batch: int = 16  # pictures a step, over all processes
    accumulate: int = 1  # parts that a process takes its share of the batch in, where memory is short
    learning_rate: float = 5e-4  # constant after the warm-up
    weight_decay: float = 1e-2  # on convolution weights only
    warmup_steps: int = 100  # linear
    clip_norm: float = 1.0  # of the gradient
    ema_decay: float = 0.999  # of the weights that are sampled from
    mask_dropout: float = 0.1  # share of pictures whose mask is withheld, for guidance
    flips: bool = True  # left-right and upside-down
    gamma: float = 0.5  # of the learned arms: how far the map moves the prior; 0: not at all, below 0: away from error
    lowest_weight: float = 0.2  # of a pixel
    highest_weight: float = 5.0  # of a pixel
    denoiser: str = "small"  # small, of pixels; or controlnet, which trains a ControlNet on Stable Diffusion's latents
    condition: str = ""  # lowpass trains a teacher, which is shown the picture's colours and layout beside the mask
    widths: tuple[int, ...] = (48, 96, 128)  # small: channels from the finest level down
    base: str = ""  # controlnet: Stable Diffusion, a diffusers folder or an id on the Hugging Face hub
    controlnet: str = ""  # folder or id of the ControlNet that it starts as; without, as a copy of the base's encoder
    prompt: str = ""  # controlnet: the one text that all pictures are drawn for; it is empty by default
    in_channels: int = 3  # 3 or 1
    num_classes: int = 1  # 1 is lesion or not; more are class indices with 0 as background
    lesion_class: int = 1  # labels from this one on are what the weighting calls lesion (KiTS19's tumour is 2)
    seed: int = 0  # of weights, order, noise and mask dropout
    checkpoint_every: int = 100
    preview_every: int = 500  # draws preview.png with the weights of the moment; 0 draws none
    snapshots: tuple[int, ...] = ()  # steps whose weights are kept in a file of their own
    mixed_precision: str = "no"  # no, fp16 or bf16, where the device has it
    gradient_checkpointing: bool = False  # less memory for more time

    def check(self) -> None:
        """Raises: BadInput naming the first option whose value makes no sense."""
        if self.arm not in ARMS:
            raise BadInput(f"unknown arm {self.arm!r}. Known: {', '.join(ARMS)}.")
        least = {
            "steps": 1, "size": 1, "batch": 1, "accumulate": 1, "warmup_steps": 0, "num_classes": 1, "lesion_class": 1,
            "seed": 0, "checkpoint_every": 1, "preview_every": 0,
        }  # fmt: skip
        for name, smallest in least.items():
            if getattr(self, name) < smallest:
                raise BadInput(f"{name} is {getattr(self, name)}; wanted {smallest} or more.")
        if self.seed >= 2**63:
            raise BadInput(f"seed is {self.seed}; wanted a number below 2^63.")
        for name in ("learning_rate", "clip_norm"):
            if not getattr(self, name) > 0:
                raise BadInput(f"{name} is {getattr(self, name)}; wanted a number above 0.")
        for name in ("weight_decay", "ema_decay", "mask_dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise BadInput(f"{name} is {getattr(self, name)}; wanted a number from 0 to below 1.")
        if not 0 < self.lowest_weight < 1 < self.highest_weight:
            raise BadInput(
                f"weights from {self.lowest_weight} to {self.highest_weight}; wanted a lowest in (0, 1) and a highest "
                "above 1, since their mean in a picture is 1."
            )
        if not math.isfinite(self.gamma):
            raise BadInput(f"gamma is {self.gamma}; wanted a number, below 0 for weight away from the expected error.")
        if self.in_channels not in (1, 3):
            raise BadInput(f"in_channels is {self.in_channels}; wanted 3 (RGB) or 1 (grey).")
        if self.lesion_class > max(1, self.num_classes - 1):
            raise BadInput(f"lesion_class is {self.lesion_class}, with {self.num_classes} classes there is none.")
        if self.condition not in ("", "lowpass"):
            raise BadInput(f"unknown condition {self.condition!r}. Known: lowpass, which trains a teacher.")
        if self.mixed_precision not in ("no", "fp16", "bf16"):
            raise BadInput(f"mixed_precision is {self.mixed_precision!r}; wanted no, fp16 or bf16.")


@dataclass(frozen=True)
class LossRecord:
    """Means over the steps since the row before.

    loss: weighted, in the arm's own terms. error: mean of (x0_hat - x0)^2 over all pixels, comparable between arms;
    lesion_error, background_error: of the pixels of each, over pictures that show both.
    """

    step: int
    loss: float
    error: float
    lesion_error: float
    background_error: float
    seconds: float


@dataclass(frozen=True)
class SynthProgress:
    """Where a run stands, told after each step."""

    step: int
    steps: int
    loss: float
