"""Splits that keep sequences and patients whole."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np

from lawder_edge.data.datasets import Sample
from lawder_edge.errors import BadDataset, BadInput


def hold_out(samples: Sequence[Sample], *, fraction: float, seed: int) -> tuple[list[Sample], list[Sample]]:
    """Split samples into a training and a validation part.

    Samples with a group (sequence, patient) are held out by whole groups, others one by one; each dataset gives its
    share. The result depends on the ids, groups and the seed, not on the order of the samples, and a dataset's part
    does not change when another dataset comes or goes.

    Args:
        samples: to split.
        fraction: share of each dataset's samples that is held out, above 0 and below 1; met to within a group.
        seed: 0 or above.

    Returns:
        (training, validation), each sorted by id.

    Raises:
        BadInput: fraction or seed out of range.
        BadDataset: nothing can be held out (a single sample or group).
    """
    if not 0.0 < fraction < 1.0:
        raise BadInput(f"fraction to hold out: got {fraction}; wanted a number between 0 and 1, such as 0.1")
    train, held = split_by_group(samples, (1.0 - fraction, fraction), seed=seed)
    if not train or not held:
        raise BadDataset(
            f"{len(samples)} samples cannot be split into training and validation: too few samples or groups "
            "(sequences and patients stay whole); add data, or name the validation list with --val-split"
        )
    return train, held


def split_by_group(samples: Sequence[Sample], fractions: Sequence[float], *, seed: int) -> tuple[list[Sample], ...]:
    """Split samples into as many parts as there are fractions, under the rules of `hold_out`.

    Within each dataset, groups (and samples without one) are shuffled and each goes to the part that lacks most. A part
    left without anything of a dataset takes one from the fullest part, as long as the dataset has enough.

    Args:
        samples: to split.
        fractions: share of each part, above 0, sum 1.
        seed: 0 or above.

    Returns:
        One list a fraction, each sorted by id.

    Raises:
        BadInput: fractions or seed out of range.
    """
    if not fractions or min(fractions) <= 0 or abs(sum(fractions) - 1) > 1e-6:
        raise BadInput(f"fractions of a split: got {tuple(fractions)}; wanted numbers above 0 whose sum is 1")
    if seed < 0:
        raise BadInput(f"seed of a split: got {seed}; wanted 0 or above")
    parts: tuple[list[Sample], ...] = tuple([] for _ in fractions)
    for name, units in _strata(samples).items():
        rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
        shuffled = [units[position] for position in rng.permutation(len(units))]
        for part, chosen in zip(parts, _deal(shuffled, fractions), strict=True):
            part += [sample for unit in chosen for sample in unit]
    for part in parts:
        part.sort(key=lambda sample: sample.id)
    return parts


_Unit = tuple[Sample, ...]


def _strata(samples: Sequence[Sample]) -> dict[str, list[_Unit]]:
    """What is dealt out separately: each dataset's groups, and each dataset's samples without a group.

    A group that stands in several folders (ClinicDB in two bundles) belongs to the first of them and moves as one.
    """
    ordered = sorted(samples, key=lambda sample: sample.id)
    groups: dict[str, list[Sample]] = {}
    strata: dict[str, list[_Unit]] = {}
    for sample in ordered:
        if sample.group is None:
            strata.setdefault(sample.dataset, []).append((sample,))
        else:
            groups.setdefault(sample.group, []).append(sample)
    for _, members in sorted(groups.items()):
        strata.setdefault(f"{members[0].dataset} by group", []).append(tuple(members))
    return dict(sorted(strata.items()))


def _deal(units: Sequence[_Unit], fractions: Sequence[float]) -> list[list[_Unit]]:
    total = sum(len(unit) for unit in units)
    lacking = [fraction * total for fraction in fractions]
    parts: list[list[_Unit]] = [[] for _ in fractions]
    for unit in units:
        neediest = max(range(len(parts)), key=lambda part: lacking[part])
        parts[neediest].append(unit)
        lacking[neediest] -= len(unit)
    for part in parts:
        fullest = max(parts, key=len)
        if not part and len(fullest) > 1:
            part.append(fullest.pop())
    return parts
