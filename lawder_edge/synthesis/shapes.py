"""What lesions look like in a set of masks: a table from which others are drawn, and nothing of a patient's picture."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

# A row a lesion: number of the picture, share of the picture's area, centre (x, y) as shares of width and height,
# shorter axis by longer axis, angle of the longer axis in radians, roughness (sd of the log radius against an ellipse).
COLUMNS = ("picture", "area", "x", "y", "roundness", "angle", "roughness")
# Specks below this share of the picture (3 pixels of 128 x 128) are slips of the annotator.
LEAST_AREA = 2e-4


def measure_shapes(labels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """labels: (N, H, W), lesion other than 0. Returns: (M, 7) float32, `COLUMNS`, in the order of the pictures."""
    rows: list[tuple[float, ...]] = []
    height, width = labels.shape[1:]
    for number, mask in enumerate(labels):
        count, parts, stats, centres = cv2.connectedComponentsWithStats((mask > 0).astype(np.uint8))
        for part in range(1, count):
            area = stats[part, cv2.CC_STAT_AREA] / (height * width)
            if area < LEAST_AREA:
                continue
            x, y = (centres[part] + 0.5) / (width, height)
            rows.append((number, area, x, y, *_outline(parts == part)))
    return np.array(rows, np.float32).reshape(-1, len(COLUMNS))


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
