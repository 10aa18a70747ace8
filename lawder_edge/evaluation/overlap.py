"""Which evaluated images the weights have already seen, and how to say so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class TrainedOn:
    """What weights were made from. ids: `folder/stem` that they were fitted to. groups: the sequences or patients of
    those. selection_ids: held-out images on which the epoch and the threshold were chosen.
    """

    ids: frozenset[str]
    groups: frozenset[str] = frozenset()
    selection_ids: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Overlap:
    """Evaluated ids that training touched; each id stands in the first tuple that fits it.

    known: whether the weights say what they were trained on. trained: fitted to these very images. selected: the epoch
    and the threshold were chosen on these. sequence: other frames of the same sequence, or slices of the same patient,
    were trained on. note: one or two sentences for a reader of the scores.
    """

    known: bool
    trained: tuple[str, ...]
    selected: tuple[str, ...]
    sequence: tuple[str, ...]
    note: str


def find_overlap(evaluated: Sequence[tuple[str, str | None]], trained_on: TrainedOn | None) -> Overlap:
    """Overlap of the `evaluated` (id, group or None) with what the weights were made from; None where that is unknown.

    Ids are compared as text: a dataset folder that was renamed since training hides its overlap by id, not by group.
    """
    if trained_on is None or not trained_on.ids:
        note = "The weights record no training list: whether these images were trained on is unknown."
        return Overlap(False, (), (), (), note)
    trained = tuple(id for id, _ in evaluated if id in trained_on.ids)
    selected = tuple(id for id, _ in evaluated if id in trained_on.selection_ids - trained_on.ids)
    touched = {*trained, *selected}
    sequence = tuple(id for id, group in evaluated if group in trained_on.groups and id not in touched)
    return Overlap(True, trained, selected, sequence, _note(len(evaluated), trained, selected, sequence))


def _note(n: int, trained: Sequence[str], selected: Sequence[str], sequence: Sequence[str]) -> str:
    if not (trained or selected or sequence):
        return f"None of the {n} images, nor a sequence or patient known to be theirs, was used in training."
    parts = []
    if trained:
        parts.append(f"{len(trained)} of {n} images were trained on")
    if selected:
        parts.append(f"{len(selected)} of {n} were used to choose the epoch and the threshold")
    if sequence:
        parts.append(f"{len(sequence)} of {n} share a sequence or a patient with trained images")
    return f"{'; '.join(parts)}. These scores are higher than those on unseen patients would be."
