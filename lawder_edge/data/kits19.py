"""KiTS19 CT volumes (Heller et al., 2019) read slice by slice through nibabel.

`imaging.nii.gz` holds Hounsfield units, `segmentation.nii.gz` 0 background, 1 kidney, 2 tumour, both as
(slices, height, width) with the slices along the first axis, as the dataset's repository says.

A compressed volume cannot be read in part, so the last volume read stays in memory (windowed to 8 bits, 50 to 250 MB):
read the slices of a case one after the other.
"""

from __future__ import annotations

import gzip
import zlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lawder_edge.data.images import MaskFile
from lawder_edge.errors import BadImage, BadInput, Unavailable


@dataclass(frozen=True)
class Window:
    """Range of Hounsfield units that becomes 0 to 255; what lies outside is clipped."""

    low_hu: float
    high_hu: float


# The 0.5 and 99.5 percentiles of the voxels in KiTS19's kidneys and tumours, to which Isensee and Maier-Hein clip
# ("An attempt at beating the 3D U-Net", arXiv:1908.02182, section 2).
SOFT_TISSUE = Window(low_hu=-79.0, high_hu=304.0)


def choose_slices(imaging: Path, segmentation: Path | None) -> tuple[int, ...]:
    """Indices of the slices of a case that become samples, ascending.

    Args:
        imaging: volume; only its header is read.
        segmentation: volume with the labels, read whole: slices without a label above 0 are left out. None takes all.

    Raises:
        BadImage: a volume that cannot be read, or volumes of different shapes.
        Unavailable: nibabel is not installed.
    """
    shape = volume_shape(imaging)
    if segmentation is None:
        return tuple(range(shape[0]))
    labels_shape = volume_shape(segmentation)
    if labels_shape != shape:
        raise BadImage(
            f"{segmentation}: {_times(labels_shape)} (slices x height x width), but {imaging.name} beside it has "
            f"{_times(shape)}; download the case again"
        )
    return _foreground_slices(*_stamp(segmentation))


def read_slice(imaging: Path, index: int, *, window: Window = SOFT_TISSUE, channels: int = 3) -> NDArray[np.uint8]:
    """One slice as an image: (H, W, channels) uint8, `window` mapped linearly to [0, 255], rounded half up.

    Raises:
        BadImage: the volume cannot be read, or has no such slice.
        BadInput: a window without width, or other channels than 1 or 3.
        Unavailable: nibabel is not installed.
    """
    if channels not in (1, 3):
        raise BadInput(f"{imaging}: asked for {channels} channels; 1 (grey) or 3 (grey repeated) can be read")
    if not window.low_hu < window.high_hu:
        raise BadInput(f"window from {window.low_hu} to {window.high_hu} HU: the low end must lie below the high end")
    grey = _at(_windowed(*_stamp(imaging), window), index, imaging)
    return np.repeat(grey[:, :, None], channels, axis=2)


def read_labels(segmentation: Path, index: int, *, num_classes: int = 1) -> MaskFile:
    """Labels of one slice: (H, W) uint8.

    `num_classes` 1 gives kidney and tumour together as 1; otherwise the class numbers, background included.

    Raises:
        BadImage: the volume cannot be read, has no such slice, or holds a label of `num_classes` or more.
        Unavailable: nibabel is not installed.
    """
    labels = _at(_labels(*_stamp(segmentation)), index, segmentation)
    if num_classes == 1:
        return MaskFile((labels != 0).astype(np.uint8), ())
    highest = int(labels.max())
    if highest >= num_classes:
        raise BadImage(
            f"{segmentation}, slice {index}: label {highest}, but {num_classes} classes (0 to {num_classes - 1}, with "
            "the background) were asked for; KiTS19 has 3"
        )
    return MaskFile(labels.copy(), ())


def volume_shape(path: Path) -> tuple[int, int, int]:
    """Slices, height and width from the header.

    Raises:
        BadImage: no NIfTI volume of three axes.
        Unavailable: nibabel is not installed.
    """
    return _open(path)[1]


