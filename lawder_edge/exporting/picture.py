"""A picture of what a bundle finds. Reads disk."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lawder_edge.bundle.processing import resize
from lawder_edge.bundle.store import open_bundle
from lawder_edge.evaluation.overlay import draw_overlay
from lawder_edge.exporting.images import images_of
from lawder_edge.targets.registry import load_runner

TILE = (256, 256)


def masks_of_bundle(
    path: Path, *, data: Path | None, split: Sequence[Path] = (), count: int = 6, skip_bad: bool = False
) -> NDArray[np.uint8]:
    """Frames above, the same with the predicted mask's outline below: (H, W, 3) uint8 RGB.

    Frames are evenly picked from `data`, or phantom frames where no folder is given. skip_bad: without unreadable ones.
    """
    bundle = open_bundle(path)
    runner = load_runner(bundle)
    on_bad = (lambda name, reason: None) if skip_bad else None
    images = images_of(data, split, limit=count, classes=runner.classes, on_bad=on_bad)
    columns = []
    for pair in images.read():
        # The mask itself as certain probabilities: with several classes no threshold on their sum gives it.
        overlay = draw_overlay(pair.frame, runner.predict_mask(pair.frame))
        columns.append(np.vstack([resize(pair.frame, TILE), resize(overlay, TILE)]))
    return np.hstack(columns)
