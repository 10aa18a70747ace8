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
    "surface Dice 2 px", "max |logit diff|", "hostile frames",
)  # fmt: skip
PAIRS = ("int8 runtimes", "mask Dice mean", "worst", "worst image", "Dice difference", "equal pixels", "holds")
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
    from lawder_edge.exporting.matrix import LARGEST_DICE_DIFFERENCE, ImageChoice, bundles_in, compare_all

    choice = ImageChoice(data, split, 0 if full else limit or DEFAULT_IMAGES)
    with progress("comparing") as report:
        found = compare_all(bundles_in(folder), choice, model=model, progress=report)
    if format == "json":
        print(json.dumps(asdict(found), indent=1))
        return exit_code(found, strict=strict)
    print(f"on {found.source}, each at its own size; hostile frames: least share of pixels with PyTorch's class")
    print_table(ROWS, [_cells(row) for row in found.rows], right=(3, 5, 6, 7, 8, 9))
    if found.pairings:
        print()
        print_table(PAIRS, [_pair_cells(pair) for pair in found.pairings], right=(1, 2, 4, 5))
    for row in found.rows:
        if row.reason:
            print(f"{row.name} {row.precision}: {row.reason}")
    apart = [pair for pair in found.pairings if not pair.holds]
    if apart:
        print(
            f"{len(apart)} of {len(found.pairings)} pairs of int8 runtimes draw other masks than is wanted: mean mask "
            f"Dice {INT8_LIMITS.mask_dice_mean:g}, worst {INT8_LIMITS.mask_dice_worst:g}, Dice within "
            f"{LARGEST_DICE_DIFFERENCE:g}"
        )
    return exit_code(found, strict=strict)


def exit_code(found: Matrix, *, strict: bool) -> int:
    """3 where an artifact is rejected, and if `strict` where two int8 runtimes differ; 1 where one failed; else 0."""
    states = {row.state for row in found.rows}
    if "rejected" in states or (strict and not all(pair.holds for pair in found.pairings)):
        return 3
    return 1 if "failed" in states else 0


def _cells(row: Row) -> tuple[str, ...]:
    if row.dice is None or row.drop is None or row.mask_dice is None or row.surface_dice is None:
        return (row.name, row.precision, row.state, *["-"] * 7)
    return (
        row.name,
        row.precision,
        row.state,
        f"{row.dice.mean:.4f}",
        _signed(row.drop),
        f"{row.mask_dice.mean:.4f}",
        f"{row.mask_dice.worst:.4f}",
        f"{row.surface_dice.mean:.4f}",
        "-" if row.largest is None else f"{row.largest:.1e}",
        "-" if row.hostile is None else f"{row.hostile:.4f}",
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
    )
