"""`lawder-edge verify --all`"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lawder_edge.exporting.matrix import Matrix, Pairing, Row
    from lawder_edge.intervals import Interval

ROWS = (
    "artifact", "precision", "state", "Dice", "drop against PyTorch [95 %]", "mask Dice mean", "worst",
    "surface Dice 2 px", "max |logit diff|", "hostile frames", "network",
)  # fmt: skip
PAIRS = (
    "int8 runtimes",
    "mask Dice mean",
    "worst",
    "worst image",
    "Dice difference",
    "equal pixels",
    "holds",
    "network",
)
DEFAULT_IMAGES = 16


def verify_all(
    folder: Path,
    *,
    model: str | None,
    data: Path | None,
    split: tuple[Path, ...],
    limit: int,
    full: bool,
    strict: bool,
    format: str,
) -> int:
    """The matrix of all bundles in a folder. Returns: the exit code."""
    from lawder_edge.bundle.certificate import INT8_LIMITS
    from lawder_edge.cli.progress import progress
    from lawder_edge.cli.tables import print_table
    from lawder_edge.exporting.comparing import ImageChoice, bundles_in, compare_all
    from lawder_edge.exporting.matrix import LARGEST_DICE_DIFFERENCE

    choice = ImageChoice(data, split, 0 if full else limit or DEFAULT_IMAGES)
    with progress("comparing") as report:
        found = compare_all(bundles_in(folder), choice, model=model, progress=report)
    if format == "json":
        print(json.dumps(asdict(found), indent=1))
        return exit_code(found, strict=strict)
    print(f"on {found.source}, each at its own size; hostile frames: least share of pixels with PyTorch's class")
    several = _several_networks(found)
    # The network is the last column, and left out where there is one alone.
    columns = slice(None) if several else slice(-1)
    print_table(ROWS[columns], [_cells(row)[columns] for row in found.rows], right=(3, 5, 6, 7, 8, 9))
    if found.pairings:
        print()
        print_table(PAIRS[columns], [_pair_cells(pair)[columns] for pair in found.pairings], right=(1, 2, 4, 5))
    # One reason often stands for several: what PyTorch does not compute is missing to all of its artifacts.
    for reason in dict.fromkeys(row.reason for row in found.rows if row.reason):
        told = [_told(row, several=several) for row in found.rows if row.reason == reason]
        print(f"{', '.join(told)}: {reason}")
    apart = [pair for pair in found.pairings if not pair.holds]
    if apart:
        print(
            f"{len(apart)} of {len(found.pairings)} pairs of int8 runtimes draw other masks than is wanted: mean mask "
            f"Dice {INT8_LIMITS.mask_dice_mean:g}, worst {INT8_LIMITS.mask_dice_worst:g}, Dice within "
            f"{LARGEST_DICE_DIFFERENCE:g}"
        )
    return exit_code(found, strict=strict)


def exit_code(found: Matrix, *, strict: bool) -> int:
    """3 where an artifact is rejected, and if `strict` where two int8 runtimes differ; 1 where one failed or had no
    PyTorch to be compared with; else 0.
    """
    states = {row.state for row in found.rows}
    if "rejected" in states or (strict and not all(pair.holds for pair in found.pairings)):
        return 3
    return 1 if states & {"failed", "no-reference"} else 0


def _several_networks(found: Matrix) -> bool:
    """Whether one precision has several, which the names of artifacts do not tell apart."""
    return len({(row.precision, row.network) for row in found.rows}) > len({row.precision for row in found.rows})


def _told(row: Row, *, several: bool) -> str:
    return f"{row.name} {row.precision}{f' of {row.network}' if several and row.network else ''}"


def _cells(row: Row) -> tuple[str, ...]:
    return (
        row.name,
        row.precision,
        row.state,
        "-" if row.dice is None else f"{row.dice.mean:.4f}",
        "-" if row.drop is None else _signed(row.drop),
        "-" if row.mask_dice is None else f"{row.mask_dice.mean:.4f}",
        "-" if row.mask_dice is None else f"{row.mask_dice.worst:.4f}",
        "-" if row.surface_dice is None else f"{row.surface_dice.mean:.4f}",
        "-" if row.largest is None else f"{row.largest:.1e}",
        "-" if row.hostile is None else f"{row.hostile:.4f}",
        row.network or "-",
    )


def _signed(value: Interval) -> str:
    return f"{value.mean:+.4f} [{value.low:+.4f}, {value.high:+.4f}]"


def _pair_cells(pair: Pairing) -> tuple[str, ...]:
    return (
        f"{pair.first}, {pair.second}",
        f"{pair.mask_dice.mean:.4f}",
        f"{pair.mask_dice.worst:.4f}",
        pair.mask_dice.worst_id,
        f"{pair.dice_difference:+.4f}",
        f"{pair.same_pixels:.5f}",
        "yes" if pair.holds else "no",
        pair.network,
    )
