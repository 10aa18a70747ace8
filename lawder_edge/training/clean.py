"""Whether validation is held out of all that went into the weights before."""

from __future__ import annotations

from collections.abc import Sequence

from lawder_edge.evaluation.overlap import TrainedOn, find_overlap
from lawder_edge.training.batches import TrainData
from lawder_edge.training.record import WeightsRecord


def note_on_seen(val: TrainData, *, ids: Sequence[str], groups: Sequence[str], by: str) -> str | None:
    """What a person should know where validation pictures, or others of their patients, are among `ids` and `groups`.

    by: what was trained on those, such as "the generator". Returns: None where validation is clean, by names.
    """
    pictures = len(find_overlap([(id, None) for id in val.ids], TrainedOn.of(ids=ids)).trained)
    patients = len(set(val.groups) & set(groups))
    if not pictures and not patients:
        return None
    both = [f"{pictures} of its {len(val)} pictures"] if pictures else []
    both += [f"{patients} of its {len(set(val.groups))} patients or sequences"] if patients else []
    return (
        f"validation is not clean: {' and '.join(both)} were trained on by {by}, so the pass and the threshold are "
        "chosen by what it has seen"
    )


def note_on_history(val: TrainData, record: WeightsRecord, *, by: str) -> str | None:
    """`note_on_seen` of what weights were made from; where that is not recorded, that it is not."""
    if not record.train_ids or record.unlisted:
        return f"what {by} was trained on is not recorded in full: validation pictures may be among it"
    return note_on_seen(val, ids=record.train_ids, groups=record.train_groups, by=by)
