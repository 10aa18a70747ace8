from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import numpy as np
import pytest
import torch

from lawder_edge.synthesis.config import SynthConfig
from lawder_edge.synthesis.diffusion import kept_share, time_weight
from lawder_edge.synthesis.generator import Generator
from lawder_edge.synthesis.weighting import Bounds


@pytest.fixture
def script(benchmark_script: Callable[[str], ModuleType]) -> ModuleType:
    return benchmark_script("law_fifths")


def test_places_divide_a_picture_and_fifths_go_by_the_map(script: ModuleType) -> None:
    lesion = torch.zeros(1, 1, 32, 32)
    lesion[..., 4:16, 4:16] = 1
    delta = torch.linspace(-1, 1, 32 * 32).view(1, 1, 32, 32)
    where = script.places(lesion, delta)
    assert where.shape == (len(script.PLACES), 1, 1, 32, 32)
    torch.testing.assert_close(where[:-1].sum(0), torch.ones_like(delta))
    areas = where.sum((1, 2, 3, 4))
    assert areas[:2].tolist() == [100, 96]
    assert areas[2:7].max() - areas[2:7].min() <= 1
    means = [(w * delta).sum() / w.sum() for w in where[2:7]]
    assert means == sorted(means)


def test_a_part_of_the_sums_is_no_more_than_the_whole_and_equal_networks_do_not_differ(script: ModuleType) -> None:
    config = SynthConfig(size=32, widths=(16, 32), arm="law")
    torch.manual_seed(0)
    generator = Generator(config).eval()
    masks = np.zeros((3, 32, 32), np.uint8)
    masks[:2, 8:20, 8:20] = 1
    images = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), np.uint8)
    arms = {"law": generator, "ratio": generator}
    found = script.sums(arms, gamma=0.5, bounds=Bounds(), images=images, labels=masks, times=[100, 700])
    for values in (found.area, found.weight, *found.errors.values()):
        np.testing.assert_allclose(values[:, :-1].sum(1), values[:, -1], rtol=1e-5)
    # Weights have mean 1 in every picture.
    np.testing.assert_allclose(found.weight[:, -1], found.area[:, -1], rtol=1e-5)
    np.testing.assert_array_equal(found.errors["law"], found.errors["ratio"])
    text = script.table([found, found], [100, 700])
    # An untrained map is flat: all of the outside is in the first fifth.
    assert text.count("+0.0 [+0.0, +0.0] (2)") == 4
    assert text.count("| - |") == 4


def test_the_table_tells_by_how_much_an_arm_errs_more(script: ModuleType) -> None:
    ones = np.ones((2, len(script.PLACES)))
    seeds = [script.Sums(ones, ones, {"law": more * ones, "ratio": ones}) for more in (1.1, 1.2)]
    assert "| +15.0 [" in script.table(seeds, [100, 700])
    assert "| +10.0 (1) |" in script.table(seeds[:1], [100, 700])


def test_errors_at_several_times_are_weighted_as_in_training(script: ModuleType) -> None:
    times = [100, 700]
    early, late = time_weight(kept_share()[times]).tolist()
    assert early > 2 * late
    ones = np.ones((2, len(script.PLACES)))
    error = ones.copy()
    # Inside nothing is left at the second time.
    error[1, 0] = 0
    more = ones * [[2.0], [1.0]]
    text = script.table([script.Sums(ones, ones, {"law": more, "ratio": error})], times)
    share = 100 * early / (early + late)
    inside, band = text.splitlines()[2:4]
    assert inside == f"| inside | 100.0 | 100.0 | {share:.1f} | {100 * (1 + late / early):+.1f} (1) |"
    assert band == f"| band | 100.0 | 100.0 | 100.0 | {share:+.1f} (1) |"
