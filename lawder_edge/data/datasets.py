"""Samples of the datasets on disk: image and mask paired by name, with the patient or sequence that they belong to."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lawder_edge.data import clinicdb
from lawder_edge.data.layouts import FORMS, LAYOUTS, DatasetFolder, find_folders
from lawder_edge.data.listing import can_be_listed, entries
from lawder_edge.errors import BadDataset

# Of a dataset folder: which sequence or patient its images are of.
GROUPS_FILE = "groups.tsv"
# What keeps a picture's id out of a list, and what to do.
UNLISTABLE = (
    "images have names that a split list cannot hold (a # after a blank, a blank at either end, a line break, or bytes "
    "that are not UTF-8); rename them, or the folder if it is its name"
)
_NAMED = 5
# All 1000 of Kvasir-SEG: cju, cjy, cjz and ck2 begin them.
_KVASIR_SEG = re.compile(r"c[jk][a-z0-9]{23}")
_KITS19_CASE = re.compile(r"(case_\d{5})(?:[_-].*)?")


@dataclass(frozen=True)
class Sample:
    """One image with its mask.

    Attributes:
        id: "folder/stem", unique in a `find_samples` result; what split files hold.
        image: image file, or KiTS19 imaging volume.
        mask: mask file or segmentation volume; None where there is none.
        dataset: name of the dataset folder.
        group: sequence or patient; samples of one group must stay on one side of a split. The same group has the same
            name in every folder. None where unknown.
        slice_index: slice of a volume (first axis), else None.
    """

    id: str
    image: Path
    mask: Path | None
    dataset: str
    group: str | None
    slice_index: int | None = None


def listed_samples(root: Path, splits: Sequence[Path], *, require_masks: bool = True) -> list[Sample]:
    """The samples that the split files list, in their order; all samples where no file is given.

    Folders that no list names are not looked at, so that one without masks beside them is in nobody's way. Arguments
    and errors as in `find_samples` and `select_listed`.
    """
    folders: Sequence[DatasetFolder] = find_folders(root)
    named = {id.rpartition("/")[0] for path in splits for id in read_split(path)}
    if named and named <= {folder.name for folder in folders}:
        folders = [folder for folder in folders if folder.name in named]
    return select_listed(_samples_in(root, folders, require_masks=require_masks), splits)


def find_samples(root: Path, *, require_masks: bool = True) -> list[Sample]:
    """Samples of one dataset folder or of a folder of them, sorted by id.

    Args:
        root: one of the layouts of `layouts`.
        require_masks: every image must have a mask; without it `Sample.mask` may be None.

    Raises:
        BadDataset: no dataset found, no masks, images without a mask, two images of one name, or names that
            no list can hold (`unlistable`).
        BadImage: a KiTS19 volume that cannot be read.
    """
    return _samples_in(root, find_folders(root), require_masks=require_masks)


def _samples_in(root: Path, folders: Sequence[DatasetFolder], *, require_masks: bool) -> list[Sample]:
    samples = [sample for folder in folders for sample in samples_of(folder, require_masks=require_masks)]
    if not samples:
        raise BadDataset(f"{root}: the folders hold no images; wanted {LAYOUTS}")
    return sorted(samples, key=lambda sample: sample.id)


def samples_of(
    folder: DatasetFolder, *, require_masks: bool = True, groups: Mapping[str, str] | None = None
) -> list[Sample]:
    """Samples of one recognised folder in the order of its files; other arguments and errors as in `find_samples`.

    groups: sequence or patient by stem; `group_names` of the folder when left out.
    """
    if unlisted := unlistable(folder):
        raise BadDataset(f"{folder.path}: {len(unlisted)} {UNLISTABLE}: {first_few(unlisted)}")
    if folder.repeated:
        names = [str(file.relative_to(folder.path)) for file in folder.repeated]
        raise BadDataset(
            f"{folder.path}: files that share their name with another beside them: {first_few(names)}. Ids are "
            "folder/stem, so keep one file a name"
        )
    if require_masks and folder.masks is None and folder.images:
        raise BadDataset(f"{folder.path}: {len(folder.images)} images but no masks; wanted {LAYOUTS}")
    missing, orphans = unpaired(folder)
    if folder.volumes:
        return _volume_samples(folder, groups, without_image=orphans, require_masks=require_masks)
    if require_masks and missing:
        raise BadDataset(
            f"{folder.path}: {len(missing)} of {len(folder.images)} images have no mask of the same name: "
            f"{first_few(missing)}. Add the masks or move these images away; `data check` lists them all"
        )
    masks = dict(folder.masks or ())
    groups = group_names(folder) if groups is None else groups
    return [
        Sample(f"{folder.name}/{stem}", file, masks.get(stem), folder.name, groups.get(stem))
        for stem, file in folder.images
    ]


def read_split(path: Path) -> tuple[str, ...]:
    """Ids of a split file, in its order: one `folder/stem` a line; empty lines and comments say nothing.

    A `#` starts a comment at the start of a line and after a blank; within a name it belongs to it.

    Raises:
        BadDataset: the file is missing, not text, empty, holds a line that is no id, or an id twice.
    """
    try:
        lines = entries(path.read_bytes())
    except UnicodeDecodeError as error:
        raise BadDataset(f"{path}: not a text file ({error}); a split has one folder/stem a line") from error
    except OSError as error:
        raise BadDataset(f"{path}: the split file cannot be read ({error.strerror})") from error
    ids: dict[str, int] = {}
    for number, text in enumerate(lines, start=1):
        if not text:
            continue
        folder, _, stem = text.rpartition("/")
        if not folder or not stem:
            raise BadDataset(f"{path}, line {number}: {text!r} is no id; wanted folder/stem, such as kvasir-seg/cju0qk")
        if text in ids:
            raise BadDataset(f"{path}, line {number}: {text!r} stands already in line {ids[text]}; keep one of them")
        ids[text] = number
    if not ids:
        raise BadDataset(f"{path}: the split is empty; wanted one folder/stem a line")
    return tuple(ids)


def select_listed(samples: Sequence[Sample], splits: Sequence[Path]) -> list[Sample]:
    """The samples that the split files list, in their order; all samples where no file is given.

    Raises:
        BadDataset: as `read_split` and `select`, and for an id that two files list: it would count twice, and could
            stand on both sides of a split.
    """
    if not splits:
        return list(samples)
    read = [read_split(path) for path in splits]
    ids = [id for part in read for id in part]
    twice = sorted({id for id, count in Counter(ids).items() if count > 1})
    if twice:
        raise BadDataset(
            f"{len(twice)} images stand in more than one of {', '.join(path.name for path in splits)}: "
            f"{first_few(twice)}. Keep each in one list"
        )
    return select(samples, ids)


def select(samples: Iterable[Sample], ids: Sequence[str]) -> list[Sample]:
    """The samples of the given ids, in the order of the ids.

    Raises:
        BadDataset: ids that no sample has; the first few are named.
    """
    by_id = {sample.id: sample for sample in samples}
    missing = [wanted for wanted in ids if wanted not in by_id]
    if missing:
        folders = ", ".join(sorted({sample.dataset for sample in by_id.values()})) or "none"
        raise BadDataset(
            f"{len(missing)} of {len(ids)} ids of the split are not in the data: {first_few(missing)}. "
            f"Folders found: {folders}; give the folder that these stand in, or another split"
        )
    return [by_id[wanted] for wanted in ids]


def pick_evenly(samples: Sequence[Sample], limit: int) -> list[Sample]:
    """`limit` of the samples, in even steps from the first on; all where there are no more of them, or limit is 0."""
    if not 0 < limit < len(samples):
        return list(samples)
    return [samples[i * len(samples) // limit] for i in range(limit)]


def first_few(names: Sequence[str]) -> str:
    """Up to five names, and how many more there are."""
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")


def unpaired(folder: DatasetFolder) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Stems of images without a mask, and of masks without an image."""
    images = dict(folder.images)
    masks = dict(folder.masks or ())
    return tuple(stem for stem in images if stem not in masks), tuple(stem for stem in masks if stem not in images)


