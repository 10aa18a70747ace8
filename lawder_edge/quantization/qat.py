"""Quantisation: calibrating ranges on images, and fine-tuning with rounding in place, the float network as teacher."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from lawder_edge.models.deploy import to_deploy
from lawder_edge.quantization.checkpoint import Quantized, read_quantized, write_quantized
from lawder_edge.quantization.prepare import RoundedNetwork, prepare
from lawder_edge.quantization.recipe import QatOptions
from lawder_edge.training.batches import Batch, normalise
from lawder_edge.training.checkpoint import fingerprint
from lawder_edge.training.losses import LOSSES, supervised
from lawder_edge.training.record import WeightsRecord


def calibrate(
    network: RoundedNetwork,
    images: NDArray[np.uint8],
    *,
    batch: int = 8,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Learn the ranges, and nothing else, from images (N, H, W, C) uint8 at the network's size, in their order."""
    network.train()
    with torch.no_grad():
        for start in range(0, len(images), batch):
            network(normalise(images[start : start + batch]))
            if progress:
                progress(min(start + batch, len(images)), len(images))
    network.eval()


class QuantizedTrainee:
    """A float network on its way to int8.

    model: trained, in floating point; it stays as it is and teaches. record: of its weights; what it says of the images
    that they have seen holds for the quantised weights too. images: (N, H, W, C) uint8 training images at the options'
    size that give the first ranges.
    """

    def __init__(
        self, model: nn.Module, record: WeightsRecord, *, images: NDArray[np.uint8], options: QatOptions
    ) -> None:
        options.check()
        self._options = options
        self._size = options.size
        self._record = record
        self._teacher = to_deploy(model).requires_grad_(False)
        self._images = images
        self._source = fingerprint(dict(model.state_dict()))

    def facts(self) -> dict[str, Any]:
        return {"float weights": self._source[:16], **dataclasses.asdict(self._options)}

    def create(self) -> RoundedNetwork:
        deployed = to_deploy(self._teacher)
        network = prepare(
            deployed,
            size=(self._size, self._size),
            channels=self._record.in_channels,
            weight_bits=self._options.weight_bits,
        )
        if self._options.tight:
            network.tighten()
        calibrate(network, self._images)
        network.set_noise(self._options.noise)
        return network

    def loss(self, outputs: Any, batch: Batch) -> Tensor:
        share = self._options.teacher
        own = supervised(LOSSES["bce_dice"], outputs, batch.labels)
        if not share:
            return own
        with torch.no_grad():
            taught = self._teacher.to(batch.frames.device)(batch.frames)
        return share * distillation(outputs, taught) + (1 - share) * own

    def before_step(self, model: nn.Module, done: float) -> None:
        if done >= self._options.freeze_after:
            cast(RoundedNetwork, model).freeze()

    def save(self, path: Path, model: nn.Module, record: WeightsRecord) -> None:
        network = cast(RoundedNetwork, model)
        seen = record.having_seen(self._record)
        write_quantized(path, Quantized(network.deployed_state(), network.scales(), seen))

    def load(self, path: Path, model: nn.Module) -> WeightsRecord:
        found = read_quantized(path)
        network = cast(RoundedNetwork, model)
        network.load_deployed(found.tensors, found.scales)
        return found.record


def distillation(logits: Tensor, taught: Tensor) -> Tensor:
    """Cross-entropy of the student's probabilities against the teacher's, less the teacher's own entropy, per pixel.

    logits, taught: (B, K, H, W). Returns: a scalar, 0 where both agree.
    """
    if logits.shape[1] == 1:
        target = torch.sigmoid(taught)
        own = F.binary_cross_entropy_with_logits(taught, target)
        return F.binary_cross_entropy_with_logits(logits, target) - own
    target = torch.softmax(taught, 1)
    return F.kl_div(F.log_softmax(logits, 1), target, reduction="none").sum(1).mean()
