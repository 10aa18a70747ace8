"""Images with nothing to find: procedural scenes without their polyp, and crops beside the polyps of real images."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator

import numpy as np

from lawder_edge.data.clear import MARGIN, MIN_SHARE, clear_part
from lawder_edge.data.phantom import make_frame
from lawder_edge.evaluation.evaluate import EvalPair


def clear_crop(pair: EvalPair, *, margin: float = MARGIN, min_share: float = MIN_SHARE) -> EvalPair | None:
    """The largest part of an image with nothing to find in it, as an image of its own, or None (see `clear_part`).

    margin: share of the shorter side, rounded up to a pixel. Id and group stay, so that overlaps with training are
    told; the dataset is named "DATASET without polyp". What the annotators overlooked is in it all the same.
    """
    window = clear_part(pair.labels, margin=margin, min_share=min_share)
    if window is None:
        return None
    return dataclasses.replace(
        pair,
        dataset=f"{pair.dataset} without polyp",
        frame=np.ascontiguousarray(window.of(pair.frame)),
        labels=np.ascontiguousarray(window.of(pair.labels)),
    )


def clear_crops(pairs: Iterable[EvalPair]) -> Iterator[EvalPair]:
    """`clear_crop` of all that have one."""
    for pair in pairs:
        crop = clear_crop(pair)
        if crop is not None:
            yield crop


def clear_phantoms(count: int, *, size: tuple[int, int] = (256, 256), seed: int = 0) -> Iterator[EvalPair]:
    """`count` procedural frames of `size` (H, W) without a polyp; frame i depends on `seed` and i alone."""
    for i in range(count):
        made = make_frame(np.random.default_rng([seed, i]), size=size, polyp=False)
        yield EvalPair(f"phantom/{i:04d}", "phantom without polyp", None, made.image, made.mask)
