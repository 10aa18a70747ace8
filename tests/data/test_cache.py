"""Decoded and resized arrays, in memory and on disk."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from lawder_edge.data import cache as cache_file
from lawder_edge.data.cache import load_arrays, resize_labels
from lawder_edge.data.datasets import Sample, find_samples
from lawder_edge.data.load import load_pair
from lawder_edge.errors import BadDataset, BadImage, BadInput

Builder = Callable[..., Path]


class Counting:
    """A resize that takes the upper left corner and counts its calls beyond the probe of the cache key."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        self.calls += image.shape[:2] == (40, 48)
        return np.resize(image, (*size, image.shape[2]))


@pytest.fixture
def samples(build_folder: Builder) -> list[Sample]:
    return find_samples(build_folder("polyps", ["a", "b", "c"]))


def test_arrays_hold_the_samples_in_the_order_asked_for(samples: list[Sample]) -> None:
    arrays = load_arrays(samples[::-1], size=(40, 48))
    assert arrays.ids == ("polyps/c", "polyps/b", "polyps/a")
    assert (arrays.images.shape, arrays.labels.shape) == ((3, 40, 48, 3), (3, 40, 48))
    for index, sample in enumerate(samples[::-1]):
        pair = load_pair(sample)
        np.testing.assert_array_equal(arrays.images[index], pair.image)
        np.testing.assert_array_equal(arrays.labels[index], pair.labels)


def test_images_are_resized_by_the_bundles_routine(samples: list[Sample]) -> None:
    from lawder_edge.bundle.processing import resize

    arrays = load_arrays(samples, size=(16, 32))
    np.testing.assert_array_equal(arrays.images[1], resize(load_pair(samples[1]).image, (16, 32)))
    assert set(np.unique(arrays.labels)) == {0, 1}


def test_grey_arrays_have_one_channel(samples: list[Sample]) -> None:
    assert load_arrays(samples, size=(16, 16), channels=1).images.shape == (3, 16, 16, 1)


