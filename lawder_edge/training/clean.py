"""Whether validation is held out of all that went into the weights before."""

from __future__ import annotations

from collections.abc import Sequence

from lawder_edge.evaluation.overlap import TrainedOn, find_overlap
from lawder_edge.training.batches import TrainData


def note_on_seen(val: TrainData, *, ids: Sequence[str], groups: Sequence[str], by: str) -> str | None:
    """What a person should know where validation pictures, or others of their patients, are among `ids` and `groups`.

    by: what was trained on those, such as "the generator". Returns: None where validation is clean, by names.
    """
    overlap = find_overlap([(id, None) for id in val.ids], TrainedOn.of(ids=ids, groups=groups))
    if not overlap.trained and not set(val.groups) & set(groups):
        return None
    return (
        f"validation is not clean: {len(overlap.trained)} of its {len(val)} pictures, or others of their patients, "
        f"were trained on by {by}, so the pass and the threshold are chosen by what it has seen"
    )
