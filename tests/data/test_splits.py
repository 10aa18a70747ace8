"""Hold-out by whole sequences and patients."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lawder_edge.data.datasets import Sample
from lawder_edge.data.leaks import shared_groups
from lawder_edge.data.splits import hold_out, split_by_group
from lawder_edge.errors import BadDataset, BadInput


def sample(dataset: str, stem: str, group: str | None = None) -> Sample:
    return Sample(f"{dataset}/{stem}", Path(f"{stem}.png"), Path(f"{stem}.png"), dataset, group)


def dataset(name: str, count: int, *, group_size: int | None = None) -> list[Sample]:
    return [
        sample(name, f"{number:03d}", None if group_size is None else f"{name}-{number // group_size:02d}")
        for number in range(count)
    ]


MIXED = dataset("frames", 200) + dataset("video", 100, group_size=10)


def test_every_sample_is_on_one_side_and_groups_stay_whole() -> None:
    train, held = hold_out(MIXED, fraction=0.1, seed=3)
    assert sorted(part.id for part in train + held) == sorted(part.id for part in MIXED)
    assert shared_groups(train, held) == ()


def test_each_dataset_gives_its_share() -> None:
    _, held = hold_out(MIXED, fraction=0.1, seed=3)
    assert sum(part.dataset == "frames" for part in held) == 20
    assert sum(part.dataset == "video" for part in held) == 10


def test_a_small_dataset_is_represented_on_both_sides() -> None:
    train, held = hold_out(dataset("frames", 100) + dataset("few", 3), fraction=0.1, seed=0)
    assert sum(part.dataset == "few" for part in held) == 1
    assert sum(part.dataset == "few" for part in train) == 2


def test_the_same_seed_gives_the_same_split_in_any_order_of_the_samples() -> None:
    assert hold_out(MIXED, fraction=0.2, seed=5) == hold_out(MIXED[::-1], fraction=0.2, seed=5)
    assert hold_out(MIXED, fraction=0.2, seed=5) != hold_out(MIXED, fraction=0.2, seed=6)


def test_a_datasets_part_does_not_depend_on_the_other_datasets() -> None:
    alone = hold_out(dataset("frames", 200), fraction=0.1, seed=3)[1]
    together = hold_out(MIXED, fraction=0.1, seed=3)[1]
    assert alone == [part for part in together if part.dataset == "frames"]


def test_a_sequence_in_two_folders_moves_as_one() -> None:
    samples = dataset("video", 60, group_size=10)
    samples += [sample("bundle", part.id.replace("/", "-"), part.group) for part in samples]
    for seed in range(5):
        assert shared_groups(*hold_out(samples, fraction=0.3, seed=seed)) == ()


def test_a_dataset_with_and_without_groups_is_held_out_both_ways() -> None:
    samples = dataset("TrainDataset", 50, group_size=5) + [sample("TrainDataset", f"cju{n}") for n in range(50)]
    _, held = hold_out(samples, fraction=0.2, seed=1)
    assert [sum(part.group is None for part in held), sum(part.group is not None for part in held)] == [10, 10]


@given(
    sizes=st.lists(st.integers(1, 30), min_size=2, max_size=30),
    fraction=st.floats(0.05, 0.6),
    seed=st.integers(0, 1000),
)
def test_the_held_out_share_is_met_to_within_the_largest_group(sizes: list[int], fraction: float, seed: int) -> None:
    samples = [
        sample("video", f"{group}-{number}", f"g{group}") for group, size in enumerate(sizes) for number in range(size)
    ]
    train, held = hold_out(samples, fraction=fraction, seed=seed)
    assert train
    assert held
    assert abs(len(held) - fraction * len(samples)) <= max(sizes)
    assert shared_groups(train, held) == ()


def test_three_parts_meet_their_fractions() -> None:
    parts = split_by_group(dataset("video", 100, group_size=5), (0.7, 0.1, 0.2), seed=0)
    assert [len(part) for part in parts] == [70, 10, 20]
    assert [shared_groups(parts[a], parts[b]) for a, b in ((0, 1), (0, 2), (1, 2))] == [(), (), ()]


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.1, float("nan")])
def test_a_fraction_outside_0_to_1_is_refused(fraction: float) -> None:
    with pytest.raises(BadInput, match="wanted a number between 0 and 1"):
        hold_out(MIXED, fraction=fraction, seed=0)


def test_fractions_that_do_not_sum_to_one_and_negative_seeds_are_refused() -> None:
    with pytest.raises(BadInput, match="whose sum is 1"):
        split_by_group(MIXED, (0.5, 0.4), seed=0)
    with pytest.raises(BadInput, match="got -1; wanted 0 or above"):
        hold_out(MIXED, fraction=0.1, seed=-1)


def test_a_single_group_cannot_be_held_out() -> None:
    with pytest.raises(BadDataset, match="too few samples or groups"):
        hold_out(dataset("video", 10, group_size=10), fraction=0.1, seed=0)
