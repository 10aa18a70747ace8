"""Which synthetic pictures are kept to train on, from what a score found of each."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath

from lawder_edge.data.kept import KeptList, KeptRow
from lawder_edge.data.provenance import ManifestRow, hash_files
from lawder_edge.errors import BadInput
from lawder_edge.synthesis.score import QualityReport

_WANTED = "wanted a share of the pictures such as 75%, or the least mask Dice in (0, 1] such as 0.75"


@dataclass(frozen=True)
class KeepRule:
    """By mask fidelity: the `share` in (0, 1] of the pictures with the highest Dice, or all of `least_dice` or more.

    One of the two is None.
    """

    share: float | None = None
    least_dice: float | None = None

    def says(self) -> str:
        """In words, before the judge's name."""
        if self.share is not None:
            return f"best {100 * self.share:g}% by mask Dice of"
        return f"mask Dice of {self.least_dice:g} or more by"


def parse_keep(text: str) -> KeepRule:
    """75% is a share, 0.75 a Dice. Raises: BadInput for anything else, 75 among it."""
    number, percent = text.strip().removesuffix("%"), text.strip().endswith("%")
    try:
        value = float(number) / (100 if percent else 1)
    except ValueError:
        value = math.nan
    if not 0 < value <= 1:
        raise BadInput(f"--keep {text}: {_WANTED}.")
    return KeepRule(share=value) if percent else KeepRule(least_dice=value)


def choose(
    report: QualityReport, rows: Sequence[ManifestRow], *, keep: KeepRule | None, reject_memorised: bool
) -> KeptList:
    """The pictures that pass each of the two that is asked for.

    A share is of all pictures drawn, whether memorised or not (rounded, at least one; equal Dice by name), so that
    `reject_memorised` takes pictures away and brings no others in.

    rows: of the manifest, of the very pictures that `report` is of. Raises: BadInput where no picture passes, where
    `keep` has no judge to go by, and where neither is asked for.
    """
    if keep is not None and report.fidelity is None:
        raise BadInput("a choice by mask fidelity needs a judge that finds the lesions: give --judge.")
    dice = {} if report.fidelity is None else {_stem(p.id): p.dice for p in report.fidelity.pictures}
    distance = {_stem(n.id): n.distance for n in report.memorised.neighbours}
    flagged = {_stem(n.id) for n in report.memorised.flagged}
    passing = set(distance) if keep is None else _faithful(dice, keep)
    if reject_memorised:
        passing -= flagged
    words = [] if keep is None or report.fidelity is None else [f"{keep.says()} {report.fidelity.judge}"]
    words += [f"no memorised ones by {report.features} and by pixels"] if reject_memorised else []
    if not words:
        raise BadInput("nothing to choose by: give --keep, --reject-memorised or both.")
    rule = ", ".join(words)
    if not passing:
        best = f" The highest Dice is {max(dice.values()):.3f}." if dice else ""
        raise BadInput(
            f"none of {len(rows)} pictures passes ({rule}; {len(flagged)} are memorised).{best} Ask for less, or draw "
            "more pictures."
        )
    return KeptList(
        hash_files(rows),
        rule,
        tuple(
            KeptRow(row.name, stem in passing, dice.get(stem), distance[stem], stem in flagged)
            for row in rows for stem in [PurePath(row.name).stem]
        ),
    )  # fmt: skip


def _faithful(dice: dict[str, float], keep: KeepRule) -> set[str]:
    if keep.share is None:
        return {stem for stem, value in dice.items() if value >= (keep.least_dice or 0)}
    ordered = sorted(dice, key=lambda stem: (-dice[stem], stem))
    return set(ordered[: max(1, round(keep.share * len(ordered)))])


def _stem(id: str) -> str:
    return id.rsplit("/", 1)[-1]
