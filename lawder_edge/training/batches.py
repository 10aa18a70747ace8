"""From decoded arrays to training batches. A batch depends on (seed, pass, position) alone, so a resumed run sees the
same ones."""

from __future__ import annotations

import dataclasses
import hashlib
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lawder_edge.data.augment import AugmentConfig, Example, augment


@dataclass(frozen=True)
class TrainData:
    """Decoded pictures in memory (or memory-mapped).

    images: (N, H, W, C) uint8. labels: (N, H, W) uint8 class indices. ids: N names. domain: (N,) int, the dataset that
    each picture is from; colours are exchanged between domains. groups: the sequences and patients in it. taught:
    (N, H, W) uint8, a teacher's probability of foreground, 255 for 1.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.uint8]
    ids: tuple[str, ...]
    domain: NDArray[np.int64]
    groups: tuple[str, ...] = ()
    taught: NDArray[np.uint8] | None = None

    def __len__(self) -> int:
        return len(self.ids)

    def said(self) -> str:
        """Which pictures these are, in one line: equal for equal ids in the same order."""
        return f"{len(self)} pictures, sha256 {hashlib.sha256(chr(10).join(self.ids).encode()).hexdigest()[:16]}"


@dataclass(frozen=True)
class Batch:
    """What a step is given.

    frames: (B, C, H, W) float32 in [-1, 1]. labels: (B, H, W) int64 class indices. taught: (B, H, W) float32, a
    teacher's probability of foreground, None without a teacher.
    """

    frames: Tensor
    labels: Tensor
    taught: Tensor | None = None

    def to(self, device: torch.device) -> Batch:
        """The same on `device`."""
        moved = {
            f.name: value.to(device) for f in dataclasses.fields(self) if (value := getattr(self, f.name)) is not None
        }
        return Batch(**moved)


def normalise(images: NDArray[np.uint8]) -> Tensor:
    """(B, H, W, C) uint8 -> (B, C, H, W) float32 (rgb - 128) / 128, the input range of every model.

    The channels stay last in memory (torch.channels_last), and dense convolutions keep that for all that follows, which
    is what they are fast in on a CPU (benchmarks/results/throughput.md). Weights in that order gain nothing more.
    """
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
) -> Batch:
    """The pictures of `indices` at size x size. `config` None: resize only."""
    examples = []
    for index in indices:
        rng = np.random.default_rng((seed, pass_index, int(index)))
        lender = int(rng.integers(len(data)))
        other = data.images[lender] if data.domain[lender] != data.domain[index] else None
        taught = None if data.taught is None else data.taught[index]
        if config is None:
            example = Example(*resized(data.images[index], data.labels[index], size), _taught_at(taught, size))
        else:
            example = augment(
                data.images[index],
                data.labels[index],
                config,
                size=(size, size),
                rng=rng,
                other=other,
                taught=taught,
            )
        examples.append(example)
    said = [e.taught for e in examples if e.taught is not None]
    return Batch(
        normalise(np.stack([e.frame for e in examples])),
        torch.from_numpy(np.stack([e.labels for e in examples])).long(),
        torch.from_numpy(np.stack(said)).float() / 255 if said else None,
    )


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


def _taught_at(taught: NDArray[np.uint8] | None, size: int) -> NDArray[np.uint8] | None:
    from lawder_edge.bundle.processing import resize

    return None if taught is None else resize(taught[..., None], (size, size))[..., 0]
