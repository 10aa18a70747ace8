"""Datasets decoded and resized once, kept on disk as .npy files that later runs map into memory."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import cast

import numpy as np
import PIL
from numpy.typing import NDArray

from lawder_edge.data.datasets import Sample
from lawder_edge.data.kits19 import SOFT_TISSUE
from lawder_edge.data.load import load_pair
from lawder_edge.errors import BadDataset, BadInput

Resize = Callable[[NDArray[np.uint8], tuple[int, int]], NDArray[np.uint8]]
Progress = Callable[[int, int], None]

# Raise when decoding or the resize of labels changes; the resize of images is told by its own result on a probe.
_VERSION = 1


@dataclass(frozen=True)
class BadFile:
    """A sample that could not be loaded, and why."""

    id: str
    reason: str


@dataclass(frozen=True)
class Arrays:
    """Samples at one size, in the order that was asked for.

    Attributes:
        images: (N, H, W, C) uint8 in [0, 255]; memory-mapped and read-only when it comes from the cache.
        labels: (N, H, W) uint8 likewise.
        ids: N ids.
        bad: samples left out (with `skip_bad` only).
        notes: what the mask reader interpreted, "id: note".
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.uint8]
    ids: tuple[str, ...]
    bad: tuple[BadFile, ...]
    notes: tuple[str, ...]


def load_arrays(
    samples: Sequence[Sample],
    *,
    size: tuple[int, int],
    channels: int = 3,
    num_classes: int = 1,
    cache_dir: Path | None = None,
    skip_bad: bool = False,
    progress: Progress | None = None,
) -> Arrays:
    """Load samples at one size, by the bundle's resize, from the cache where the same was loaded alike before.

    A cache entry is one folder named by a hash of ids, paths, times and sizes of the files and of all that decides the
    pixels. It is written under another name and renamed, so that a crash or a full disk leaves no half entry.

    Args:
        samples: with masks.
        size: (H, W) in pixels.
        channels: 3 (RGB) or 1 (grey).
        num_classes: 1 for foreground/background, otherwise the number of classes with the background.
        cache_dir: folder of the cache, created if absent; None keeps the arrays in memory only.
        skip_bad: leave samples out that cannot be loaded and list them in `Arrays.bad`, instead of raising.
        progress: called with (samples done, samples in all) after each sample that is decoded.

    Raises:
        BadImage, BadDataset: a sample cannot be loaded and `skip_bad` is off, or none can be loaded.
        BadInput: the cache cannot be written (disk full, no permission).
    """
    if not samples:
        raise BadDataset("no samples to load; the split and the folder leave none")
    load = _Load(tuple(samples), size, channels, num_classes, _bundle_resize(), skip_bad, progress)
    if cache_dir is None:
        shape = (len(samples), *size)
        return load.into(np.empty((*shape, channels), np.uint8), np.empty(shape, np.uint8))
    entry = cache_dir / _key(load)
    found = _reopen(entry, load)
    if found is None:
        try:
            _write(entry, load)
        except OSError as error:
            raise BadInput(
                f"{cache_dir}: the cache cannot be written ({error.strerror}); free space there or name another folder"
            ) from error
        found = _reopen(entry, load)
    if found is None:
        raise BadInput(f"{entry}: the cache entry cannot be read back; remove the folder and try again")
    return found