def unlistable(folder: DatasetFolder) -> tuple[str, ...]:
    """Images whose id a split list would not give back as it is, by their place in the folder, escaped for print."""
    listable = dict(listable_images(folder))
    return tuple(repr(str(file.relative_to(folder.path))) for stem, file in folder.images if stem not in listable)


def listable_images(folder: DatasetFolder) -> tuple[tuple[str, Path], ...]:
    """`folder.images` without those of `unlistable`."""
    return tuple(
        (stem, file) for stem, file in folder.images if stem == stem.strip() and can_be_listed(f"{folder.name}/{stem}")
    )


def group_names(folder: DatasetFolder) -> dict[str, str]:
    """Group of each stem whose sequence or patient is known.

    CVC-ClinicDB is recognised by a folder name with "clinicdb" in it, however its words are joined, by frames that are
    exactly 1 to 612, or in PraNet's TrainDataset by the numeric names among Kvasir-SEG's; KiTS19 by case numbers. What
    `groups.tsv` says stands above that, in the folder `root` more than in the one with the images.

    Raises: BadDataset for a `groups.tsv` that does not read.
    """
    stems = [stem for stem, _ in folder.images]
    frames = {stem: frame for stem in stems if (frame := clinicdb.frame_number(stem)) is not None}
    names = _names_of(folder.root)
    clinic = len(frames) == len(stems) and any("clinicdb" in re.sub("[^a-z]", "", name.lower()) for name in names)
    complete = len(frames) == len(stems) and sorted(frames.values()) == list(range(1, clinicdb.NUM_FRAMES + 1))
    pranet = "TrainDataset" in names and all(stem in frames or _KVASIR_SEG.fullmatch(stem) for stem in stems)
    groups: dict[str, str] = {}
    if clinic or complete or pranet:
        groups = {stem: f"clinicdb-sequence-{clinicdb.sequence_of(frame):02d}" for stem, frame in frames.items()}
    cases = {stem: match[1] for stem in stems if (match := _KITS19_CASE.fullmatch(stem)) is not None}
    groups |= cases
    for place in dict.fromkeys((folder.path, folder.root)):
        groups |= read_groups(place / GROUPS_FILE, stems=stems)
    return groups


