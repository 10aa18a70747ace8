"""The three sets of pictures of a score, from folders. Reads disk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from lawder_edge.data.cache import Progress, load_arrays
from lawder_edge.data.datasets import Sample, find_samples, first_few, listed_samples
from lawder_edge.data.images import image_size
from lawder_edge.data.kept import KEPT
from lawder_edge.data.provenance import MANIFEST, Manifest, Origin, read_manifest
from lawder_edge.errors import BadDataset, BadInput, OutputExists
from lawder_edge.evaluation.overlap import TrainedOn, find_overlap
from lawder_edge.training.batches import TrainData
from lawder_edge.training.synthetic import Drawn, check_files, read_drawn


@dataclass(frozen=True)
class ScoredSets:
    """All at the size of the synthetic pictures.

    held_groups: the sequence or patient of each held-out picture, None where it is not known. notes: for a person.
    """

    synthetic: TrainData
    train: TrainData
    held: TrainData
    held_groups: tuple[str | None, ...]
    notes: tuple[str, ...]


def read_sets(
    synthetic: Path,
    *,
    data: Path,
    train: Sequence[Path],
    held_out: Sequence[Path],
    lesion_class: int = 1,
    all_of_train: bool = False,
    progress: Progress,
) -> ScoredSets:
    """Synthetic pictures, and of the real ones in `data` those listed in `train` and in `held_out`.

    Masks are read with as many classes as the manifest says that the generator draws for; 1 without a manifest.

    all_of_train: whether every picture that the generator was trained on has to be in `train`, as where copies of them
    are to be left out.

    Raises: BadDataset for a list that is missing or stands on both sides, and for lists that are not what the manifest
    says that the generator was trained on, or for pictures that are not those of the manifest; BadInput for a
    `lesion_class` that there is not; BadImage.
    """
    manifest = read_manifest(synthetic)
    origin, classes = _origin(manifest)
    if not 1 <= lesion_class <= max(1, classes - 1):
        raise BadInput(f"--lesion-class {lesion_class}: {synthetic} is of {classes} classes, of which it is none.")
    if not train or not held_out:
        raise BadDataset(
            "give --train, the lists that the generator was trained on, and --held-out, lists of other real pictures: "
            "without them nothing says how near is near."
        )
    notes = _notes_on_manifest(synthetic, manifest)
    fakes = find_samples(synthetic)
    lists = [listed_samples(data, splits) for splits in (train, held_out)]
    if both := {s.id for s in lists[0]} & {s.id for s in lists[1]}:
        raise BadDataset(f"{len(both)} pictures stand in --train and in --held-out: {first_few(sorted(both))}.")
    if origin is not None:
        notes += _notes_on_lists(*lists, origin=origin, all_of_train=all_of_train)
    size = image_size(fakes[0].image)
    total = len(fakes) + sum(map(len, lists))
    parts: list[TrainData] = []
    for samples in (fakes, *lists):
        parts.append(_read(samples, size, classes, partial(_shifted, progress, sum(map(len, parts)), total)))
    fake, known, other = parts
    return ScoredSets(fake, known, other, tuple(sample.group for sample in lists[1]), notes)


def _notes_on_manifest(synthetic: Path, manifest: Manifest | None) -> tuple[str, ...]:
    """What a person should know where no manifest tells what is scored. Raises: BadDataset where it tells of others."""
    if manifest is None:
        return (
            f"{synthetic} has no {MANIFEST}: nothing says that these pictures are synthetic, nor what their generator "
            "was trained on",
        )
    if not manifest.complete:
        return (f"{synthetic} is unfinished: what is there is scored, and not held against its {MANIFEST}",)
    check_files(synthetic, manifest)
    return ()


def _notes_on_lists(
    train: Sequence[Sample], held: Sequence[Sample], *, origin: Origin, all_of_train: bool
) -> tuple[str, ...]:
    """What a person should know where the lists are not those of the generator. Raises: BadDataset."""
    seen = TrainedOn.of(ids=origin.train_ids, groups=origin.train_groups)
    overlap = find_overlap([(sample.id, sample.group) for sample in held], seen)
    if overlap.trained:
        raise BadDataset(
            f"{len(overlap.trained)} of {len(held)} pictures of --held-out were trained on by the generator: "
            f"{first_few(overlap.trained)}. Give pictures that it never saw."
        )
    notes = []
    if overlap.sequence:
        notes.append(
            f"{len(overlap.sequence)} of {len(held)} held-out pictures share a sequence or patient with what the "
            "generator was trained on: they are nearer to it than others would be"
        )
    listed = {sample.id for sample in train}
    if missing := [id for id in origin.train_ids if id not in listed]:
        told = (
            f"{len(missing)} of {len(origin.train_ids)} pictures that the generator was trained on are not in --train: "
            f"{first_few(missing)}. Copies of them are not found"
        )
        if all_of_train:
            raise BadDataset(f"{told}; give all lists that it was trained on.")
        notes.append(told)
    return tuple(notes)


def read_for_choice(synthetic: Path, *, overwrite: bool) -> Drawn:
    """What the folder holds, before any of it is chosen to be kept.

    Raises: OutputExists where a choice stands there and `overwrite` is not set; BadDataset as `read_drawn`.
    """
    if (synthetic / KEPT).exists() and not overwrite:
        raise OutputExists(
            f"{synthetic / KEPT} says already which pictures are kept. Add --overwrite to choose anew, or leave --keep "
            "and --reject-memorised out to score alone."
        )
    return read_drawn(synthetic)


def read_pictures(synthetic: Path, *, limit: int) -> TrainData:
    """The first `limit` pictures of a folder of `synth sample`, at their own size, with their masks.

    Raises: BadDataset, BadImage.
    """
    fakes = find_samples(synthetic)[:limit]
    return _read(fakes, image_size(fakes[0].image), _origin(read_manifest(synthetic))[1], lambda done, total: None)


def _origin(manifest: Manifest | None) -> tuple[Origin | None, int]:
    """What the manifest says of the generator, if anything, and how many classes its masks have."""
    origin = None if manifest is None else manifest.origin
    return origin, 1 if origin is None else origin.num_classes


def _shifted(progress: Progress, before: int, total: int, done: int, _: int) -> None:
    progress(before + done, total)


def _read(samples: Sequence[Sample], size: tuple[int, int], classes: int, progress: Progress) -> TrainData:
    loaded = load_arrays(samples, size=size, num_classes=classes, progress=progress)
    return TrainData(loaded.images, loaded.labels, loaded.ids, np.zeros(len(loaded.ids), np.int64))
