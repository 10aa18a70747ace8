"""Networks beside each other on the same lists of images: paired differences, Dice by polyp size, tables, values.

Pure functions. The first network of a list is the one that the others are held against.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from lawder_edge.errors import BadInput
from lawder_edge.evaluation.evaluate import SMALL_AREA, EvalReport
from lawder_edge.evaluation.metrics import ImageScores
from lawder_edge.evaluation.report import rounded, to_json
from lawder_edge.evaluation.tables import FALSE_POSITIVE_HEADER, false_positive_cells, interval, markdown_table
from lawder_edge.intervals import Interval, bootstrap_difference, bootstrap_mean

# Shares of the frame between which Dice is told apart.
SIZE_EDGES = (SMALL_AREA, 0.05, 0.1, 0.2)
_METRICS = ("dice", "iou", "mean_iou", "surface_dice")
_HEADER = ("network", "parameters", "Dice", "IoU", "2-class mIoU", "surface Dice 2 px")
NO_WEIGHTS = "no weights yet"
# Above it a report is written anew, below it a person has said what it means.
_WORDS = "## What it says"


@dataclass(frozen=True)
class NetworkReport:
    """What a network scored on a list."""

    name: str
    params: int
    report: EvalReport


@dataclass(frozen=True)
class ListReport:
    """A list of images, or a part of one, and what each network scored on it.

    about: a sentence on what it tests. missing: networks that are meant for it and have no weights. part: whether its
    images stand in the list before it too.
    """

    name: str
    about: str
    networks: tuple[NetworkReport, ...]
    missing: tuple[str, ...] = ()
    part: bool = False


@dataclass(frozen=True)
class SizeScores:
    """Dice of the images whose polyp covers `low` to below `high` of the frame; None where there are none."""

    low: float
    high: float
    n: int
    mean_area: float | None
    dice: Interval | None


def difference(ours: EvalReport, other: EvalReport, *, seed: int = 0) -> Interval:
    """Dice of `ours` less that of `other`, image by image, whole sequences or patients drawn together.

    Raises BadInput where they are not of the same images in the same order.
    """
    if [s.id for s in ours.scores] != [s.id for s in other.scores]:
        raise BadInput(
            f"paired differences need the same images in one order; got lists of {len(ours.scores)} and "
            f"{len(other.scores)} that differ"
        )
    a, b = ([s.dice for s in report.scores] for report in (ours, other))
    return bootstrap_difference(a, b, groups=[s.group for s in ours.scores], seed=seed)


def dice_by_size(
    scores: Sequence[ImageScores], *, edges: Sequence[float] = SIZE_EDGES, seed: int = 0
) -> tuple[SizeScores, ...]:
    """Dice of the images with a polyp, by the polyp's share of the frame: below the first of the ascending `edges`,
    between each and the next, from the last on.
    """
    found = []
    # A polyp that fills the frame is one of the largest.
    for low, high in zip((0.0, *edges), (*edges, math.inf), strict=True):
        chosen = [s for s in scores if not s.empty_truth and low <= s.area_fraction < high]
        found.append(
            SizeScores(
                low=low,
                high=min(high, 1.0),
                n=len(chosen),
                mean_area=sum(s.area_fraction for s in chosen) / len(chosen) if chosen else None,
                dice=bootstrap_mean([s.dice for s in chosen], groups=[s.group for s in chosen], seed=seed)
                if chosen
                else None,
            )
        )
    return tuple(found)


def markdown(lists: Sequence[ListReport]) -> str:
    """A section a list with polyps, and one with a table of what is claimed where nothing is."""
    clear = [found for found in lists if found.networks and not _has_polyps(found)]
    sections = [_scored(found) if found.networks else _unmeasured(found) for found in lists if found not in clear]
    return "\n".join([*sections, *([_claimed(clear)] if clear else [])])


def kept_words(text: str) -> str:
    """What a person wrote below "## What it says" in an earlier report, that line with it; "" where there is none."""
    start = text.find(f"\n{_WORDS}\n")
    return "" if start < 0 else text[start:]


def to_values(lists: Sequence[ListReport]) -> dict[str, Any]:
    """By list and network what `to_json` gives, as values for `json.dumps`; every image but of parts.

    Of lists with polyps also `reference_less_this`, the paired difference in Dice, and `by_size`.
    """
    return {
        found.name: {
            "about": found.about,
            "missing": list(found.missing),
            "networks": {n.name: _network_values(n, found) for n in found.networks},
        }
        for found in lists
    }


def _network_values(network: NetworkReport, found: ListReport) -> dict[str, Any]:
    values = to_json(network.report, per_image=not found.part)
    if _has_polyps(found):
        values["reference_less_this"] = rounded(asdict(difference(found.networks[0].report, network.report)))
        values["by_size"] = [
            {**rounded(asdict(s)), "dice": s.dice and rounded(asdict(s.dice))}
            for s in dice_by_size(network.report.scores)
        ]
    return values


def _has_polyps(found: ListReport) -> bool:
    overall = found.networks[0].report.overall
    return overall.n_empty < overall.n


def _title(found: ListReport) -> str:
    return f"{'###' if found.part else '##'} {found.name}\n\n{found.about}\n"


def _unmeasured(found: ListReport) -> str:
    return "\n".join([_title(found), markdown_table(("network", "Dice"), [(n, NO_WEIGHTS) for n in found.missing])])


def _scored(found: ListReport) -> str:
    reference = found.networks[0]
    overall = reference.report.overall
    header = (*_HEADER, f"Dice of {reference.name} less its own")
    rows = []
    for n in found.networks:
        summary = n.report.overall
        gap = "-" if n is reference else _signed(difference(reference.report, n.report))
        rows.append((n.name, f"{n.params:,}", *(interval(getattr(summary, m)) for m in _METRICS), gap))
    rows += [(name, NO_WEIGHTS, *("-" for _ in header[2:])) for name in found.missing]
    sizes = [dice_by_size(n.report.scores) for n in found.networks]
    columns = [i for i, size in enumerate(sizes[0]) if size.n]
    by_size = markdown_table(
        ("Dice by polyp's share of the frame", *(f"{_range(sizes[0][i])}, n={sizes[0][i].n}" for i in columns)),
        [
            (n.name, *(interval(dice) for i in columns if (dice := of[i].dice) is not None))
            for n, of in zip(found.networks, sizes, strict=True)
        ],
    )
    whole = f" (sequences, drawn whole: {overall.n_clusters})" if overall.n_clusters < overall.n else ""
    return "\n".join(
        [_title(found), f"{overall.n} images{whole}. {_overlaps(found)}\n", markdown_table(header, rows), by_size]
    )


def _claimed(lists: Sequence[ListReport]) -> str:
    header = ("images", "network", *FALSE_POSITIVE_HEADER[1:])
    rows = []
    for found in lists:
        for n in found.networks:
            claims = n.report.overall.false_positives
            if claims is not None:
                rows.append((found.name, n.name, *false_positive_cells(claims)))
        rows += [(found.name, name, NO_WEIGHTS, *("-" for _ in header[3:])) for name in found.missing]
    about = "".join(f"- {found.name}: {found.about}\n" for found in lists)
    intro = "What is called polyp where none is, as a share of the frame, and on how many of the images.\n"
    return "\n".join(["## With nothing to find\n", intro, about, markdown_table(header, rows)])


def _overlaps(found: ListReport) -> str:
    """The notes on what the networks have seen of the list, each once with those that it is of."""
    notes: dict[str, list[str]] = {}
    for n in found.networks:
        notes.setdefault(n.report.overlap.note, []).append(n.name)
    if len(notes) == 1:
        return next(iter(notes))
    return " ".join(f"{', '.join(names)}: {note}" for note, names in notes.items())


def _range(size: SizeScores) -> str:
    if size.low == 0:
        return f"below {size.high * 100:g} %"
    return f"from {size.low * 100:g} %" if size.high == 1 else f"{size.low * 100:g} to {size.high * 100:g} %"


def _signed(gap: Interval) -> str:
    return f"{gap.mean:+.4f} [{gap.low:+.4f}, {gap.high:+.4f}]"
