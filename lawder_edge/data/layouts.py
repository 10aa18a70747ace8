"""Recognises the folder layouts that datasets come in; reads names only, no pixels.

Layouts: `images/` + `masks/` (Kvasir-SEG and most others), `Original/` + `Ground Truth/` (CVC-ClinicDB, also below
`PNG/` or `TIF/`), `case_00000/{imaging,segmentation}.nii.gz` (KiTS19), and folders of these, such as PraNet's bundle
(`TrainDataset/`, `TestDataset/<set>/`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from lawder_edge.errors import BadDataset

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp"})
LAYOUTS = (
    "a folder with images/ and masks/, one with Original/ and 'Ground Truth/' (CVC-ClinicDB), one with "
    "case_*/imaging.nii.gz and segmentation.nii.gz (KiTS19), or a folder of such folders "
    "(PraNet: TrainDataset/ and TestDataset/<set>/)"
)

_IMAGE_FOLDERS = ("images", "image", "original")
_MASK_FOLDERS = ("masks", "mask", "ground truth", "ground_truth", "groundtruth")
# CVC-ClinicDB is also handed out with every frame twice, as PNG and as TIFF; the PNG half is enough.
FORMS = ("png", "tif")
# Deep enough for <root>/TestDataset/<set> and <root>/CVC-ClinicDB/PNG.
_MAX_DEPTH = 2


@dataclass(frozen=True)
class DatasetFolder:
    """One dataset on disk.

    Attributes:
        name: folder part of the ids: the folder's own name, or its path below the root where names repeat.
        path: the folder that holds the images' and the masks' folder, or the cases.
        root: the dataset folder: `path`, or the one around it where that is CVC-ClinicDB's PNG/ or TIF/.
        images: (stem, file) in order of stem; for KiTS19 (case, imaging volume).
        masks: (stem, file) likewise; None where the folder has no place for masks at all.
        volumes: whether the files are KiTS19 volumes.
        repeated: files left out because another of the same stem stands beside them (a.jpg and a.png).
    """

    name: str
    path: Path
    root: Path
    images: tuple[tuple[str, Path], ...]
    masks: tuple[tuple[str, Path], ...] | None
    volumes: bool = False
    repeated: tuple[Path, ...] = ()


def find_folders(root: Path) -> tuple[DatasetFolder, ...]:
    """The datasets at or below a folder, sorted by name.

    Hidden folders are ignored, and so are folders without a dataset in them (split lists, documents). Loose images
    directly in `root` make a dataset without masks when nothing else is found.

    Raises:
        BadDataset: `root` is no folder, holds no dataset, or cannot be read.
    """
    if not root.is_dir():
        raise BadDataset(f"{root}: no such folder; wanted {LAYOUTS}")
    try:
        found = _walk(root, _MAX_DEPTH)
        loose, repeated = image_files(root)
    except OSError as error:
        raise BadDataset(f"{error.filename}: this folder cannot be read ({error.strerror})") from error
    if not found:
        if not loose:
            raise BadDataset(f"{root}: no dataset found in this folder; wanted {LAYOUTS}")
        found = [DatasetFolder(_name(root), root, root, loose, None, repeated=repeated)]
    names = [folder.name for folder in found]
    return tuple(
        sorted(
            (
                folder
                if names.count(folder.name) == 1
                else replace(folder, name=folder.path.relative_to(root).as_posix())
                for folder in found
            ),
            key=lambda folder: folder.name,
        )
    )


def _name(folder: Path) -> str:
    return folder.resolve().name


def _walk(folder: Path, depth: int) -> list[DatasetFolder]:
    here = _dataset_at(folder)
    if here is not None:
        return [here]
    if depth == 0:
        return []
    return [found for child in _subfolders(folder) for found in _walk(child, depth - 1)]


def _subfolders(folder: Path) -> list[Path]:
    return sorted(child for child in folder.iterdir() if child.is_dir() and not child.name.startswith("."))


def _dataset_at(folder: Path) -> DatasetFolder | None:
    children = {child.name.lower(): child for child in _subfolders(folder)}
    for form in FORMS:
        if form in children and (inner := _paired_folders(children[form], root=folder)) is not None:
            return inner
    return _paired_folders(folder, root=folder) or _kits19(folder, children)


def _paired_folders(folder: Path, *, root: Path) -> DatasetFolder | None:
    children = {child.name.lower(): child for child in _subfolders(folder)}
    images_at = next((children[known] for known in _IMAGE_FOLDERS if known in children), None)
    if images_at is None:
        return None
    masks_at = next((children[known] for known in _MASK_FOLDERS if known in children), None)
    images, repeated = image_files(images_at)
    if not images and masks_at is None:
        return None
    if masks_at is None:
        return DatasetFolder(_name(root), folder, root, images, None, repeated=repeated)
    masks, repeated_masks = image_files(masks_at)
    return DatasetFolder(_name(root), folder, root, images, masks, repeated=repeated + repeated_masks)


def _kits19(folder: Path, children: dict[str, Path]) -> DatasetFolder | None:
    cases = [child for name, child in sorted(children.items()) if name.startswith("case_")]
    images = tuple((case.name, file) for case in cases if (file := _volume(case, "imaging")) is not None)
    masks = tuple((case.name, file) for case in cases if (file := _volume(case, "segmentation")) is not None)
    if not images and not masks:
        return None
    return DatasetFolder(_name(folder), folder, folder, images, masks or None, volumes=True)


def _volume(case: Path, kind: str) -> Path | None:
    return next((file for suffix in (".nii.gz", ".nii") if (file := case / f"{kind}{suffix}").is_file()), None)


def image_files(folder: Path) -> tuple[tuple[tuple[str, Path], ...], tuple[Path, ...]]:
    """Image files directly in a folder, (stem, file) in order of stem, and those whose stem was already taken."""
    by_stem: dict[str, Path] = {}
    repeated: list[Path] = []
    for file in sorted(folder.iterdir()):
        if file.name.startswith(".") or file.suffix.lower() not in IMAGE_SUFFIXES or not file.is_file():
            continue
        if file.stem in by_stem:
            repeated.append(file)
        else:
            by_stem[file.stem] = file
    return tuple(sorted(by_stem.items())), tuple(repeated)
