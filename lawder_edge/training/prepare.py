"""From folders to the arrays of a run: reads disk, holds out validation, makes the run folder."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from lawder_edge.data.cache import load_arrays
from lawder_edge.data.datasets import find_samples, read_split, select
from lawder_edge.data.splits import hold_out
from lawder_edge.errors import OutputExists
from lawder_edge.training.batches import TrainData
from lawder_edge.training.config import TrainConfig

CACHE_SIDE = 256


class Report(Protocol):
    """Called with what is done, of how much."""

    def __call__(self, done: int, total: int) -> None: ...


@dataclass(frozen=True)
class PreparedRun:
    """Training and validation arrays, and what a person should know about them."""

    train: TrainData
    val: TrainData
    notes: tuple[str, ...]


def prepare_run(
    config: TrainConfig,
    *,
    data: Path,
    splits: Sequence[Path],
    out: Path,
    resume: bool,
    overwrite: bool,
    skip_bad: bool,
    progress: Report,
) -> PreparedRun:
    """Read the pictures of the splits, hold out validation by seed, and make `out`.

    Raises: OutputExists when `out` exists and neither resume nor overwrite is set; BadDataset, BadImage.
    """
    first = int(os.environ.get("RANK", "0")) == 0
    if first and out.exists() and any(out.iterdir()) and not resume:
        if not overwrite:
            raise OutputExists(f"{out} exists. Add --resume to go on with that run, or --overwrite to start anew.")
        for entry in out.iterdir():
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    samples = find_samples(data)
    if splits:
        samples = select(samples, [i for path in splits for i in read_split(path)])
    fit, held = hold_out(samples, fraction=config.val_fraction, seed=config.seed)
    out.mkdir(parents=True, exist_ok=True)
    side = max(CACHE_SIDE, max(stage.size for stage in config.stages))
    names = sorted({s.dataset for s in samples})
    total = len(fit) + len(held)
    notes: list[str] = []
    arrays = []
    for offset, part in ((0, fit), (len(fit), held)):
        loaded = load_arrays(
            part,
            size=(side, side),
            channels=config.in_channels,
            num_classes=config.num_classes,
            cache_dir=out / "cache",
            skip_bad=skip_bad,
            progress=lambda done, _, offset=offset: progress(offset + done, total),  # type: ignore[misc]
        )
        notes += [f"left out {bad.id}: {bad.reason}" for bad in loaded.bad]
        dataset = {s.id: s.dataset for s in part}
        domain = np.array([names.index(dataset[i]) for i in loaded.ids], dtype=np.int64)
        groups = tuple(sorted({s.group for s in part if s.group is not None}))
        arrays.append(TrainData(loaded.images, loaded.labels, loaded.ids, domain, groups))
    notes.append(f"{len(arrays[0])} pictures to train on, {len(arrays[1])} held out for validation")
    return PreparedRun(arrays[0], arrays[1], tuple(notes))
