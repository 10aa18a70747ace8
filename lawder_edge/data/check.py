"""Looks a data folder through before training does: everything that is wrong, not just the first of it."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from lawder_edge.data.datasets import (
    UNLISTABLE,
    Sample,
    first_few,
    group_names,
    listable_images,
    read_split,
    samples_of,
    select,
    unlistable,
    unpaired,
)
from lawder_edge.data.inspection import Look, look_at
from lawder_edge.data.layouts import LAYOUTS, DatasetFolder, find_folders
from lawder_edge.data.leaks import NEAR_DUPLICATE_BITS, Leak, find_leaks, find_repeats, shared_groups
from lawder_edge.data.load import size_mismatch
from lawder_edge.errors import BadDataset, BadInput

Severity = Literal["ok", "warn", "error"]

# Above this share of foreground, in the median mask of a dataset, background and foreground are likely swapped: the
# median is 0.11 in Kvasir-SEG and 0.07 in CVC-ClinicDB.
_SWAPPED_SHARE = 0.5


@dataclass(frozen=True)
class Finding:
    """One thing that was found.

    Attributes:
        severity: "ok" (worth knowing), "warn" (training works, look at it), "error" (loading stops there).
        dataset: folder name, names of split files, or "" for the whole.
        message: what is wrong and what to do, with the first few names.
        items: all ids, or pairs "id = id", concerned.
    """

    severity: Severity
    dataset: str
    message: str
    items: tuple[str, ...] = ()


@dataclass(frozen=True)
class DatasetSummary:
    """What one dataset folder holds.

    Attributes:
        name: folder name.
        images: number of images (or slices).
        pairs: images with a mask of the same size, both readable.
        groups: known sequences or patients.
        sizes: ((H, W), number of images), the most frequent first.
        empty_masks: readable masks without foreground.
        area_percent: foreground share of the non-empty masks in percent: least, 5th percentile, median, 95th
            percentile, most; None without such a mask.
    """

    name: str
    images: int
    pairs: int
    groups: int
    sizes: tuple[tuple[tuple[int, int], int], ...]
    empty_masks: int
    area_percent: tuple[float, float, float, float, float] | None


@dataclass(frozen=True)
class CheckReport:
    """Result of `check_folder`: summaries by dataset, and findings with errors first."""

    root: Path
    datasets: tuple[DatasetSummary, ...]
    findings: tuple[Finding, ...]

    @property
    def severity(self) -> Severity:
        """The worst of the findings; "ok" without any."""
        found = {finding.severity for finding in self.findings}
        return "error" if "error" in found else "warn" if "warn" in found else "ok"


def check_folder(
    root: Path,
    *,
    num_classes: int = 1,
    splits: Sequence[Path] = (),
    near_duplicates: bool = True,
    progress: Callable[[int, int], None] | None = None,
) -> CheckReport:
    """Read every image and mask of a folder and report what is wrong; nothing is raised for bad data.

    Args:
        root: a dataset folder or a folder of them, see `layouts`.
        num_classes: how masks will be read, see `images.read_mask`.
        splits: split files that are meant to exclude each other; every two of them are compared.
        near_duplicates: also compare images by perceptual hash (`leaks`).
        progress: called with (images done, images in all).

    Raises:
        Unavailable: there are KiTS19 volumes and nibabel is not installed.
    """
    try:
        folders = find_folders(root)
    except BadDataset as error:
        return CheckReport(root, (), (Finding("error", "", str(error)),))
    findings = [finding for folder in folders for finding in _pairing(folder)]
    samples: list[Sample] = []
    for folder in folders:
        found, unreadable = _lenient_samples(folder)
        samples += found
        findings += unreadable
    if not samples:
        findings.append(Finding("error", "", f"{root}: no image that can be used; wanted {LAYOUTS}"))
    looks: list[Look] = []
    for sample in samples:
        looks.append(look_at(sample, num_classes=num_classes, hashed=near_duplicates))
        if progress is not None:
            progress(len(looks), len(samples))
    by_dataset = {folder.name: [look for look in looks if look.sample.dataset == folder.name] for folder in folders}
    for name, part in by_dataset.items():
        findings += _contents(name, part)
    findings += _exact_duplicates(looks)
    if near_duplicates:
        findings += _near_duplicates(looks)
    findings += _splits(looks, splits)
    order: dict[Severity, int] = {"error": 0, "warn": 1, "ok": 2}
    return CheckReport(
        root,
        tuple(_summary(name, part) for name, part in by_dataset.items()),
        tuple(sorted(findings, key=lambda finding: (order[finding.severity], finding.dataset))),
    )


def _pairing(folder: DatasetFolder) -> list[Finding]:
    """What names alone tell."""
    findings: list[Finding] = []
    kind = "cases" if folder.volumes else "images"
    if unlisted := unlistable(folder):
        findings.append(_listed("error", folder.name, UNLISTABLE, unlisted))
    if folder.repeated:
        names = [str(file.relative_to(folder.path)) for file in folder.repeated]
        findings.append(_listed("error", folder.name, "files share their name with another; keep one a name", names))
    if folder.masks is None:
        findings.append(Finding("error", folder.name, f"{len(folder.images)} {kind} but no masks; wanted {LAYOUTS}"))
        return findings
    missing, orphans = unpaired(folder)
    if missing and folder.volumes:
        findings.append(_listed("warn", folder.name, "cases without segmentation, left out", missing))
    elif missing:
        findings.append(_listed("error", folder.name, "images without a mask of the same name", missing))
    if orphans and folder.volumes:
        findings.append(_listed("error", folder.name, "cases without imaging; download it", orphans))
    elif orphans:
        findings.append(_listed("warn", folder.name, "masks without an image of the same name, never used", orphans))
    return findings


def _lenient_samples(folder: DatasetFolder) -> tuple[list[Sample], list[Finding]]:
    """The samples of a folder that have an id, with volumes and lists of groups that cannot be read as findings."""
    findings: list[Finding] = []
    groups: dict[str, str] = {}
    try:
        groups = group_names(folder)
    except BadDataset as error:
        findings.append(Finding("error", folder.name, str(error)))
    listable = listable_images(folder)
    if not folder.volumes:
        plain = replace(folder, images=listable, repeated=())
        return samples_of(plain, require_masks=False, groups=groups), findings
    samples: list[Sample] = []
    masks = dict(folder.masks or ())
    for case, file in listable:
        if case not in masks:
            continue
        one = replace(folder, images=((case, file),), masks=((case, masks[case]),))
        try:
            samples += samples_of(one, groups=groups)
        except BadInput as error:
            findings.append(Finding("error", folder.name, str(error), (case,)))
    return samples, findings


def _contents(name: str, looks: Sequence[Look]) -> list[Finding]:
    """What the pixels of one dataset tell."""
    findings: list[Finding] = []

    def listed(severity: Severity, what: str, found: Iterable[Look]) -> None:
        ids = [look.sample.id for look in found]
        if ids:
            findings.append(_listed(severity, name, what, ids))

    # By message: a damaged volume fails in the same way for each of its slices.
    unreadable: dict[str, list[str]] = {}
    for look in looks:
        for error in filter(None, (look.image_error, look.mask_error)):
            unreadable.setdefault(error, []).append(look.sample.id)
    findings += [Finding("error", name, error, tuple(ids)) for error, ids in unreadable.items()]
    for look in looks:
        if look.image_size and look.mask_size and look.image_size != look.mask_size:
            message = size_mismatch(look.sample, look.image_size, look.mask_size)
            findings.append(Finding("error", name, message, (look.sample.id,)))
    for example, ids in _by_kind(looks):
        findings.append(
            Finding("warn", name, f"{len(ids)} masks to interpret, such as {ids[0]}: {example}", tuple(ids))
        )
    listed("warn", "empty masks (no foreground): right for images without a lesion only", _having(looks, 0.0))
    listed("warn", "masks that are all foreground", _having(looks, 1.0))
    listed("warn", "images of a single colour", (look for look in looks if look.flat))
    listed(
        "warn",
        "16-bit images that use 12 bits or fewer come out dark; scale them to 16 bits first",
        (look for look in looks if look.bit_depth is not None and look.bit_depth <= 12),
    )
    areas = [look.foreground for look in looks if look.foreground]
    if areas and float(np.median(areas)) > _SWAPPED_SHARE:
        share = 100 * float(np.median(areas))
        findings.append(
            Finding(
                "warn", name, f"the median mask is {share:.0f} % foreground: are the masks inverted? White is lesion"
            )
        )
    return findings


def _having(looks: Sequence[Look], share: float) -> Iterable[Look]:
    return (look for look in looks if look.foreground == share)


def _by_kind(looks: Sequence[Look]) -> list[tuple[str, list[str]]]:
    """Notes that differ in their numbers only, with the first as example and the ids of all."""
    kinds: dict[str, tuple[str, list[str]]] = {}
    for look in looks:
        for note in look.notes:
            kinds.setdefault(re.sub(r"\d[\d.e+-]*", "#", note), (note, []))[1].append(look.sample.id)
    return list(kinds.values())


def _summary(name: str, looks: Sequence[Look]) -> DatasetSummary:
    sizes = Counter(look.image_size for look in looks if look.image_size is not None)
    areas = [100 * look.foreground for look in looks if look.foreground]
    quantiles = [float(value) for value in np.percentile(areas, [0, 5, 50, 95, 100])] if areas else None
    return DatasetSummary(
        name,
        len(looks),
        sum(look.image_size is not None and look.image_size == look.mask_size for look in looks),
        len({look.sample.group for look in looks if look.sample.group is not None}),
        tuple(sorted(sizes.items(), key=lambda item: (-item[1], item[0]))),
        sum(look.foreground == 0 for look in looks),
        None if quantiles is None else (quantiles[0], quantiles[1], quantiles[2], quantiles[3], quantiles[4]),
    )


def _exact_duplicates(looks: Sequence[Look]) -> list[Finding]:
    same: dict[str, list[str]] = {}
    for look in looks:
        if look.pixels_sha256 is not None and not look.flat:
            same.setdefault(look.pixels_sha256, []).append(look.sample.id)
    sets = [" = ".join(ids) for ids in same.values() if len(ids) > 1]
    return [_listed("warn", "", "images stand more than once, pixel for pixel", sets)] if sets else []


def _near_duplicates(looks: Sequence[Look]) -> list[Finding]:
    """Alike, not equal, and not known to be of one sequence or patient: what a random split would tear apart."""
    hashed = [look for look in looks if look.perceptual is not None and not look.flat]
    pairs = [
        _named(pair, hashed, hashed)
        for pair in find_repeats(_hashes(hashed))
        if not _related(hashed[pair.first], hashed[pair.second])
    ]
    what = (
        f"pairs of images show the same scene (at most {NEAR_DUPLICATE_BITS} of 512 bits differ); keep each on one side"
    )
    return [_listed("warn", "", what, pairs)] if pairs else []


def _splits(looks: Sequence[Look], paths: Sequence[Path]) -> list[Finding]:
    findings: list[Finding] = []
    by_id = {look.sample.id: look for look in looks}
    read: list[tuple[str, list[Look]]] = []
    for path in paths:
        try:
            chosen = select([look.sample for look in looks], read_split(path))
        except BadDataset as error:
            findings.append(Finding("error", path.name, str(error)))
        else:
            read.append((path.name, [by_id[sample.id] for sample in chosen]))
    for (name_a, side_a), (name_b, side_b) in itertools.combinations(read, 2):
        findings += _between(f"{name_a}, {name_b}", side_a, side_b)
    return findings


def _between(names: str, side_a: Sequence[Look], side_b: Sequence[Look]) -> list[Finding]:
    findings: list[Finding] = []
    ids_b = {look.sample.id for look in side_b}
    common = [look.sample.id for look in side_a if look.sample.id in ids_b]
    if common:
        findings.append(_listed("error", names, "images stand in both splits", common))
    groups = shared_groups([look.sample for look in side_a], [look.sample for look in side_b])
    if groups:
        findings.append(_listed("warn", names, "sequences or patients stand in both splits: scores leak", groups))
    hashed_a, hashed_b = ([look for look in side if look.perceptual is not None] for side in (side_a, side_b))
    pairs = [
        _named(pair, hashed_a, hashed_b)
        for pair in find_leaks(_hashes(hashed_a), _hashes(hashed_b))
        if hashed_a[pair.first].sample.id != hashed_b[pair.second].sample.id
    ]
    if pairs:
        findings.append(_listed("warn", names, "pairs of images across the splits show the same scene", pairs))
    return findings


def _hashes(looks: Sequence[Look]) -> np.ndarray[tuple[int, int], np.dtype[np.uint8]]:
    found = [look.perceptual for look in looks if look.perceptual is not None]
    return np.stack(found) if found else np.empty((0, 128), np.uint8)


def _related(a: Look, b: Look) -> bool:
    return a.pixels_sha256 == b.pixels_sha256 or (a.sample.group is not None and a.sample.group == b.sample.group)


def _named(pair: Leak, first: Sequence[Look], second: Sequence[Look]) -> str:
    return f"{first[pair.first].sample.id} = {second[pair.second].sample.id} ({pair.distance_bits} bits)"


def _listed(severity: Severity, dataset: str, what: str, items: Sequence[str]) -> Finding:
    return Finding(severity, dataset, f"{len(items)} {what}: {first_few(items)}", tuple(items))
