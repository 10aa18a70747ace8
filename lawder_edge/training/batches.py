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
from lawder_edge.data.clear import clear_part
from lawder_edge.training.record import SyntheticSource

# After (seed, pass, place): what is drawn by it leaves the changes of the other pictures as they are.
_EMPTIED = 1


@dataclass(frozen=True)
class SyntheticPart:
    """The synthetic pictures at the end of a training list.

    pictures: how many. per_pass: how many of them a pass takes, others each time. sources: where they came from.
    seen_ids, seen_groups: the real pictures that their generators were fitted to.
    """

    pictures: int
    per_pass: int
    sources: tuple[SyntheticSource, ...]
    seen_ids: tuple[str, ...]
    seen_groups: tuple[str, ...]


@dataclass(frozen=True)
class TrainData:
    """Decoded pictures in memory (or memory-mapped).

    images: (N, H, W, C) uint8. labels: (N, H, W) uint8 class indices. ids: N names. domain: (N,) int, the dataset that
    each picture is from; colours are exchanged between domains. groups: the sequences and patients in it. taught:
    (N, H, W) uint8, a teacher's probability of foreground, 255 for 1. synthetic: of the pictures at the end that are.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.uint8]
    ids: tuple[str, ...]
    domain: NDArray[np.int64]
    groups: tuple[str, ...] = ()
    taught: NDArray[np.uint8] | None = None
    synthetic: SyntheticPart | None = None

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def pass_length(self) -> int:
        """How many pictures a pass takes."""
        return len(self) if self.synthetic is None else len(self) - self.synthetic.pictures + self.synthetic.per_pass

    @property
    def seen_ids(self) -> tuple[str, ...]:
        """What a network is fitted to by these pictures: them, and what their generators were fitted to."""
        return self.ids if self.synthetic is None else tuple(dict.fromkeys((*self.ids, *self.synthetic.seen_ids)))

    @property
    def seen_groups(self) -> tuple[str, ...]:
        """The sequences and patients of `seen_ids`."""
        return self.groups if self.synthetic is None else tuple(sorted({*self.groups, *self.synthetic.seen_groups}))

    def said(self) -> str:
        """Which pictures these are, in one line: equal for equal ids in the same order, and equal synthetic files."""
        lines, more = list(self.ids), ""
        if self.synthetic is not None:
            lines += [source.files_sha256 for source in self.synthetic.sources]
            more = f", {self.synthetic.pictures} of them synthetic and {self.synthetic.per_pass} a pass"
        return f"{len(self)} pictures{more}, sha256 {hashlib.sha256(chr(10).join(lines).encode()).hexdigest()[:16]}"

    def pixels_sha256(self) -> str:
        """Over the decoded pictures and labels, which a file of the same name may have changed."""
        digest = hashlib.sha256()
        for planes in (self.images, self.labels):
            digest.update(np.ascontiguousarray(planes).data)
        return digest.hexdigest()


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


def pictures_of_pass(data: TrainData, *, seed: int, pass_index: int) -> NDArray[np.int64]:
    """The places in `data` that a pass takes, none twice, in its order: all real pictures, and its synthetic ones."""
    part = data.synthetic
    if part is None or part.per_pass == part.pictures:
        return order_of_pass(len(data), seed=seed, pass_index=pass_index)
    real = len(data) - part.pictures
    # Numbers of its own: the third is no picture's place, which `augmented_batch` draws by.
    drawn = np.random.default_rng((seed, pass_index, len(data))).permutation(part.pictures)[: part.per_pass]
    places = np.concatenate([np.arange(real), real + drawn])
    return places[order_of_pass(len(places), seed=seed, pass_index=pass_index)]


def augmented_batch(
    data: TrainData,
    indices: NDArray[np.int64],
    *,
    size: int,
    seed: int,
    pass_index: int,
    config: AugmentConfig | None,
    empty_share: float = 0.0,
) -> Batch:
    """The pictures of `indices` at size x size. `config` None: resize only.

    empty_share: of the pictures, drawn anew in each pass, `emptied` stands in for them before they are changed.
    """
    examples = []
    for index in indices:
        rng = np.random.default_rng((seed, pass_index, int(index)))
        lender = int(rng.integers(len(data)))
        other = data.images[lender] if data.domain[lender] != data.domain[index] else None
        taught = None if data.taught is None else data.taught[index]
        example = Example(data.images[index], data.labels[index], taught)
        if empty_share and np.random.default_rng((seed, pass_index, int(index), _EMPTIED)).random() < empty_share:
            example = emptied(example) or example
        frame, labels, taught = example
        if config is None:
            example = Example(*resized(frame, labels, size), _taught_at(taught, size))
        else:
            example = augment(frame, labels, config, size=(size, size), rng=rng, other=other, taught=taught)
        examples.append(example)
    said = [e.taught for e in examples if e.taught is not None]
    return Batch(
        normalise(np.stack([e.frame for e in examples])),
        torch.from_numpy(np.stack([e.labels for e in examples])).long(),
        torch.from_numpy(np.stack(said)).float() / 255 if said else None,
    )


def emptied(example: Example) -> Example | None:
    """The largest part of a picture without foreground (`data.clear.clear_part`), or None.

    What a teacher said of it is 0 there: the truth is known, and what he claims beside the foreground is what the part
    is to unlearn. Its faint rest elsewhere would be all that the overlap of the student with him could go by.
    """
    window = clear_part(example.labels)
    if window is None:
        return None
    frame, labels = (np.ascontiguousarray(window.of(plane)) for plane in (example.frame, example.labels))
    return Example(frame, labels, None if example.taught is None else np.zeros_like(labels))


def clear_parts(data: TrainData, size: int) -> NDArray[np.uint8]:
    """All pictures' parts without foreground, `resized`: (M, size, size, C) uint8, M up to N."""
    found = (emptied(Example(frame, labels)) for frame, labels in zip(data.images, data.labels, strict=True))
    frames = [resized(example.frame, example.labels, size)[0] for example in found if example is not None]
    return np.stack(frames) if frames else np.empty((0, size, size, data.images.shape[3]), np.uint8)


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
