"""Contact sheets of synthetic pictures: with their masks, or with the training picture that is nearest to each."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lawder_edge.evaluation.sheet import BACKGROUND, CAPTION_PX, GAP_PX, TEXT, TILE_PX, fit_tile, write_text
from lawder_edge.synthesis.score import Neighbour
from lawder_edge.training.batches import TrainData

_TITLES = ("mask", "synthetic", "nearest training picture")
_COLUMNS = 2
SHEET_PICTURES = 16
_SHEET_COLUMNS = 8


def picture_sheet(pictures: TrainData) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 RGB: rows of 8 masks, each above its picture, at the pictures' own size. One picture or more."""
    pairs = [
        np.concatenate([np.broadcast_to(part, (*part.shape[:2], 3)) for part in (_grey(labels), image)])
        for image, labels in zip(pictures.images, pictures.labels, strict=True)
    ]
    pairs += [np.full_like(pairs[0], BACKGROUND)] * (-len(pairs) % min(_SHEET_COLUMNS, len(pairs)))
    columns = min(_SHEET_COLUMNS, len(pairs))
    return np.concatenate([np.concatenate(pairs[i : i + columns], 1) for i in range(0, len(pairs), columns)])


def pick_neighbours(neighbours: Sequence[Neighbour], *, nearest: int = 4, others: int = 8) -> tuple[Neighbour, ...]:
    """Those nearest to a training picture, nearest first; then others, evenly spread over the rest in its order.

    No judge and no eye chooses among them.
    """
    ordered = sorted(neighbours, key=lambda n: (n.distance, n.id))
    taken = {n.id for n in ordered[:nearest]}
    rest = [n for n in neighbours if n.id not in taken]
    places = np.unique(np.linspace(0, len(rest) - 1, min(others, len(rest))).astype(int)) if rest else ()
    return (*ordered[:nearest], *(rest[i] for i in places))


def neighbour_sheet(neighbours: Sequence[Neighbour], synthetic: TrainData, train: TrainData) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 RGB: one block of three tiles of 256 px for each of `neighbours`, down two columns.

    It shows training pictures. Raises: ValueError for no neighbours, KeyError for ids of other sets.
    """
    if not neighbours:
        raise ValueError("a contact sheet needs at least one picture")
    fakes = {id: i for i, id in enumerate(synthetic.ids)}
    known = {id: i for i, id in enumerate(train.ids)}
    blocks = [
        _block(
            n,
            (_grey(synthetic.labels[fakes[n.id]]), synthetic.images[fakes[n.id]], train.images[known[n.train_id]]),
        )
        for n in neighbours
    ]
    columns = min(_COLUMNS, len(blocks))
    rows = -(-len(blocks) // columns)
    height, width = blocks[0].shape[:2]
    shape = (CAPTION_PX + rows * (height + GAP_PX) + GAP_PX, columns * (width + 2 * GAP_PX), 3)
    sheet = np.full(shape, BACKGROUND, np.uint8)
    for i, block in enumerate(blocks):
        column, row = divmod(i, rows)
        x, y = GAP_PX + column * (width + 2 * GAP_PX), CAPTION_PX + GAP_PX + row * (height + GAP_PX)
        sheet[y : y + height, x : x + width] = block
    for column in range(columns):
        for k, title in enumerate(_TITLES):
            write_text(sheet, title, GAP_PX + column * (width + 2 * GAP_PX) + k * (TILE_PX + GAP_PX), 16, TEXT)
    return sheet


def _grey(labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(H, W, 1): labels spread over black to white."""
    return (labels.astype(np.float32) * (255 / max(1, int(labels.max())))).astype(np.uint8)[..., None]


def _block(neighbour: Neighbour, pictures: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    import cv2

    block = np.full((TILE_PX + CAPTION_PX, 3 * TILE_PX + 2 * GAP_PX, 3), BACKGROUND, np.uint8)
    for k, picture in enumerate(pictures):
        colour = np.repeat(picture, 3, 2) if picture.shape[2] == 1 else picture
        tile = fit_tile(colour, cv2.INTER_NEAREST)
        top, left = (TILE_PX - tile.shape[0]) // 2, k * (TILE_PX + GAP_PX) + (TILE_PX - tile.shape[1]) // 2
        block[top : top + tile.shape[0], left : left + tile.shape[1]] = tile
    caption = f"{neighbour.distance:.4f}  {neighbour.id.rsplit('/', 1)[-1]}  near  {neighbour.train_id}"
    write_text(block, caption, 2, TILE_PX + 16, TEXT)
    return block
