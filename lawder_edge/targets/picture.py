"""A picture of what a bundle finds. Reads disk."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lawder_edge.bundle.processing import resize
from lawder_edge.bundle.store import open_bundle
from lawder_edge.evaluation.overlay import draw_overlay
from lawder_edge.targets.images import images_of
from lawder_edge.targets.registry import load_runner

TILE = (256, 256)


def masks_of_bundle(path: Path, *, data: Path | None, split: Sequence[Path] = (), count: int = 6) -> NDArray[np.uint8]:
    """Frames above, the same with the predicted mask's outline below: (H, W, 3) uint8 RGB.

    Frames are evenly picked from `data`, or phantom frames where no folder is given.
    """
    bundle = open_bundle(path)
    runner = load_runner(bundle)
    images = images_of(data, split, limit=count, classes=runner.classes)
    columns = []
    for frame in images.frames[:count]:
        overlay = draw_overlay(frame, runner.predict(frame), threshold=runner.threshold)
        columns.append(np.vstack([resize(frame, TILE), resize(overlay, TILE)]))
    return np.hstack(columns)