def resize_labels(labels: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Nearest neighbour with half-pixel centres in integers: out[i] = in[(2 i + 1) source // (2 target)].

    Args:
        labels: (H, W) uint8.
        size: (H, W) wanted.

    Returns:
        labels of that size; the same array where it has the size already.
    """
    if labels.shape == size:
        return labels
    rows, columns = (
        (2 * np.arange(target) + 1) * source // (2 * target) for source, target in zip(labels.shape, size, strict=True)
    )
    resized: NDArray[np.uint8] = labels[rows[:, None], columns[None, :]]
    return resized


def _bundle_resize() -> Resize:
    from lawder_edge.bundle.processing import resize

    return cast(Resize, resize)


@dataclass(frozen=True)
class _Load:
    samples: tuple[Sample, ...]
    size: tuple[int, int]
    channels: int
    num_classes: int
    resize: Resize
    skip_bad: bool
    progress: Progress | None

    def into(self, images: NDArray[np.uint8], labels: NDArray[np.uint8]) -> Arrays:
        """Fill the arrays (N, H, W, C) and (N, H, W), and return the part of them that was filled."""
        bad: list[tuple[int, BadFile]] = []
        notes: list[tuple[int, str]] = []
        # In the order of the files, so that a volume's slices come together; results keep the order asked for.
        order = sorted(
            range(len(self.samples)), key=lambda i: (self.samples[i].image, self.samples[i].slice_index or 0)
        )
        for done, position in enumerate(order, start=1):
            sample = self.samples[position]
            try:
                pair = load_pair(sample, channels=self.channels, num_classes=self.num_classes)
            except BadInput as error:
                if not self.skip_bad:
                    raise
                bad.append((position, BadFile(sample.id, str(error))))
            else:
                images[position] = self._resized(pair.image)
                labels[position] = resize_labels(pair.labels, self.size)
                notes += [(position, f"{sample.id}: {note}") for note in pair.notes]
            if self.progress is not None:
                self.progress(done, len(order))
        left_out = {position for position, _ in bad}
        kept = [position for position in range(len(self.samples)) if position not in left_out]
        if not kept:
            raise BadDataset(f"none of the {len(bad)} samples can be loaded; the first: {bad[0][1].reason}")
        for target, position in enumerate(kept):
            if target != position:
                images[target] = images[position]
                labels[target] = labels[position]
        return Arrays(
            images[: len(kept)],
            labels[: len(kept)],
            tuple(self.samples[position].id for position in kept),
            tuple(file for _, file in sorted(bad, key=lambda entry: entry[0])),
            tuple(note for _, note in sorted(notes, key=lambda entry: entry[0])),
        )

    def _resized(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        if image.shape[:2] == self.size:
            return image
        return self.resize(image, self.size).reshape(*self.size, self.channels)


def _key(load: _Load) -> str:
    probe = np.random.default_rng(0).integers(0, 256, (23, 31, 3), dtype=np.uint8)
    described = {
        "version": _VERSION,
        "pillow": PIL.__version__,
        "resize": [
            hashlib.sha256(np.ascontiguousarray(load.resize(probe, size)).tobytes()).hexdigest()
            for size in ((8, 8), (64, 48))
        ],
        "size": load.size,
        "channels": load.channels,
        "num_classes": load.num_classes,
        "window": asdict(SOFT_TISSUE),
        "samples": [
            (sample.id, sample.slice_index, _stamp(sample.image), _stamp(sample.mask)) for sample in load.samples
        ],
    }
    return hashlib.sha256(json.dumps(described).encode()).hexdigest()[:32]


def _stamp(path: Path | None) -> tuple[str, int, int] | None:
    if path is None:
        return None
    try:
        stat = path.stat()
    except OSError:
        # The loader names the missing file; here it only has to differ from the file's being there.
        return str(path.absolute()), 0, -1
    return str(path.absolute()), stat.st_mtime_ns, stat.st_size


def _write(entry: Path, load: _Load) -> None:
    entry.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=".writing-", dir=entry.parent))
    try:
        shape = (len(load.samples), *load.size)
        arrays = load.into(
            _allocated(temporary / "images.full", (*shape, load.channels)), _allocated(temporary / "labels.full", shape)
        )
        for name, array in (("images", arrays.images), ("labels", arrays.labels)):
            full = temporary / f"{name}.full"
            if arrays.bad:
                np.save(temporary / f"{name}.npy", array)
                full.unlink()
            else:
                cast("np.memmap[tuple[int, ...], np.dtype[np.uint8]]", array).flush()
                full.rename(temporary / f"{name}.npy")
        meta = {"ids": arrays.ids, "bad": [asdict(file) for file in arrays.bad], "notes": arrays.notes}
        (temporary / "meta.json").write_text(json.dumps(meta), encoding="utf-8")
        if entry.exists() and _reopen(entry, load) is None:
            shutil.rmtree(entry)
        if not entry.exists():
            temporary.rename(entry)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _allocated(path: Path, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """A new .npy file mapped into memory, its space reserved: a full disk is an OSError here and no SIGBUS later."""
    mapped = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)
    if hasattr(os, "posix_fallocate"):
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return mapped


def _reopen(entry: Path, load: _Load) -> Arrays | None:
    """The entry's arrays; None where there is no entry, a damaged one, or one with bad files that must raise."""
    try:
        meta = json.loads((entry / "meta.json").read_text(encoding="utf-8"))
        arrays = Arrays(
            np.load(entry / "images.npy", mmap_mode="r"),
            np.load(entry / "labels.npy", mmap_mode="r"),
            tuple(meta["ids"]),
            tuple(BadFile(**file) for file in meta["bad"]),
            tuple(meta["notes"]),
        )
    except (OSError, ValueError, KeyError, TypeError, EOFError):
        return None
    count = len(arrays.ids)
    whole = arrays.images.shape == (count, *load.size, load.channels) and arrays.labels.shape == (count, *load.size)
    return arrays if whole and (load.skip_bad or not arrays.bad) else None