def test_a_second_load_is_mapped_from_disk_without_decoding(
    samples: list[Sample], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    resize, done = Counting(), []
    monkeypatch.setattr(cache_file, "_bundle_resize", lambda: resize)
    cache = tmp_path / "cache"
    first = load_arrays(samples, size=(20, 24), cache_dir=cache, progress=lambda *step: done.append(step))
    assert (resize.calls, done) == (3, [(1, 3), (2, 3), (3, 3)])
    second = load_arrays(samples, size=(20, 24), cache_dir=cache)
    assert resize.calls == 3
    assert isinstance(second.images, np.memmap)
    assert not second.images.flags.writeable
    np.testing.assert_array_equal(first.images, second.images)
    np.testing.assert_array_equal(first.labels, second.labels)
    assert first.ids == second.ids
    assert len(list(cache.iterdir())) == 1


def test_what_decides_the_pixels_decides_the_cache_entry(
    samples: list[Sample], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def entries(**options: object) -> int:
        load_arrays(**({"samples": samples, "size": (20, 24), "cache_dir": tmp_path / "cache"} | options))
        return len(list((tmp_path / "cache").iterdir()))

    assert entries() == 1
    assert entries(size=(24, 20)) == 2
    assert entries(channels=1) == 3
    assert entries(samples=samples[:2]) == 4
    assert entries(samples=samples[::-1]) == 5
    assert entries(num_classes=2) == 6
    monkeypatch.setattr(cache_file, "_bundle_resize", Counting)
    assert entries() == 7
    os.utime(samples[0].image, ns=(1, 1))
    assert entries() == 8


def test_a_damaged_cache_entry_is_written_anew(samples: list[Sample], tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    whole = np.array(load_arrays(samples, size=(20, 24), cache_dir=cache).images)
    (entry,) = cache.iterdir()
    for file in ("images.npy", "meta.json"):
        (entry / file).write_bytes((entry / file).read_bytes()[:50])
        np.testing.assert_array_equal(load_arrays(samples, size=(20, 24), cache_dir=cache).images, whole)
    assert list(cache.iterdir()) == [entry]


def test_a_full_disk_leaves_no_entry_and_says_so(
    samples: list[Sample], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full, raising=False)
    with pytest.raises(BadInput, match=r"cache: the cache cannot be written \(No space left on device\)"):
        load_arrays(samples, size=(20, 24), cache_dir=tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


@pytest.mark.parametrize("cached", [False, True])
def test_a_bad_file_is_named_or_skipped_and_counted(samples: list[Sample], tmp_path: Path, cached: bool) -> None:
    cache = tmp_path / "cache" if cached else None
    samples[0].image.write_bytes(samples[0].image.read_bytes()[:200])
    Image.new("L", (5, 5)).save(str(samples[1].mask))
    with pytest.raises(BadImage, match=r"a\.png: truncated"):
        load_arrays(samples, size=(40, 48), cache_dir=cache)
    for _ in range(2):
        arrays = load_arrays(samples, size=(40, 48), cache_dir=cache, skip_bad=True)
        assert arrays.ids == ("polyps/c",)
        assert [file.id for file in arrays.bad] == ["polyps/a", "polyps/b"]
        assert "48x40 and its mask 5x5" in arrays.bad[1].reason
        np.testing.assert_array_equal(arrays.images, load_pair(samples[2]).image[None])
        assert arrays.labels.shape == (1, 40, 48)
    with pytest.raises(BadImage, match=r"a\.png: truncated"):
        load_arrays(samples, size=(40, 48), cache_dir=cache)


def test_nothing_but_bad_files_is_an_error_even_when_skipping(samples: list[Sample]) -> None:
    for sample in samples:
        sample.image.write_bytes(b"")
    with pytest.raises(BadDataset, match=r"none of the 3 samples can be loaded; the first: .*a\.png"):
        load_arrays(samples, size=(8, 8), skip_bad=True)
    with pytest.raises(BadDataset, match="no samples to load"):
        load_arrays([], size=(8, 8))


def test_notes_about_masks_come_with_the_ids_from_the_cache_too(build_folder: Builder, tmp_path: Path) -> None:
    samples = find_samples(build_folder("jpeg", ["a", "b"], mask_suffix=".jpg"))
    for _ in range(2):
        arrays = load_arrays(samples, size=(40, 48), cache_dir=tmp_path / "cache")
        assert [note.split(": ")[0] for note in arrays.notes] == ["jpeg/a", "jpeg/b"]


def test_slices_of_a_volume_are_loaded(build_case: Builder, tmp_path: Path) -> None:
    build_case(tmp_path / "kits19", 0)
    build_case(tmp_path / "kits19", 1)
    samples = find_samples(tmp_path / "kits19")
    arrays = load_arrays(samples[::-1], size=(8, 10), channels=1, num_classes=3)
    assert arrays.ids[0] == "kits19/case_00001_slice004"
    np.testing.assert_array_equal(arrays.labels[0], load_pair(samples[-1], num_classes=3).labels)
    assert int(arrays.labels.max()) == 2


def test_labels_are_resized_by_the_nearest_pixel_centre() -> None:
    labels = np.arange(16, dtype=np.uint8).reshape(4, 4)
    assert resize_labels(labels, (2, 2)).tolist() == [[5, 7], [13, 15]]
    assert resize_labels(labels[:1, :2], (1, 6)).tolist() == [[0, 0, 0, 1, 1, 1]]


@given(source=st.integers(1, 60), target=st.integers(1, 60))
def test_the_nearest_centre_is_never_more_than_half_a_pixel_away(source: int, target: int) -> None:
    chosen = resize_labels(np.arange(source, dtype=np.uint8)[None], (1, target))[0].astype(float)
    wanted = (np.arange(target) + 0.5) * source / target - 0.5
    assert np.abs(chosen - wanted).max() <= 0.5 + 1e-9


def test_labels_of_the_right_size_are_returned_as_they_are() -> None:
    labels = np.zeros((3, 3), np.uint8)
    assert resize_labels(labels, (3, 3)) is labels
