"""Several classes as one map for the steadiness: cut at a half, it is where `predict_labels` finds no background.

A cut of P(not background) is not: of 0.4 for background and 0.3 for each of two others the most probable is background.
"""

from __future__ import annotations

import numpy as np

from lawder_edge.video.frames import Map

# Of equals the first is taken, which is background: a half is not enough.
ABOVE_HALF = float(np.nextafter(np.float32(0.5), np.float32(1)))


def lead(classes: Map) -> Map:
    """How far the most probable class but background is ahead of it: its share of what the two have together.

    classes: (K, H, W) float32 in [0, 1], multiples of 1/65535 as from `prob_to_size`, class 0 background. Returns:
    (H, W) float32 in [0, 1], from `ABOVE_HALF` on where background is not the most probable; the probability of class 1
    where there are two.
    """
    largest = classes[1:].max(axis=0)
    total = largest + classes[0]
    share: Map = np.divide(largest, total, out=np.zeros_like(total), where=total > 0)
    return share


def with_lead(classes: Map, wanted: Map) -> Map:
    """Classes whose `lead` is `wanted`, to be enlarged: untouched wherever it is already.

    classes: (K, h, w) as of `lead`. wanted: (h, w) float32 in [0, 1]. Returns: (K, h, w) float32 in [0, 1].
    """
    largest = classes[1:].max(axis=0)
    total = np.minimum(largest + classes[0], 1)
    # Where no class leads, all of them may.
    shares = np.divide(classes[1:], largest, out=np.ones_like(classes[1:]), where=largest > 0)
    moved = np.concatenate([((1 - wanted) * total)[None], shares * (wanted * total)])
    return np.where(wanted == lead(classes), classes, np.clip(moved, 0, 1)).astype(np.float32)
