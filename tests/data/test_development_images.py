"""The rooms' promises on the real images, where they are at hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from lawder_edge.data.cache import load_arrays
from lawder_edge.data.datasets import Sample, find_samples, read_split, select
from lawder_edge.data.images import image_size
from lawder_edge.data.leaks import NEAR_DUPLICATE_BITS, find_leaks, find_repeats, perceptual_hash, shared_groups
from lawder_edge.data.load import load_image, load_pair
from lawder_edge.data.splits import hold_out

pytestmark = pytest.mark.realdata


@pytest.fixture(scope="module")
def samples(real_data: Path) -> list[Sample]:
    return find_samples(real_data)


def split(samples: list[Sample], real_data: Path, *names: str) -> list[Sample]:
    return [sample for name in names for sample in select(samples, read_split(real_data / "splits" / f"{name}.txt"))]


def hashes(samples: list[Sample]) -> NDArray[np.uint8]:
    return np.stack([perceptual_hash(load_image(sample)) for sample in samples])


def test_the_folders_hold_what_their_readme_says(samples: list[Sample]) -> None:
    by_dataset = {
        name: [sample for sample in samples if sample.dataset == name] for name in {part.dataset for part in samples}
    }
    assert {name: len(part) for name, part in by_dataset.items()} == {
        "cvc-clinicdb": 612,
        "kvasir-seg": 1000,
        "kits19-slices": 81,
    }
    assert len({part.group for part in by_dataset["cvc-clinicdb"]}) == 29
    assert len({part.group for part in by_dataset["kits19-slices"]}) == 37
    assert {part.group for part in by_dataset["kvasir-seg"]} == {None}


def test_sequences_are_those_of_the_table(samples: list[Sample], real_data: Path) -> None:
    groups = {sample.id: sample.group for sample in samples}
    rows = [line.split() for line in (real_data / "splits" / "clinicdb_sequences.tsv").read_text().splitlines()[1:]]
    assert len(rows) == 29
    for number, first, last in rows:
        for frame in range(int(first), int(last) + 1):
            assert groups[f"cvc-clinicdb/{frame:03d}"] == f"clinicdb-sequence-{int(number):02d}"


def test_every_split_file_selects_all_its_ids(samples: list[Sample], real_data: Path) -> None:
    counts = {path.stem: len(select(samples, read_split(path))) for path in (real_data / "splits").glob("*.txt")}
    assert counts == {
        "clinicdb_by_sequence_train": 455,
        "clinicdb_by_sequence_val": 69,
        "clinicdb_by_sequence_test": 88,
        "pranet_train_kvasir_900": 900,
        "pranet_train_clinicdb_550": 550,
        "pranet_test_kvasir_100": 100,
        "pranet_test_clinicdb_62": 62,
    }


def test_pairs_of_each_dataset_load_cleanly(samples: list[Sample]) -> None:
    for sample in samples[::50]:
        pair = load_pair(sample, num_classes=3 if sample.dataset == "kits19-slices" else 1)
        assert pair.image.shape == (*image_size(sample.image), 3)
        assert pair.notes == ()
        assert pair.labels.any()


def test_the_training_lists_are_held_out_by_sequence(samples: list[Sample], real_data: Path) -> None:
    listed = split(samples, real_data, "pranet_train_kvasir_900", "pranet_train_clinicdb_550")
    train, held = hold_out(listed, fraction=0.1, seed=0)
    assert len(train) + len(held) == 1450
    assert shared_groups(train, held) == ()
    assert sum(sample.dataset == "kvasir-seg" for sample in held) == 90
    assert abs(sum(sample.dataset == "cvc-clinicdb" for sample in held) - 55) <= 25


def test_the_known_leaks_of_the_usual_split_are_found(samples: list[Sample], real_data: Path) -> None:
    table = (real_data / "splits" / "train_test_near_duplicates.tsv").read_text().splitlines()[1:]
    known = {tuple(line.split()[1:]) for line in table}
    ids = {name for pair in known for name in pair}
    train = [part for part in split(samples, real_data, "pranet_train_clinicdb_550") if part.id in ids]
    test = split(samples, real_data, "pranet_test_clinicdb_62")
    leaks = find_leaks(hashes(train), hashes(test))
    found = {(train[leak.first].id, test[leak.second].id) for leak in leaks}
    assert known <= found
    assert all(train[leak.first].group == test[leak.second].group for leak in leaks)


@pytest.mark.slow
def test_the_threshold_finds_the_known_pairs_and_no_other_scene(samples: list[Sample]) -> None:
    pairs = [
        pair
        for pair in find_repeats(hashes(samples))
        if samples[pair.first].group is None or samples[pair.first].group != samples[pair.second].group
    ]
    assert {samples[pair.first].dataset for pair in pairs} == {"kvasir-seg"}
    assert {samples[pair.second].dataset for pair in pairs} == {"kvasir-seg"}
    assert len(pairs) == 18
    assert max(pair.distance_bits for pair in pairs) <= NEAR_DUPLICATE_BITS


def test_real_images_come_back_from_the_cache_unchanged(samples: list[Sample], tmp_path: Path) -> None:
    some = samples[::200]
    first = load_arrays(some, size=(64, 64), cache_dir=tmp_path)
    again = load_arrays(some, size=(64, 64), cache_dir=tmp_path)
    in_memory = load_arrays(some, size=(64, 64))
    np.testing.assert_array_equal(first.images, again.images)
    np.testing.assert_array_equal(first.images, in_memory.images)
    np.testing.assert_array_equal(first.labels, in_memory.labels)
