"""Phantom pictures at a size that trains in seconds."""

from __future__ import annotations

import numpy as np

from lawder_edge.data.phantom import PhantomFrame, make_frame
from lawder_edge.synthesis.config import SynthConfig
from lawder_edge.training.batches import TrainData

TINY = SynthConfig(
    size=32, widths=(8, 16), batch=4, steps=20, warmup_steps=5, checkpoint_every=100, preview_every=0, ema_decay=0.9
)


def phantom_frames(n: int, *, side: int = 32, seed: int = 0) -> list[PhantomFrame]:
    return [make_frame(np.random.default_rng([seed, i]), size=(side, side)) for i in range(n)]


def phantom_data(n: int, *, side: int = 32, seed: int = 0) -> TrainData:
    frames = phantom_frames(n, side=side, seed=seed)
    return TrainData(
        np.stack([f.image for f in frames]), np.stack([f.mask for f in frames]),
        tuple(f"phantom/{i}" for i in range(n)), np.zeros(n, np.int64),
    )  # fmt: skip
