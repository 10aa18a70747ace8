"""From int8 logits to the bytes that a program gets."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lawder_edge.bundle.processing import prob_to_size, probabilities, to_mask
from lawder_edge.graph.integer_kernels import QMAX, QMIN
from lawder_edge.graph.ir import Graph, Tensor
from lawder_edge.graph.reference import dequantize, run

Bytes = npt.NDArray[np.uint8]


def probability_table(logits: Tensor, threshold: float) -> tuple[Bytes, int]:
    """Foreground probability in 1/255 of each of the 256 logits, and the byte from which a pixel is foreground.

    Where rounding to bytes would put logits of both sides of the threshold together, those below get the byte before:
    bytes give exactly the mask that the bundle's processing gives of the logits.
    """
    q = np.arange(QMIN, QMAX + 1, dtype=np.int8)
    share = probabilities(dequantize(q, logits).reshape(1, 1, 1, 256))[0, 0]
    is_foreground = to_mask(prob_to_size(share, (1, 256)), threshold)[0]
    steps = np.floor(share[0].astype(np.float64) * 255 + 0.5).astype(np.int64)
    least = int(steps[is_foreground].min()) if is_foreground.any() else 255
    cut = max(1, least)
    return np.where(is_foreground, np.maximum(steps, cut), np.minimum(steps, cut - 1)).astype(np.uint8), cut


def reference_mask(graph: Graph, picture: Bytes, threshold: float) -> Bytes:
    """What the network's `run` writes for a picture (H, W, C): (H, W) uint8, by the integer reference in numpy."""
    logits = graph.tensor(graph.outputs[0])
    (q,) = run(graph, [(picture[None] ^ np.uint8(0x80)).view(np.int8)])
    if logits.shape[3] > 1:
        return np.asarray(q[0].argmax(-1), np.uint8)
    return probability_table(logits, threshold)[0][q[0, :, :, 0].astype(np.int64) - QMIN]
