"""The losses of one training step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lawder_edge.synthesis.arms import Arm
from lawder_edge.synthesis.config import SynthConfig
from lawder_edge.synthesis.denoiser import mask_planes
from lawder_edge.synthesis.diffusion import COSINE, TIMES, diffusion_loss, noised, time_weight
from lawder_edge.synthesis.draws import Draw
from lawder_edge.synthesis.joint import joint_loss
from lawder_edge.synthesis.teacher import Teacher
from lawder_edge.synthesis.weighter import Weighter, error_by_bin, local_error, weighter_loss
from lawder_edge.synthesis.weighting import Bounds, delta_map, has_regions, on_grid, pixel_weights


class StepLoss(NamedTuple):
    """total: what is differentiated. diffusion: the weighted loss of the denoiser, a part of it. weights: (B, 1, h, w)
    on the grid of x0, where the loss is taken.

    error: mean of (x0_hat - x0)^2. lesion, background: its sums over the pictures that show both, of the mean in each;
    pictures: how many those are.
    """

    total: Tensor
    diffusion: Tensor
    weights: Tensor
    error: Tensor
    lesion: Tensor
    background: Tensor
    pictures: Tensor


def step_loss(
    model: Any,
    weighter: Weighter | None,
    drawn: Draw,
    config: SynthConfig,
    *,
    kept: Tensor,
    floor: float = COSINE.floor,
    sum_of_all: Callable[[Tensor], Tensor],
    hint: Tensor | None = None,
    teacher: Teacher | None = None,
) -> StepLoss:
    """model: a `Generator`, wrapped or not; weighter: its own; drawn: with x0 encoded; kept: alpha_bar of every time,
    (1000,); floor: of `time_weight`.

    hint: as `draw_hint` gives it, for a recipe with a condition and for one with a teacher, who alone is shown it then.
    With a teacher `diffusion` is the error against its target; the errors and the weighter's are always against x_0.

    sum_of_all: the sum over the processes, which share what LAW knows of the error at each time. Nothing of `diffusion`
    can be differentiated in the weighter, but in the law_joint arm, which learns by it; and nothing of the weighter's
    loss in the denoiser, in every arm.
    """
    arm: Arm = config.arm  # type: ignore[assignment]  # checked by `SynthConfig.check`
    a = kept[drawn.t]
    planes = mask_planes(drawn.labels, num_classes=config.num_classes, shown=drawn.shown)
    lesion = on_grid((drawn.labels >= config.lesion_class)[:, None], drawn.x0.shape[2:])
    x_t = noised(drawn.x0, drawn.noise, a)
    hinted = planes if hint is None else torch.cat([planes, hint], 1)
    x0_hat, s = model(x_t, drawn.t, hinted if config.condition else planes)
    x0_hat = x0_hat.float()
    shown_lesion = lesion * drawn.shown[:, None, None, None]
    weights = pixel_weights(
        arm,
        shown_lesion,
        s=s,
        gamma=config.gamma,
        bounds=Bounds(config.lowest_weight, config.highest_weight),
    )
    target = drawn.x0 if teacher is None else teacher.target(drawn.x0, x_t, drawn.t, hinted)
    diffusion = diffusion_loss(x0_hat, target, weights=weights, time_weights=time_weight(a, floor))
    total = diffusion
    if arm == "law_joint":
        total = total + joint_loss(delta_map(arm, s.float(), shown_lesion), shown_lesion)
    elif weighter is not None:
        cell = drawn.labels.shape[2] // drawn.x0.shape[2]
        e, t = local_error(x0_hat, drawn.x0, cell=cell), drawn.t / TIMES
        sums, counts = sum_of_all(torch.stack(error_by_bin(e, t)))
        weighter.observe(sums, counts)
        total = total + weighter_loss(s.float(), e, weighter.expected_level(t))
    return StepLoss(total, diffusion.detach(), weights.detach(), *_errors(x0_hat.detach(), drawn.x0, lesion))


def _errors(x0_hat: Tensor, x0: Tensor, lesion: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    e = (x0_hat - x0).square().mean(1, keepdim=True)
    both = has_regions(lesion)[:, 0, 0, 0]
    means = [((e * region).sum((1, 2, 3)) / region.sum((1, 2, 3)))[both].sum() for region in (lesion, 1 - lesion)]
    return e.mean(), means[0], means[1], both.sum()
