"""Segmentation losses. All take logits (B, K, H, W) and labels (B, H, W) int64 and return a scalar.

K = 1 is binary (labels 0 or 1, sigmoid); K > 1 is multi-class (class indices, softmax; class 0 is background).

Where a class is absent from a picture, only the cross-entropy speaks of it there; the overlap with nothing is left out.
Smoothed by one pixel it would be 1 - 1 / (P + 1) for P pixels claimed, whose slope 1 / (P + 1)^2 is 1e-6 where 1000 are
claimed and largest where the answer is right already: it would push the bias of every picture down and leave false
regions standing.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

Loss = Callable[[Tensor, Tensor], Tensor]


def _one_hot(labels: Tensor, classes: int) -> Tensor:
    return F.one_hot(labels, classes).movedim(-1, 1).float()


def soft_dice(logits: Tensor, labels: Tensor) -> Tensor:
    """1 - Dice of the probabilities, per image and foreground class, smoothed by one pixel, then averaged.

    0 for a class that is absent from the image. It is averaged all the same, so that a picture weighs as much beside
    empty ones as beside others, in however many processes the batch is.
    """
    if logits.shape[1] == 1:
        p, t = torch.sigmoid(logits), labels[:, None].to(logits.dtype)
    else:
        p, t = torch.softmax(logits, 1)[:, 1:], _one_hot(labels, logits.shape[1])[:, 1:]
    overlap, truth = (p * t).sum((2, 3)), t.sum((2, 3))
    lost = 1 - (2 * overlap + 1) / (p.sum((2, 3)) + truth + 1)
    return (lost * (truth > 0)).mean()


def bce_dice(logits: Tensor, labels: Tensor) -> Tensor:
    """(Binary) cross-entropy + soft Dice, 1:1: the loss that the ORDER paper names."""
    if logits.shape[1] == 1:
        entropy = F.binary_cross_entropy_with_logits(logits, labels[:, None].to(logits.dtype))
    else:
        entropy = F.cross_entropy(logits, labels)
    return entropy + soft_dice(logits, labels)


def _box_mean(t: Tensor, side: int, *, dim: int) -> Tensor:
    """Mean of `side` (odd) neighbours along `dim`, zeros beyond the picture. t: float32, at most 1."""
    length, half = t.shape[dim], side // 2
    sums = F.pad(t, (half + 1, half) if dim == 3 else (0, 0, half + 1, half)).cumsum(dim)
    return (sums.narrow(dim, side, length) - sums.narrow(dim, 0, length)) / side


def near_contour(t: Tensor) -> Tensor:
    """1 + 5 |mean over 31x31 - t|: up to 6 near a contour. As PraNet.

    t: (B, K, H, W) masks or probabilities. Returns: the same shape, float32.
    """
    # By running sums, 2 ms for 12 masks of 192 x 192: avg_pool2d adds all 961 each time, 340 ms, two thirds of a step
    # of ORDER on one thread.
    mean = _box_mean(_box_mean(t.float(), 31, dim=2), 31, dim=3)
    return 1 + 5 * (mean - t).abs()


def structure(logits: Tensor, labels: Tensor) -> Tensor:
    """Weighted BCE + weighted IoU, pixels near a contour weighted up to 6.

    PraNet (https://arxiv.org/abs/2006.11392), the weight of `near_contour`. Multi-class logits are taken as
    K - 1 problems of one class against the rest.
    """
    if logits.shape[1] == 1:
        t = labels[:, None].to(logits.dtype)
    else:
        t = _one_hot(labels, logits.shape[1])[:, 1:].to(logits.dtype)
        others = [logits[:, [k for k in range(logits.shape[1]) if k != c]] for c in range(1, logits.shape[1])]
        logits = logits[:, 1:] - torch.stack([rest.logsumexp(1) for rest in others], 1)
    weight = near_contour(t)
    entropy = F.binary_cross_entropy_with_logits(logits, t, reduction="none")
    weighted_bce = (weight * entropy).sum((2, 3)) / weight.sum((2, 3))
    p = torch.sigmoid(logits)
    overlap = (p * t * weight).sum((2, 3))
    union = ((p + t) * weight).sum((2, 3)) - overlap
    present = t.sum((2, 3)) > 0
    return (weighted_bce + (1 - (overlap + 1) / (union + 1)) * present).mean()


LOSSES: dict[str, Loss] = {"bce_dice": bce_dice, "structure": structure}


def supervised(loss: Loss, outputs: Tensor | tuple[Tensor, ...], labels: Tensor) -> Tensor:
    """The loss on the logits; with deep supervision also on each auxiliary output, at weight 1/2, 1/4, ...

    Labels are brought to an auxiliary output's size by nearest neighbour.
    """
    if isinstance(outputs, Tensor):
        return loss(outputs, labels)
    total = loss(outputs[0], labels)
    for depth, logits in enumerate(outputs[1:], start=1):
        small = F.interpolate(labels[:, None].float(), size=logits.shape[2:], mode="nearest-exact")[:, 0].long()
        total = total + loss(logits, small) * 0.5**depth
    return total
