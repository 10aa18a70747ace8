"""From a folder of images and masks to the pairs of an evaluation. Reads disk."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lawder_edge.data.datasets import Sample
from lawder_edge.data.load import Pair, load_image, load_pair
from lawder_edge.errors import BadDataset, BadImage
from lawder_edge.evaluation.evaluate import EvalPair, EvalReport
from lawder_edge.evaluation.sheet import Case, cases_of, pick_cases


def read_pairs(
    samples: Sequence[Sample],
    *,
    classes: int = 1,
    nothing_to_find: bool = False,
    on_bad: Callable[[str, str], None] | None = None,
    on_note: Callable[[str], None] | None = None,
) -> Iterator[EvalPair]:
    """Frames and labels one at a time, at the size of the files.

    nothing_to_find: the labels of every image are 0, and no mask is read.
    A file that cannot be read is told to `on_bad` with its id and left out; without `on_bad` it raises BadImage or
    BadDataset. What had to be interpreted in a mask (colours, JPEG noise) is told to `on_note`.
    """
    for sample in samples:
        try:
            pair = _without_mask(sample) if nothing_to_find else load_pair(sample, num_classes=classes)
        except (BadImage, BadDataset) as error:
            if on_bad is None:
                raise
            on_bad(sample.id, str(error))
            continue
        if on_note is not None:
            for note in pair.notes:
                on_note(f"{sample.id}: {note}")
        yield EvalPair(sample.id, sample.dataset, sample.group, pair.image, pair.labels)


def read_cases(
    report: EvalReport,
    samples: Sequence[Sample],
    predict: Callable[[NDArray[np.uint8]], NDArray[Any]],
    *,
    classes: int = 1,
    nothing_to_find: bool = False,
) -> list[Case]:
    """The worst, median and best images of a report, read and predicted again, for a contact sheet.

    predict: as of `evaluate`. nothing_to_find: as in `read_pairs`.
    """
    by_id = {s.id: s for s in samples}
    picks = pick_cases(report.scores)
    pairs = read_pairs([by_id[pick.scores.id] for pick in picks], classes=classes, nothing_to_find=nothing_to_find)
    return cases_of(picks, pairs, predict, threshold=report.threshold)


def _without_mask(sample: Sample) -> Pair:
    image = load_image(sample)
    return Pair(image, np.zeros(image.shape[:2], np.uint8), ())
