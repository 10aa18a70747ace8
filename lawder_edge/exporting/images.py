"""Real images to verify an artifact on. Reads disk."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from lawder_edge.data.datasets import listed_samples, pick_evenly
from lawder_edge.errors import BadInput
from lawder_edge.evaluation.evaluate import EvalPair
from lawder_edge.evaluation.folder import read_pairs
from lawder_edge.exporting.verify import PHANTOM_FRAMES, VerifyImages, phantom_images


def images_of(
    data: Path | None,
    splits: Sequence[Path],
    *,
    limit: int,
    classes: int = 1,
    on_bad: Callable[[str, str], None] | None = None,
    on_note: Callable[[str], None] | None = None,
) -> VerifyImages:
    """Images of a folder, evenly picked down to `limit` (0 for all), or where no folder is given phantom frames: the
    first `limit` of `PHANTOM_FRAMES`.

    They are read as they are used: on_bad is then told id and reason of a file that cannot be read, which is left out;
    without it that raises BadImage or BadDataset. on_note: told what had to be interpreted in a mask.

    Raises BadInput, also for lists without their folder; BadDataset.
    """
    if limit < 0:
        raise BadInput(f"--limit {limit}: wanted the most images to verify on, or 0 for all.")
    if data is None and splits:
        raise BadInput(
            f"--split {' '.join(map(str, splits))} lists images, and no folder is named that they are in. Add --data "
            "DIR, or leave --split out to verify on phantom frames."
        )
    if data is None:
        return phantom_images(min(limit or PHANTOM_FRAMES, PHANTOM_FRAMES))
    samples = pick_evenly(listed_samples(data, splits), limit)
    counts = Counter(sample.dataset for sample in samples)

    def read() -> Iterator[EvalPair]:
        return read_pairs(samples, classes=classes, on_bad=on_bad, on_note=on_note)

    return VerifyImages(", ".join(f"{counts[name]} of {name}" for name in sorted(counts)), len(samples), read)
