"""From noise to pictures: diffusers' samplers around a denoiser, with guidance by the withheld mask."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lawder_edge.errors import BadInput
from lawder_edge.synthesis.denoiser import Denoiser
from lawder_edge.synthesis.diffusion import TIMES, Schedule

SAMPLERS = ("dpm", "ddim")
PRECISIONS = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Solver:
    """How noise becomes a picture. Both samplers are deterministic: all chance is in the first noise.

    sampler: dpm (DPM-Solver++ 2M, arXiv 2211.01095) or ddim (arXiv 2010.02502, eta 0). steps: of it, trailing spacing
    (arXiv 2305.08891). guidance: x0 = x0(no mask) + guidance (x0(mask) - x0(no mask)), arXiv 2207.12598; 1 asks the
    denoiser once a step instead of twice. precision: of the denoiser's convolutions and matrix products, by autocast;
    weights, noise, the sampler's sums and the decoder of latents stay in float32.
    """

    sampler: str = "dpm"
    steps: int = 20
    guidance: float = 1.5
    precision: str = "fp32"

    def check(self) -> None:
        """Raises: BadInput naming the first option whose value makes no sense."""
        if self.sampler not in SAMPLERS:
            raise BadInput(f"unknown sampler {self.sampler!r}. Known: {', '.join(SAMPLERS)}.")
        if self.precision not in PRECISIONS:
            raise BadInput(f"unknown precision {self.precision!r}. Known: {', '.join(PRECISIONS)}.")
        if not 1 <= self.steps <= TIMES:
            raise BadInput(f"steps is {self.steps}; wanted 1 to {TIMES}.")
        if self.sampler == "ddim" and TIMES % self.steps:
            # diffusers spaces times by 1000 / steps and steps by 1000 // steps: more noise would be left than is told.
            below = max(n for n in range(1, self.steps) if TIMES % n == 0)
            raise BadInput(
                f"{self.steps} steps of ddim do not divide {TIMES}; wanted a number that does, such as {below}."
            )
        if not self.guidance >= 0:
            raise BadInput(f"guidance is {self.guidance}; wanted 0 (the mask is not shown) or more, such as 1.5.")


DEFAULT = Solver()


@torch.no_grad()
def solve(
    denoiser: Denoiser,
    planes: Tensor,
    noise: Tensor,
    solver: Solver,
    *,
    on_step: Callable[[int], None] | None = None,
) -> Tensor:
    """planes: (B, K, H, W) as `mask_planes` gives them; noise: (B, *denoiser.shape) standard normal. on_step: told
    steps done.

    Returns: pictures (B, C, H, W) float32 in [-1, 1].
    """
    scheduler = _scheduler(solver.sampler, denoiser.schedule)
    scheduler.set_timesteps(solver.steps, device=noise.device)
    x, half = noise, PRECISIONS[solver.precision]
    for done, t in enumerate(scheduler.timesteps, start=1):
        with torch.autocast(noise.device.type, dtype=half, enabled=half is not None):
            x0 = _expected(denoiser, x, t, planes, solver.guidance)
        x = scheduler.step(x0, t, x, return_dict=False)[0]
        if on_step is not None:
            on_step(done)
    return denoiser.decode(x).float().clamp(-1, 1)


def first_noise(seeds: Sequence[int], shape: tuple[int, int, int]) -> Tensor:
    """(B, *shape) float32 standard normal. A picture's noise depends on its seed alone."""
    drawn = [np.random.default_rng(seed).standard_normal(shape, np.float32) for seed in seeds]
    return torch.from_numpy(np.stack(drawn))


def to_pixels(pictures: Tensor) -> NDArray[np.uint8]:
    """(B, C, H, W) in [-1, 1] -> (B, H, W, C) uint8, by the inverse of (rgb - 128) / 128."""
    levels = (pictures.float() * 128 + 128).round().clamp(0, 255).to(torch.uint8)
    pixels: NDArray[np.uint8] = levels.permute(0, 2, 3, 1).cpu().numpy()
    return pixels


def _expected(denoiser: Denoiser, x: Tensor, t: Tensor, planes: Tensor, guidance: float) -> Tensor:
    times = t.expand(len(x))
    if guidance == 1:
        x0 = denoiser(x, times, planes).x0.float()
    else:
        both = torch.cat([planes, torch.zeros_like(planes)])
        shown, withheld = denoiser(torch.cat([x, x]), times.repeat(2), both).x0.float().chunk(2)
        x0 = withheld + guidance * (shown - withheld)
    # No picture lies outside, and guidance pushes beyond.
    return x0.clamp(-denoiser.limit, denoiser.limit)


def _scheduler(sampler: str, schedule: Schedule) -> Any:
    from diffusers import DDIMScheduler, DPMSolverMultistepScheduler

    if sampler == "ddim":
        return DDIMScheduler(**schedule.options(), timestep_spacing="trailing", clip_sample=False)
    return DPMSolverMultistepScheduler(**schedule.options(), timestep_spacing="trailing", solver_order=2)