def _stamp(path: Path) -> tuple[Path, int, int]:
    """A file and what changes when it is written anew: the key of the caches below."""
    try:
        stat = path.stat()
    except OSError as error:
        raise BadImage(f"{path}: cannot be opened ({error.strerror})") from error
    return path, stat.st_mtime_ns, stat.st_size


def _open(path: Path) -> tuple[Any, tuple[int, int, int]]:
    try:
        import nibabel
    except ImportError as error:
        raise Unavailable("KiTS19 volumes need nibabel: pip install 'lawder-edge[kits19]'") from error
    try:
        volume: Any = nibabel.load(path)
    except FileNotFoundError as error:
        raise BadImage(f"{path}: no such file") from error
    except (nibabel.filebasedimages.ImageFileError, nibabel.spatialimages.HeaderDataError, *_READ_ERRORS) as error:
        raise BadImage(_damaged(path, error)) from error
    shape = tuple(int(length) for length in volume.shape)
    if len(shape) != 3 or 0 in shape:
        raise BadImage(f"{path}: a volume of {_times(shape)}; wanted three axes (slices x height x width)")
    return volume, (shape[0], shape[1], shape[2])


_READ_ERRORS = (OSError, EOFError, ValueError, zlib.error, gzip.BadGzipFile)


def _damaged(path: Path, error: BaseException) -> str:
    if path.stat().st_size == 0:
        return f"{path}: the file is empty (0 bytes); download the case again"
    return f"{path}: truncated or damaged NIfTI volume ({error}); download the case again"


def _raw(path: Path) -> tuple[NDArray[Any], float, float]:
    """Stored samples (slices, H, W) with the slope and intercept that make them units."""
    volume, _ = _open(path)
    try:
        samples = np.asarray(volume.dataobj.get_unscaled())
    except _READ_ERRORS as error:
        raise BadImage(_damaged(path, error)) from error
    return samples, float(volume.dataobj.slope), float(volume.dataobj.inter)


@lru_cache(maxsize=1)
def _windowed(path: Path, _mtime_ns: int, _size_bytes: int, window: Window) -> NDArray[np.uint8]:
    samples, slope, intercept = _raw(path)
    grey = np.empty(samples.shape, dtype=np.uint8)
    # Slice by slice: a whole volume in float64 would take 2 GB for 1000 slices.
    for index, plane in enumerate(samples):
        units = np.nan_to_num(plane.astype(np.float64) * slope + intercept, nan=window.low_hu)
        share = (np.clip(units, window.low_hu, window.high_hu) - window.low_hu) / (window.high_hu - window.low_hu)
        grey[index] = np.floor(share * 255.0 + 0.5)
    grey.flags.writeable = False
    return grey


@lru_cache(maxsize=1)
def _labels(path: Path, _mtime_ns: int, _size_bytes: int) -> NDArray[np.uint8]:
    samples, slope, intercept = _raw(path)
    values = samples if (slope, intercept) == (1.0, 0.0) else samples * slope + intercept
    labels = values.astype(np.uint8)
    if not np.array_equal(labels, values):
        raise BadImage(
            f"{path}: values that are no class numbers (from {values.min()} to {values.max()}); wanted whole numbers "
            "from 0 to 255"
        )
    labels.flags.writeable = False
    return labels


@lru_cache(maxsize=1024)
def _foreground_slices(path: Path, _mtime_ns: int, _size_bytes: int) -> tuple[int, ...]:
    # Through the function behind the cache: finding slices must not push out the volume that is being read.
    labels = _labels.__wrapped__(path, _mtime_ns, _size_bytes)
    return tuple(int(index) for index in np.flatnonzero(labels.any(axis=(1, 2))))


def _at(volume: NDArray[np.uint8], index: int, path: Path) -> NDArray[np.uint8]:
    if not 0 <= index < len(volume):
        raise BadImage(f"{path}: no slice {index}; the volume has slices 0 to {len(volume) - 1}")
    plane: NDArray[np.uint8] = volume[index]
    return plane


def _times(shape: tuple[int, ...]) -> str:
    return " x ".join(str(length) for length in shape)
