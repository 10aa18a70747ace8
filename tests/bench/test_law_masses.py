from __future__ import annotations

import dataclasses
from collections.abc import Callable
from types import ModuleType

import numpy as np
import pytest
import torch

from lawder_edge.synthesis.config import SynthConfig
from lawder_edge.synthesis.generator import Generator
from lawder_edge.synthesis.weighting import Bounds

CONFIG = SynthConfig(size=32, widths=(16, 32), arm="law")


@pytest.fixture
def script(benchmark_script: Callable[[str], ModuleType]) -> ModuleType:
    return benchmark_script("law_masses")


def square(*corners: tuple[int, int]) -> np.ndarray:
    """Masks of 32 px, each with a square of 12 from its corner on, an empty one after them."""
    masks = np.zeros((len(corners) + 1, 32, 32), np.uint8)
    for mask, (y, x) in zip(masks, corners, strict=False):
        mask[y : y + 12, x : x + 12] = 1
    return masks


def test_shares_are_of_the_whole_weight(script: ModuleType) -> None:
    lesion = torch.from_numpy(square((4, 4)))[:1, None].float()
    # The band is a pixel on each side of the contour: 10^2 inside, 14^2 - 10^2 in it.
    found = script.shares(torch.ones_like(lesion), lesion)
    np.testing.assert_allclose(found, [[100 / 1024, 96 / 1024, 828 / 1024]], rtol=1e-6)
    found = script.shares(lesion, lesion)
    np.testing.assert_allclose(found, [[100 / 144, 44 / 144, 0]], rtol=1e-6)


def test_what_is_clipped_is_counted_by_bound(script: ModuleType) -> None:
    weights = torch.full((2, 1, 4, 4), 1.0)
    weights[0, 0, 0] = 0.2
    weights[1, 0, :2, 0] = 5.0
    np.testing.assert_array_equal(script.at_bounds(weights, Bounds(0.2, 5.0)), [[0.25, 0], [0, 0.125]])


@pytest.mark.parametrize(("arm", "prior"), [("law", "ratio"), ("law_on_regions", "regions")])
def test_a_learned_arm_without_its_map_has_the_masses_of_its_prior(arm: str, prior: str, script: ModuleType) -> None:
    config = dataclasses.replace(CONFIG, arm=arm, gamma=0.0)
    masks = square((4, 4), (10, 16))
    images = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), np.uint8)
    found = script.masses(Generator(config).eval(), config, images=images, labels=masks, times=[100, 700])
    assert list(found) == ["area", "the error", "ratio", "regions", arm]
    assert [parts.shape for parts in found.values()] == [(2, 3)] * 2 + [(2, 5)] * 3
    np.testing.assert_array_equal(found[arm], found[prior])
    for parts in found.values():
        np.testing.assert_allclose(parts[:, :3].sum(1), 1, rtol=1e-6)
    assert f"| {arm} |" in script.table(found)
