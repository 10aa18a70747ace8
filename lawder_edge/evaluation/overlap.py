"""Which evaluated images the weights have already seen, and how to say so."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

# Counters, alone or after a word that any recorder writes (IMG_0001, frame_000123), and short stems mean another image
# in another folder; Kvasir-SEG's have 25 characters.
_TELLING_STEM = 8
_COUNTER = re.compile(r"(?:img|image|frame|dscn?|photo|pic(?:ture)?|scan|slice|capture|snapshot|video|still)?[\W_]*\d*")


@dataclass(frozen=True)
class TrainedOn:
    """What weights were made from. ids: `folder/stem` that they were fitted to; groups: the sequences or patients of
    those. selection_*: held-out images on which the epoch and the threshold were chosen. unlisted: whether they were
    made from something else too that is not recorded.
    """

    ids: frozenset[str]
    groups: frozenset[str] = frozenset()
    selection_ids: frozenset[str] = frozenset()
    selection_groups: frozenset[str] = frozenset()
    unlisted: bool = False

    @classmethod
    def of(
        cls,
        *,
        ids: Iterable[str],
        groups: Iterable[str] = (),
        selection_ids: Iterable[str] = (),
        selection_groups: Iterable[str] = (),
        unlisted: bool = False,
    ) -> TrainedOn | None:
        """None where no id is recorded."""
        found = frozenset(ids)
        if not found:
            return None
        return cls(found, frozenset(groups), frozenset(selection_ids), frozenset(selection_groups), unlisted)


@dataclass(frozen=True)
class Overlap:
    """Evaluated ids that training touched; each id stands in the first that fits it of trained, sequence, selected.

    known: whether the weights say all that they were trained on. trained: fitted to these very images, under this name
    or in a folder of another name. selected: the epoch and the threshold were chosen on these, or on their sequence.
    sequence: other frames of the same sequence, or slices of the same patient, were trained on. note: one or two
    sentences for a reader of the scores.
    """

    known: bool
    trained: tuple[str, ...]
    selected: tuple[str, ...]
    sequence: tuple[str, ...]
    note: str


def find_overlap(evaluated: Sequence[tuple[str, str | None]], trained_on: TrainedOn | None) -> Overlap:
    """Overlap of the `evaluated` (id, group or None) with what the weights were made from; None where that is unknown.

    Names are compared, not pixels: by `folder/stem`, by a telling stem alone (a folder that was renamed), and by group.
    An image that was renamed itself goes unseen.
    """
    if trained_on is None:
        note = "Which images these weights were trained on is not known here: these may be among them."
        return Overlap(False, (), (), (), note)
    seen = trained_on.ids | _telling(trained_on.ids)
    chosen = trained_on.selection_ids | _telling(trained_on.selection_ids)
    trained, selected, sequence = [], [], []
    for id, group in evaluated:
        names = {id, *_telling([id])}
        if names & seen:
            trained.append(id)
        elif group in trained_on.groups:
            sequence.append(id)
        elif names & chosen or group in trained_on.selection_groups:
            selected.append(id)
    found = (tuple(trained), tuple(selected), tuple(sequence))
    note = _note([group for _, group in evaluated], *found)
    if trained_on.unlisted:
        note += " What else went into these weights is not recorded: more of them may be among it."
    return Overlap(not trained_on.unlisted, *found, note)


def _telling(ids: Iterable[str]) -> set[str]:
    stems = (id.rsplit("/", 1)[-1].casefold() for id in ids)
    return {stem for stem in stems if len(stem) >= _TELLING_STEM and not _COUNTER.fullmatch(stem)}


def _note(
    groups: Sequence[str | None], trained: Sequence[str], selected: Sequence[str], sequence: Sequence[str]
) -> str:
    n, unknown = len(groups), sum(group is None for group in groups)
    if not (trained or selected or sequence):
        none = f"By their names, none of the {n} images"
        if unknown == n:
            return f"{none} was used in training; of which patients they are is not known."
        told = f"{none} and no sequence or patient of theirs was used in training"
        return f"{told}, but of which {unknown} of them are is not known." if unknown else f"{told}."
    parts = []
    if trained:
        parts.append(f"{len(trained)} of {n} images were trained on")
    if selected:
        parts.append(f"{len(selected)} of {n}, or their sequences, were used to choose the epoch and the threshold")
    if sequence:
        parts.append(f"{len(sequence)} of {n} share a sequence or a patient with trained images")
    return f"{'; '.join(parts)}. These scores are higher than those on unseen patients would be."
