"""Masks from folders. Reads disk."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lawder_edge.data.cache import Progress, resize_labels
from lawder_edge.data.datasets import Sample, first_few, listed_samples, samples_of, select_listed
from lawder_edge.data.images import MaskFile, read_mask
from lawder_edge.data.layouts import LAYOUTS, DatasetFolder, find_folders, image_files
from lawder_edge.errors import BadDataset, BadInput
from lawder_edge.synthesis.generator import LoadedGenerator
from lawder_edge.synthesis.masks import AugmentedMasks, GivenMasks, KnownMasks, MaskSource, ProceduralMasks

_MASK_FOLDER = "masks"


@dataclass(frozen=True)
class MaskFiles:
    """masks: at the size asked for. notes: what a person should know of them."""

    masks: KnownMasks
    notes: tuple[str, ...]


def mask_source(
    text: str, generator: LoadedGenerator, *, data: Path | None, splits: Sequence[Path], progress: Progress
) -> tuple[MaskSource, tuple[str, ...]]:
    """What --masks names: procedural, augmented (of `data`), or a folder. Returns: the source, and notes for people.

    Raises: BadInput for words that contradict each other; BadDataset, BadImage.
    """
    config = generator.record.config
    if text == "procedural":
        if data is not None or splits:
            raise BadInput("--masks procedural reads no masks. Leave --data and --split out, or take augmented.")
        if config.num_classes > 1:
            raise BadInput(
                f"--masks procedural draws one class and this generator has {config.num_classes}. Give --masks "
                "augmented --data DIR, or a folder of masks."
            )
        return ProceduralMasks(generator.mask_shapes.numpy(), size=config.size), ()
    if text == "augmented" and data is None:
        raise BadInput("--masks augmented needs --data, the folder whose masks are changed.")
    if text != "augmented" and data is not None:
        raise BadInput("--data is for --masks augmented; otherwise --masks names the folder itself.")
    folder = Path(text) if data is None else data
    files = read_masks(folder, splits=splits, size=config.size, num_classes=config.num_classes, progress=progress)
    return GivenMasks(files.masks) if data is None else AugmentedMasks(files.masks), files.notes


def read_masks(folder: Path, *, splits: Sequence[Path], size: int, num_classes: int, progress: Progress) -> MaskFiles:
    """The masks of a dataset folder (or a folder of such), or a folder of mask files, at size x size.

    Masks of another size are brought to it by nearest neighbour, each side by itself, as the training pictures were.

    Raises: BadDataset for a folder without masks, and for names as `samples_of` refuses them; BadImage for a file that
    is none.
    """
    samples = _samples(folder, splits)
    sizes: Counter[tuple[int, int]] = Counter()
    notes: list[str] = []
    interpreted: list[str] = []
    labels = np.empty((len(samples), size, size), np.uint8)
    for place, sample in enumerate(samples):
        file = _read(sample, num_classes)
        mask = file.labels
        height, width = mask.shape
        sizes[height, width] += 1
        interpreted += [f"{sample.id}: {note}" for note in file.notes]
        labels[place] = resize_labels(mask, (size, size))
        if mask.any() and not labels[place].any():
            notes.append(f"{sample.id}: its lesion is lost at {size} px")
        progress(place + 1, len(samples))
    others = {f"{w}x{h}": n for (h, w), n in sizes.items() if (h, w) != (size, size)}
    if others:
        shown = ", ".join(f"{n} of {name}" for name, n in sorted(others.items(), key=lambda e: -e[1])[:4])
        notes.append(f"masks of another size brought to {size}x{size}: {shown}")
    if interpreted:
        notes.append(f"{len(interpreted)} masks had to be interpreted: {first_few(interpreted)}")
    return MaskFiles(KnownMasks(labels, tuple(s.id for s in samples)), tuple(notes))


def _samples(folder: Path, splits: Sequence[Path]) -> list[Sample]:
    if not folder.is_dir() or any(found.masks for found in _folders(folder)):
        return listed_samples(folder, splits)
    inner = next((c for c in sorted(folder.iterdir()) if c.is_dir() and c.name.lower() == _MASK_FOLDER), folder)
    files, repeated = image_files(inner)
    if not files:
        raise BadDataset(f"{folder}: no masks in this folder; wanted mask files, or {LAYOUTS}")
    alone = DatasetFolder(folder.resolve().name, folder, folder, files, files, repeated=repeated)
    return select_listed(samples_of(alone, groups={}), splits)


def _folders(folder: Path) -> Sequence[DatasetFolder]:
    try:
        return find_folders(folder)
    except BadDataset:
        return ()


def _read(sample: Sample, num_classes: int) -> MaskFile:
    if sample.mask is None:
        raise BadDataset(f"{sample.id}: no mask; put one of the same name into the masks folder")
    if sample.slice_index is None:
        return read_mask(sample.mask, num_classes=num_classes)
    from lawder_edge.data.kits19 import read_labels

    return read_labels(sample.mask, sample.slice_index, num_classes=num_classes)
