"""Folders of synthetic pictures to train on beside real ones. Reads disk."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from lawder_edge.data.datasets import Sample, find_samples, first_few
from lawder_edge.data.images import image_size
from lawder_edge.data.kept import KEPT, KeptList, read_kept
from lawder_edge.data.provenance import MANIFEST, Manifest, ManifestRow, Origin, Request, hash_files, read_manifest
from lawder_edge.errors import BadDataset, BadImage
from lawder_edge.training.batches import SyntheticPart, TrainData
from lawder_edge.training.clean import note_on_seen
from lawder_edge.training.record import SyntheticSource

# First folder of every synthetic picture's id; `find_samples` gives real ones that of their dataset.
SYNTHETIC = "synthetic"


@dataclass(frozen=True)
class SyntheticFolder:
    """samples: with ids `synthetic/GENERATOR/stem`, GENERATOR the first 12 digits of its weights' sha256. size: side in
    pixels. origin: what the generator was fitted to.
    """

    samples: tuple[Sample, ...]
    source: SyntheticSource
    origin: Origin
    size: int


def read_synthetic(folders: Sequence[Path], *, channels: int, num_classes: int) -> tuple[SyntheticFolder, ...]:
    """What `synth sample` wrote, held against its manifests file by file; where `synth score` chose, what it kept.

    Raises: BadDataset as `read_drawn` does, for a folder of other channels or classes than the training's, for a list
    of kept pictures that was chosen among others, and for the same picture in two folders.
    """
    found = tuple(_read(folder, channels=channels, num_classes=num_classes) for folder in folders)
    counts = Counter(sample.id for folder in found for sample in folder.samples)
    if twice := sorted(id for id, count in counts.items() if count > 1):
        raise BadDataset(
            f"{len(twice)} synthetic pictures stand in two of the folders of --synth: {first_few(twice)}. Give each "
            "folder once, or draw one of them with another --seed."
        )
    return found


def with_synthetic(data: TrainData, folders: Sequence[SyntheticFolder], *, per_pass: int) -> TrainData:
    """`data`, which ends with the pictures of `folders`, as such. per_pass: 0 for all, at most what was loaded."""
    there = sum(id.startswith(f"{SYNTHETIC}/") for id in data.ids[-sum(len(f.samples) for f in folders) :])
    part = SyntheticPart(
        pictures=there,
        per_pass=min(per_pass, there) or there,
        sources=tuple(replace(folder.source, per_pass=per_pass) for folder in folders),
        seen_ids=tuple(dict.fromkeys(id for folder in folders for id in folder.origin.train_ids)),
        seen_groups=tuple(sorted({group for folder in folders for group in folder.origin.train_groups})),
    )
    return replace(data, synthetic=part)


def notes_on_synthetic(
    folders: Sequence[SyntheticFolder], *, train: TrainData, val: TrainData, side: int
) -> tuple[str, ...]:
    """What a person should know of them. train: of `with_synthetic`; side: the largest trained at, in pixels."""
    part = train.synthetic
    if part is None:
        return ()
    generators = sorted({folder.source.generator[:12] for folder in folders})
    share = "" if part.per_pass == part.pictures else f", {part.per_pass} in each pass"
    notes = [f"{part.pictures} of the training pictures are synthetic{share}, by generator {', '.join(generators)}"]
    notes += [
        f"{source.pictures} of {source.drawn} pictures by {source.generator[:12]} were chosen: {source.chosen}"
        for source in part.sources if source.chosen
    ]  # fmt: skip
    if small := sorted({folder.size for folder in folders if folder.size < side}):
        notes.append(
            f"synthetic pictures of {', '.join(map(str, small))} px are enlarged to {side} px, which blurs them; the "
            "real ones stay sharp"
        )
    unclean = note_on_seen(val, ids=part.seen_ids, groups=part.seen_groups, by="the generator")
    return (*notes, *([unclean] if unclean else []))


@dataclass(frozen=True)
class Drawn:
    """What a folder holds, all of it as it was drawn. rows: one for each picture. origin: as `SyntheticFolder`'s."""

    request: Request
    rows: tuple[ManifestRow, ...]
    origin: Origin


