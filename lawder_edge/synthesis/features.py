"""The networks whose features pictures are compared by."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lawder_edge.bundle.processing import resize
from lawder_edge.models import inception, lite0
from lawder_edge.training.batches import normalise
from lawder_edge.training.pretrained import INCEPTION_SHA256, LoadedInception

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class FeatureNetwork:
    """name: for people, with the weights' sha256 where a person brought them. extract: pictures (H, W, 3) uint8 RGB, of
    any sizes -> (N, d) float32.

    published: whether these are the features of published FID and KID, weights and preparation of the pictures alike.
    """

    name: str
    published: bool
    extract: Callable[[Sequence[Pixels]], NDArray[np.float32]]


def lite0_features(network: Any) -> FeatureNetwork:
    """Those of a `Lite0` in eval mode; pictures are brought to 224 x 224 as everywhere here, anti-aliased."""

    @torch.no_grad()
    def extract(pictures: Sequence[Pixels]) -> NDArray[np.float32]:
        side = (lite0.SIDE_PX, lite0.SIDE_PX)
        pixels = np.stack([resize(np.ascontiguousarray(picture), side) for picture in pictures])
        return _array(network(normalise(pixels)))

    return FeatureNetwork(lite0.NAME, False, extract)


def inception_features(loaded: LoadedInception) -> FeatureNetwork:
    """Those of FID: 299 x 299 by TensorFlow 1's bilinear rule, then (rgb - 128) / 128, then the 2,048 means.

    That rule is of the graph that FID was published with (arXiv 1706.08500), and of torch-fidelity.
    """

    @torch.no_grad()
    def extract(pictures: Sequence[Pixels]) -> NDArray[np.float32]:
        # Interpolation is linear, so that it may follow the scaling.
        sized = [inception.legacy_bilinear(normalise(picture[None])) for picture in pictures]
        return _array(loaded.network(torch.cat(sized)))

    published = loaded.sha256 == INCEPTION_SHA256
    return FeatureNetwork(f"{inception.NAME} (weights {loaded.sha256[:12]})", published, extract)


def _array(features: Tensor) -> NDArray[np.float32]:
    values: NDArray[np.float32] = features.float().numpy()
    return values
