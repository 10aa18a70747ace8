"""From decoded arrays to training batches. A batch depends on (seed, pass, position) alone, so a resumed run sees the
same ones."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lawder_edge.data.augment import AugmentConfig, augment


@dataclass(frozen=True)
class TrainData:
    """Decoded pictures in memory (or memory-mapped).

    images: (N, H, W, C) uint8. labels: (N, H, W) uint8 class indices. ids: N names. domain: (N,) int, the dataset that
    each picture is from; colours are exchanged between domains. groups: the sequences and patients in it.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.uint8]
    ids: tuple[str, ...]
    domain: NDArray[np.int64]
    groups: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.ids)

    def said(self) -> str:
        """Which pictures these are, in one line: equal for equal ids in the same order."""
        return f"{len(self)} pictures, sha256 {hashlib.sha256(chr(10).join(self.ids).encode()).hexdigest()[:16]}"


def normalise(images: NDArray[np.uint8]) -> Tensor:
    """(B, H, W, C) uint8 -> (B, C, H, W) float32 (rgb - 128) / 128, the input range of every model."""
    # np.array copies: memory-mapped pictures are read-only, which PyTorch does not represent.
    return (torch.from_numpy(np.array(images)).permute(0, 3, 1, 2).float() - 128) / 128


def order_of_pass(n: int, *, seed: int, pass_index: int) -> NDArray[np.int64]:
    """A permutation of 0 .. n - 1."""
    return np.random.default_rng((seed, pass_index)).permutation(n)


def augmented_batch(
    data: TrainData,
    indices: NDArray[np.int64],
    *,
    size: int,
    seed: int,
    pass_index: int,
    config: AugmentConfig | None,
) -> tuple[Tensor, Tensor]:
    """Returns: frames (B, C, size, size) float32 in [-1, 1], labels (B, size, size) int64.

    `config` None: resize only.
    """
    frames, labels = [], []
    for index in indices:
        rng = np.random.default_rng((seed, pass_index, int(index)))
        lender = int(rng.integers(len(data)))
        other = data.images[lender] if data.domain[lender] != data.domain[index] else None
        if config is None:
            frame, label = resized(data.images[index], data.labels[index], size)
        else:
            frame, label = augment(
                data.images[index],
                data.labels[index],
                config,
                size=(size, size),
                rng=rng,
                other=other,
            )
        frames.append(frame)
        labels.append(label)
    return normalise(np.stack(frames)), torch.from_numpy(np.stack(labels)).long()


def at_size(data: TrainData, size: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """All pictures and labels, `resized`: (N, size, size, C) and (N, size, size) uint8."""
    pairs = [resized(frame, labels, size) for frame, labels in zip(data.images, data.labels, strict=True)]
    return np.stack([p[0] for p in pairs]), np.stack([p[1] for p in pairs])


def resized(
    frame: NDArray[np.uint8], labels: NDArray[np.uint8], size: int
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Frame by the deployed resize, labels by nearest neighbour, to size x size."""
    from lawder_edge.bundle.processing import resize
    from lawder_edge.data.cache import resize_labels

    if labels.shape == (size, size):
        return frame, labels
    return resize(frame, (size, size)), resize_labels(labels, (size, size))
