"""Distillation: a generator learns from a teacher that was shown more of the picture than its mask.

The idea of ADC (arXiv 2507.23652), the likely parent of LAW: a frozen branch that sees the picture, and the student's
distance to it, weighted per pixel. Here the network predicts x_0, so a teacher that is shown the picture would copy it
and its word would be the picture itself. It is shown a hint h instead (`condition.hint_planes`): colours and layout of
8 x 8 places, with noise. The student, which is shown the mask m alone, learns

    L = mean( lambda(t) w ( (1 - b) |x_hat - x_0|^2 + b |x_hat - T|^2 ) ),    T = teacher(x_t, t, m, h), no gradient

with the arm's own weights w and b the teacher's weight in [0, 1]. In x_hat that is, but for what does not depend on it,

    mean( lambda(t) w |x_hat - y|^2 ),    y = (1 - b) x_0 + b T

which is how it is computed: one target instead of two terms, and the same scale of the loss whatever b is.

What it is good for. The best student is E[y | x_t, m]. A calibrated teacher says T = E[x_0 | x_t, m, h], and by the
tower rule E[T | x_t, m] = E[x_0 | x_t, m]: then the best student is the same as without a teacher, for any b and any w
that depends on (x_t, t, m) alone. Its target scatters less: x_0 - T is orthogonal to all that (x_t, m, h) tell, so

    Var(y | x_t, m) = Var(T | x_t, m) + (1 - b)^2 E[ Var(x_0 | x_t, m, h) | x_t, m ]

and the second part, the texture that no hint tells, shrinks by (1 - b)^2. A teacher that is not calibrated (trained
too briefly, or on these very pictures too long) biases the student by b times its own error.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lawder_edge.errors import BadCheckpoint, BadInput
from lawder_edge.synthesis.config import SynthConfig
from lawder_edge.synthesis.generator import GeneratorRecord, StoredGenerator, load_stored, read_generator

# What its word counts in the target where nobody says.
TEACHER_WEIGHT = 0.5


@dataclass(frozen=True)
class Teacher:
    """denoiser: frozen, in eval mode. weight: b, in (0, 1]. sha256: of its file's tensors."""

    denoiser: Any
    record: GeneratorRecord
    sha256: str
    weight: float

    def target(self, x0: Tensor, x_t: Tensor, t: Tensor, planes: Tensor) -> Tensor:
        """y of the pictures, (B, C, H, W), through which nothing is differentiated. planes: of mask and hint."""
        with torch.no_grad():
            said = self.denoiser(x_t, t, planes).x0.to(x0.dtype)
        return torch.lerp(x0, said, self.weight)


def read_teacher(path: Path, config: SynthConfig, *, weight: float) -> StoredGenerator:
    """A teacher's file that a run of `config` can learn from; its network is not made.

    Raises: BadInput for a weight that cannot be, and for a student that is itself shown a hint; BadCheckpoint for a
    file that is no teacher, or one of another size, channels or classes, naming both.
    """
    if not 0 < weight <= 1:
        raise BadInput(f"teacher weight is {weight}; wanted a number above 0 and up to 1, such as 0.5.")
    if config.condition:
        raise BadInput(
            f"--condition {config.condition} trains a teacher, which learns from pictures. Leave --teacher out."
        )
    stored = read_generator(path)
    theirs = stored.record.config
    if not theirs.condition:
        raise BadCheckpoint(
            f"{path}: a generator that is shown masks alone, which knows no more than the student. Train a teacher: "
            "lawder-edge synth train --condition lowpass ..."
        )
    for name in ("size", "in_channels", "num_classes", "denoiser"):
        was, wanted = getattr(theirs, name), getattr(config, name)
        if was != wanted:
            raise BadCheckpoint(
                f"{path}: a teacher of {name} {was}; this run has {wanted}. Give --{name.replace('_', '-')} {was}, or "
                "another teacher."
            )
    return stored


def load_teacher(path: Path, config: SynthConfig, *, weight: float) -> Teacher:
    """A teacher for a run of `config`, on the CPU and on that run's base: latents of another mean something else.

    Raises: as `read_teacher`; BadCheckpoint where it was trained on another base.
    """
    loaded = load_stored(read_teacher(path, config, weight=weight), base=config.base)
    return Teacher(loaded.denoiser.requires_grad_(False), loaded.record, loaded.sha256, weight)
