"""Real images to verify an artifact on. Reads disk."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lawder_edge.evaluation.folder import listed_samples, read_pairs
from lawder_edge.targets.verify import VerifyImages, phantom_images


def images_of(data: Path | None, splits: Sequence[Path], *, limit: int, classes: int = 1) -> VerifyImages:
    """Images of a folder, evenly picked down to `limit` (0 for all), or phantom frames where no folder is given.

    Raises BadInput, BadDataset, BadImage.
    """
    if data is None:
        return phantom_images()
    samples = listed_samples(data, splits)
    if limit and len(samples) > limit:
        samples = [samples[i * len(samples) // limit] for i in range(limit)]
    pairs = list(read_pairs(samples, classes=classes))
    counts = {name: sum(p.dataset == name for p in pairs) for name in sorted({p.dataset for p in pairs})}
    return VerifyImages(
        source=", ".join(f"{n} of {name}" for name, n in counts.items()),
        ids=[p.id for p in pairs],
        frames=[p.frame for p in pairs],
        truths=[p.labels for p in pairs],
        groups=[p.group for p in pairs],
    )