def _names_of(root: Path) -> tuple[str, ...]:
    """What a dataset folder is called, as given and behind links; for PNG/ or TIF/ what the folder around it is."""
    paths = (root.absolute(), root.resolve())
    return tuple(path.parent.name if path.name.lower() in FORMS else path.name for path in paths)


def read_groups(path: Path, *, stems: Sequence[str]) -> dict[str, str]:
    """Group of each stem that the file names: a stem, a tab, and its sequence or patient a line.

    Comments as in `read_split`. Nothing where there is no file. Raises: BadDataset for a line of another form, a stem
    that stands there twice or is none of `stems`, one of `stems` that would be read as a comment, and for a file that
    cannot be read.
    """
    if not path.is_file():
        return {}
    try:
        lines = entries(path.read_bytes())
    except (OSError, UnicodeDecodeError) as error:
        raise BadDataset(f"{path}: cannot be read ({error}); wanted a stem, a tab and its patient a line") from error
    if unnamed := [stem for stem in stems if stem.startswith("#")]:
        raise BadDataset(
            f"{path}: cannot name {len(unnamed)} images, since # starts a comment: {first_few(unnamed)}. Rename them"
        )
    known, groups = set(stems), dict[str, str]()
    for number, text in enumerate(lines, start=1):
        if not text:
            continue
        stem, _, group = (part.strip() for part in text.partition("\t"))
        if not group or "\t" in group:
            raise BadDataset(f"{path}, line {number}: {text!r}; wanted a stem, a tab and its patient or sequence")
        if stem not in known:
            raise BadDataset(f"{path}, line {number}: no image {stem!r} in this folder; wanted names without suffix")
        if stem in groups:
            raise BadDataset(f"{path}, line {number}: {stem!r} stands there already; keep one of the lines")
        groups[stem] = group
    return groups


def _volume_samples(
    folder: DatasetFolder, groups: Mapping[str, str] | None, *, without_image: Sequence[str], require_masks: bool
) -> list[Sample]:
    if without_image:
        raise BadDataset(
            f"{folder.path}: {len(without_image)} cases have a segmentation but no imaging.nii.gz: "
            f"{first_few(without_image)}. KiTS19's repository holds the segmentations only; download the imaging first"
        )
    from lawder_edge.data.kits19 import choose_slices

    # Cases 210 to 299 are KiTS19's test part and were published without segmentation: they are no samples with masks.
    masks = dict(folder.masks or ())
    groups = group_names(folder) if groups is None else groups
    samples: list[Sample] = []
    for case, file in folder.images:
        mask = masks.get(case)
        if mask is None and require_masks:
            continue
        samples += [
            Sample(f"{folder.name}/{case}_slice{index:03d}", file, mask, folder.name, groups.get(case), index)
            for index in choose_slices(file, mask)
        ]
    return samples
