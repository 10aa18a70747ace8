"""The picture and mask that a device without Python tests itself with."""

from __future__ import annotations

import numpy as np

from lawder_edge.bundle.processing import grey
from lawder_edge.data.phantom import make_frame
from lawder_edge.graph.ir import Graph
from lawder_edge.targets.c.probability import Bytes, reference_mask

_SEED = 2026


def picture_and_mask(graph: Graph, threshold: float) -> tuple[bytes, bytes]:
    """A phantom frame of the network's size as PPM (grey: PGM), and what the integer reference makes of it as PGM."""
    _, height, width, channels = graph.tensor(graph.inputs[0]).shape
    frame = make_frame(np.random.default_rng(_SEED), size=(height, width)).image
    picture = grey(frame)[:, :, None] if channels == 1 else frame
    return pnm(picture), pnm(reference_mask(graph, picture, threshold)[:, :, None])


def pnm(picture: Bytes) -> bytes:
    """picture: (H, W, 1) or (H, W, 3) uint8. Returns: a binary PGM or PPM."""
    height, width, channels = picture.shape
    return f"P{6 if channels == 3 else 5}\n{width} {height}\n255\n".encode() + picture.tobytes()
