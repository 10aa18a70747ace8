"""Contact sheet of an evaluation: the worst, the median and the best cases with truth, prediction and probability."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from lawder_edge.bundle.processing import to_mask
from lawder_edge.errors import BadInput
from lawder_edge.evaluation.evaluate import EvalPair
from lawder_edge.evaluation.metrics import ImageScores
from lawder_edge.evaluation.overlay import PREDICTION, TRUTH, Colour, draw_contour

Rank = Literal["worst", "median", "best"]
Image = NDArray[np.uint8]

TILE_PX = 256
GAP_PX = 8
CAPTION_PX = 22
_TITLES: tuple[tuple[str, Colour], ...] = (
    ("truth", TRUTH),
    ("prediction", PREDICTION),
    ("probability 0..1", (200, 200, 200)),
)
BACKGROUND = 24
TEXT: Colour = (235, 235, 235)


@dataclass(frozen=True)
class Pick:
    """An image chosen for the sheet, and why."""

    rank: Rank
    scores: ImageScores


@dataclass(frozen=True)
class Case:
    """One row: `frame` (H, W, 3) uint8 RGB, `truth` and `found` (H, W) foreground other than 0, `probability` (H, W)
    float32 of foreground.
    """

    id: str
    rank: Rank
    dice: float
    frame: Image
    truth: NDArray[Any]
    found: NDArray[Any]
    probability: NDArray[np.float32]


def pick_cases(scores: Sequence[ImageScores], *, worst: int = 6, median: int = 3, best: int = 3) -> tuple[Pick, ...]:
    """The images to show, by Dice and then id: the worst first, those around the median, the best last; none twice.

    Of images with nothing to find, which have one Dice where anything is claimed, those first where more is. Where
    there are fewer images than asked for, the worst are taken first.
    """
    ordered = sorted(scores, key=lambda s: (s.dice, -s.predicted_area_fraction if s.empty_truth else 0.0, s.id))
    low = ordered[:worst]
    rest = ordered[len(low) :]
    high = rest[max(0, len(rest) - best) :] if best else []
    rest = rest[: len(rest) - len(high)]
    # Around the median of all images, which may lie among those already taken on a small set.
    start = min(max(0, len(ordered) // 2 - len(low) - median // 2), max(0, len(rest) - median))
    middle = rest[start : start + median]
    return (
        *(Pick("worst", s) for s in low),
        *(Pick("median", s) for s in middle),
        *(Pick("best", s) for s in high),
    )


def cases_of(
    picks: Sequence[Pick],
    pairs: Iterable[EvalPair],
    predict: Callable[[Image], NDArray[np.float32]],
    *,
    threshold: float,
) -> list[Case]:
    """The picked images among `pairs`, predicted again, in the order of the picks.

    predict, threshold: as of `evaluate`. Raises BadInput for a pick that is not
    among the pairs.
    """
    wanted = {pick.scores.id: pick for pick in picks}
    found = {}
    for pair in pairs:
        pick = wanted.get(pair.id)
        if pick is not None:
            given = np.asarray(predict(pair.frame), np.float32)
            if given.ndim == 2:
                mask, foreground = to_mask(given, threshold), given
            else:
                # As it is scored: the largest class, which may be background where the others together are more.
                mask, foreground = given.argmax(0) != 0, 1 - given[0]
            found[pair.id] = Case(pair.id, pick.rank, pick.scores.dice, pair.frame, pair.labels, mask, foreground)
    missing = [id for id in wanted if id not in found]
    if missing:
        raise BadInput(f"{missing[0]} was picked for the sheet and is not among the images; give those of the report")
    return [found[id] for id in wanted]


def contact_sheet(cases: Sequence[Case], *, columns: int = 2) -> Image:
    """The sheet as (H, W, 3) uint8 RGB: `columns` cases side by side, each three tiles of 256 px with a caption.

    Tiles: frame with the truth's outline, frame with the prediction's, probability in viridis (dark 0, bright 1).

    Raises BadInput for no cases, or arrays of one case that differ in size.
    """
    if not cases:
        raise BadInput("a contact sheet needs at least one case")
    blocks = [_block(case) for case in cases]
    columns = min(columns, len(blocks))
    height, width = blocks[0].shape[:2]
    rows = -(-len(blocks) // columns)
    sheet = np.full(
        (CAPTION_PX + rows * (height + GAP_PX) + GAP_PX, columns * (width + 2 * GAP_PX), 3), BACKGROUND, np.uint8
    )
    for i, block in enumerate(blocks):
        # Down the columns, so that a reader meets the worst first and the best last.
        column, row = divmod(i, rows)
        x, y = GAP_PX + column * (width + 2 * GAP_PX), CAPTION_PX + GAP_PX + row * (height + GAP_PX)
        sheet[y : y + height, x : x + width] = block
    for column in range(columns):
        for k, (title, colour) in enumerate(_TITLES):
            write_text(sheet, title, GAP_PX + column * (width + 2 * GAP_PX) + k * (TILE_PX + GAP_PX), 16, colour)
    return sheet


def _block(case: Case) -> Image:
    if not case.frame.shape[:2] == case.truth.shape == case.found.shape == case.probability.shape:
        raise BadInput(
            f"{case.id}: frame {case.frame.shape}, truth {case.truth.shape} and probability {case.probability.shape} "
            "must have one size"
        )
    frame = fit_tile(case.frame, cv2.INTER_AREA)
    truth = fit_tile((case.truth != 0).astype(np.uint8), cv2.INTER_NEAREST)
    found = fit_tile((case.found != 0).astype(np.uint8), cv2.INTER_NEAREST)
    levels = np.round(np.clip(case.probability, 0, 1) * 255).astype(np.uint8)
    heat = np.asarray(cv2.applyColorMap(fit_tile(levels, cv2.INTER_AREA), cv2.COLORMAP_VIRIDIS))[..., ::-1]
    tiles = [draw_contour(frame, truth, TRUTH), draw_contour(frame, found, PREDICTION), heat.astype(np.uint8)]
    block = np.full((TILE_PX + CAPTION_PX, 3 * TILE_PX + 2 * GAP_PX, 3), BACKGROUND, np.uint8)
    for k, tile in enumerate(tiles):
        top, left = (TILE_PX - tile.shape[0]) // 2, k * (TILE_PX + GAP_PX) + (TILE_PX - tile.shape[1]) // 2
        block[top : top + tile.shape[0], left : left + tile.shape[1]] = tile
    write_text(block, f"{case.rank}  {_score(case)}  {case.id}", 2, TILE_PX + 16, TEXT)
    return block


def _score(case: Case) -> str:
    if case.truth.any():
        return f"Dice {case.dice:.3f}"
    return f"false area {(case.found != 0).mean():.3f}"


def fit_tile(image: NDArray[np.uint8], interpolation: int) -> NDArray[np.uint8]:
    """(H, W) or (H, W, 3) uint8, scaled so that the longer side is a tile's 256 px. interpolation: one of OpenCV's."""
    height, width = image.shape[:2]
    scale = TILE_PX / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(cv2.resize(image, size, interpolation=interpolation), dtype=np.uint8)


def write_text(image: Image, text: str, x: int, y: int, colour: Colour) -> None:
    """Write into `image` (H, W, 3), from the left end of the base line at (x, y) in pixels."""
    # The built-in font has ASCII only.
    shown = text.encode("ascii", "replace").decode()
    cv2.putText(image, shown, (x, y), cv2.FONT_HERSHEY_SIMPLEX, 0.45, colour, 1, cv2.LINE_AA)
