"""What lesions look like in a set of masks: a table from which others are drawn, and nothing of a patient's picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from lawder_edge.errors import BadInput

# A row a lesion: number of the picture, share of the picture's area, centre (x, y) as shares of width and height,
# shorter axis by longer axis, angle of the longer axis in radians, roughness (sd of the log radius against an ellipse),
# and the share of the picture's edge that it covers.
COLUMNS = ("picture", "area", "x", "y", "roundness", "angle", "roughness", "edge")
PICTURE, AREA, X, Y, ROUNDNESS, ANGLE, ROUGHNESS, EDGE = range(len(COLUMNS))
# Specks below this share of the picture (3 pixels of 128 x 128) are slips of the annotator.
LEAST_AREA = 2e-4


def measure_shapes(labels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """labels: (N, H, W), lesion other than 0. Returns: (M, 8) float32, `COLUMNS`, in the order of the pictures."""
    rows: list[tuple[float, ...]] = []
    height, width = labels.shape[1:]
    for number, mask in enumerate(labels):
        count, parts, stats, centres = cv2.connectedComponentsWithStats((mask > 0).astype(np.uint8))
        for part in range(1, count):
            area = stats[part, cv2.CC_STAT_AREA] / (height * width)
            if area < LEAST_AREA:
                continue
            x, y = (centres[part] + 0.5) / (width, height)
            rows.append((number, area, x, y, *_outline(parts == part), edge_share(parts == part)))
    return np.array(rows, np.float32).reshape(-1, len(COLUMNS))


def edge_share(mask: NDArray[Any]) -> float:
    """Share of the pixels along the picture's edge that are lesion. mask: (H, W)."""
    inside = mask > 0
    edge = np.concatenate([inside[0], inside[-1], inside[1:-1, 0], inside[1:-1, -1]])
    return float(edge.mean())


@dataclass(frozen=True)
class Limits:
    """What is plausible: what lies between the extremes that were seen.

    least_area, most_area: share of a picture that is lesion. most_lesions: in a picture. most_edge: share of the
    picture's edge that is lesion.
    """

    least_area: float
    most_area: float
    most_lesions: int
    most_edge: float


def limits_of(shapes: NDArray[np.float32]) -> Limits:
    """The extremes of a table. Raises: BadInput for one without a row."""
    if not len(shapes):
        raise BadInput("no lesion was measured in the training masks, so that none can be drawn.")
    _, picture = np.unique(shapes[:, PICTURE], return_inverse=True)
    area = np.bincount(picture, shapes[:, AREA])
    edge = np.bincount(picture, shapes[:, EDGE])
    return Limits(float(area.min()), float(area.max()), int(np.bincount(picture).max()), float(edge.max()))


def implausible(labels: NDArray[np.uint8], limits: Limits) -> str | None:
    """Why a mask, (H, W) with lesion other than 0, is unlike those that were seen; None where it is like them.

    Specks below `LEAST_AREA` count for nothing, as in the table that the limits are of.
    """
    _, parts, stats, _ = cv2.connectedComponentsWithStats((labels > 0).astype(np.uint8))
    lesions = np.flatnonzero(stats[1:, cv2.CC_STAT_AREA] >= LEAST_AREA * labels.size) + 1
    mask = np.isin(parts, lesions).astype(np.uint8)
    area = float(mask.mean())
    # A pixel more or less is no difference.
    slack = 1.5 / mask.size
    if not limits.least_area - slack <= area <= limits.most_area + slack:
        return f"{area:.2%} of the picture, wanted {limits.least_area:.2%} to {limits.most_area:.2%}"
    if len(lesions) > limits.most_lesions:
        return f"{len(lesions)} lesions, wanted at most {limits.most_lesions}"
    edge = edge_share(mask)
    if edge > limits.most_edge + 1.5 / (2 * sum(mask.shape)):
        return f"{edge:.0%} of the picture's edge, wanted at most {limits.most_edge:.0%}"
    return None


def _outline(part: NDArray[np.bool_]) -> tuple[float, float, float]:
    """Roundness, angle and roughness of one connected region."""
    y, x = np.nonzero(part)
    points = np.stack([x, y]).astype(np.float64)
    points -= points.mean(1, keepdims=True)
    # A pixel is a square of its own: 1/12 of variance, which also keeps a line from having no width.
    variances, axes = np.linalg.eigh(points @ points.T / len(x) + np.eye(2) / 12)
    short, long = np.sqrt(variances)
    angle = float(np.arctan2(axes[1, 1], axes[0, 1]) % np.pi)
    contours, _ = cv2.findContours(part.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    edge: Any = max(contours, key=len)[:, 0].T.astype(np.float64) - [[x.mean()], [y.mean()]]
    # In units of the region's own ellipse, in which a perfect one is a circle.
    radius = np.linalg.norm((axes.T @ edge) / np.sqrt(variances)[:, None], axis=0)
    roughness = float(np.log(np.maximum(radius, 0.05)).std())
    return float(short / long), angle, roughness