def read_drawn(folder: Path) -> Drawn:
    """The manifest of a folder of `synth sample`, its files held against it one by one.

    Raises: BadDataset for a folder without a manifest, an unfinished one, and one whose files are not those that its
    manifest lists.
    """
    manifest = read_manifest(folder)
    if manifest is None:
        raise BadDataset(
            f"{folder}: no {MANIFEST}, so nothing says that these pictures are synthetic, nor what their generator was "
            "trained on. Give the --out folder of `lawder-edge synth sample`; real pictures belong under --data."
        )
    if not manifest.complete or manifest.origin is None:
        what = "is unfinished" if not manifest.complete else "does not say what its generator was trained on"
        raise BadDataset(
            f"{folder / MANIFEST}: {what}. Call `lawder-edge synth sample` as before, with --resume, to complete it."
        )
    check_files(folder, manifest)
    return Drawn(manifest.request, manifest.images, manifest.origin)


def _read(folder: Path, *, channels: int, num_classes: int) -> SyntheticFolder:
    drawn = read_drawn(folder)
    origin, request = drawn.origin, drawn.request
    for name, its, wanted in (
        ("in_channels", origin.in_channels, channels),
        ("num_classes", origin.num_classes, num_classes),
    ):
        if its != wanted:
            raise BadDataset(
                f"{folder}: pictures of a generator with {name} {its}; this training has {wanted}. Train with "
                f"--{name.replace('_', '-')} {its}, or take pictures of another generator."
            )
    kept = read_kept(folder)
    rows = drawn.rows if kept is None else _kept_rows(folder, drawn, kept)
    source = SyntheticSource(request.generator, len(rows), hash_files(rows))
    if kept is not None:
        source = replace(source, chosen=kept.rule, drawn=len(drawn.rows))
    names = {row.name for row in rows}
    dataset = f"{SYNTHETIC}/{request.generator[:12]}"
    samples = tuple(
        Sample(f"{dataset}/{Path(s.image).stem}", s.image, s.mask, dataset, None)
        for s in find_samples(folder) if Path(s.image).name in names
    )  # fmt: skip
    return SyntheticFolder(samples, source, origin, request.size)


def _kept_rows(folder: Path, drawn: Drawn, kept: KeptList) -> tuple[ManifestRow, ...]:
    """Raises: BadDataset for a list that was not chosen among these pictures, or names none of them."""
    rows = tuple(row for row in drawn.rows if row.name in kept.names)
    if kept.drawn_sha256 != hash_files(drawn.rows) or not rows:
        raise BadDataset(
            f"{folder / KEPT}: chosen among {len(kept.pictures)} other pictures than the {len(drawn.rows)} in the "
            "folder. Choose again by `lawder-edge synth score` with --overwrite, or remove the file to train on all."
        )
    return rows


def check_files(folder: Path, manifest: Manifest) -> None:
    """Raises: BadDataset where what lies there is not what was written."""
    again = "Call `lawder-edge synth sample` as before, with --resume, to make them again."
    known = {row.name for row in manifest.images}
    for kind in ("images", "masks"):
        there = {file.name for file in (folder / kind).iterdir()} if (folder / kind).is_dir() else set()
        if missing := sorted(known - there):
            raise BadDataset(
                f"{folder / kind}: {len(missing)} of {len(known)} files are missing: {first_few(missing)}. {again}"
            )
        if foreign := sorted(name for name in there - known if not name.startswith(".")):
            raise BadDataset(
                f"{folder / kind}: {len(foreign)} files that the manifest does not list: {first_few(foreign)}. Move "
                "them away; real pictures belong under --data."
            )
    changed = [file for row in manifest.images for file in _changed(folder, row)]
    if changed:
        raise BadDataset(
            f"{folder}: {len(changed)} files are not as they were written: "
            f"{first_few([_told(folder, file, manifest.request.size) for file in changed])}. Remove them. {again}"
        )


def _changed(folder: Path, row: ManifestRow) -> list[str]:
    return [
        f"{kind}/{row.name}"
        for kind, wanted in (("images", row.image_sha256), ("masks", row.mask_sha256))
        if hashlib.sha256((folder / kind / row.name).read_bytes()).hexdigest() != wanted
    ]


def _told(folder: Path, file: str, size: int) -> str:
    """The file, and its size in pixels where that is another than the manifest's."""
    try:
        height, width = image_size(folder / file)
    except BadImage:
        return f"{file} (no image)"
    return file if (height, width) == (size, size) else f"{file} ({width}x{height} px, wanted {size}x{size})"
