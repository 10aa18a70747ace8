"""Recipes."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import pytest

from lawder_edge.errors import BadInput
from lawder_edge.training.config import Stage, TrainConfig, config_from, parse_schedule, read_config


def test_a_schedule_reads_as_sizes_and_passes() -> None:
    assert parse_schedule("128x40, 256x12") == (Stage(128, 40), Stage(256, 12))
    config = TrainConfig(schedule="128x2,256x1")
    assert [config.size_at(i) for i in range(3)] == [128, 128, 256]
    assert config.passes == 3


@pytest.mark.parametrize("text", ["", "256", "256x", "100x3", "256x0", "0x3"])
def test_a_schedule_that_does_not_read_says_what_one_looks_like(text: str) -> None:
    with pytest.raises(BadInput, match=r"SIZExPASSES|multiples of 32"):
        parse_schedule(text)


def test_a_recipe_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "r.toml"
    path.write_text('schedule = "64x2"\nlearning_rate = 1\nmulti_scale = [0.75, 1]\n')
    config = read_config(path, TrainConfig())
    assert config == TrainConfig(schedule="64x2", learning_rate=1.0, multi_scale=(0.75, 1.0))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"rate": 1}, "unknown key 'rate'"),
        ({"batch": "8"}, "batch is '8'; wanted a whole number"),
        ({"augment": 1}, "wanted true or false"),
        ({"multi_scale": ["a"]}, r"multi_scale is \['a'\]; wanted a list of numbers"),
        ({"learning_rate": True}, "wanted a number"),
    ],
)
def test_a_wrong_key_or_type_is_named(values: dict[str, object], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        config_from(values, base=TrainConfig(), source="r.toml")


def test_a_recipe_that_is_no_text_is_named(tmp_path: Path) -> None:
    path = tmp_path / "r.toml"
    path.write_bytes(b'model = "\xff\xfe"')
    with pytest.raises(BadInput, match=r"r\.toml: not a readable TOML recipe"):
        read_config(path, TrainConfig())


def test_the_shipped_recipes_read_and_end_at_their_size(project_root: Path) -> None:
    recipes = sorted((project_root / "benchmarks" / "recipes").glob("*.toml"))
    assert {path.stem for path in recipes} >= {"order", "order_sides", "polyps", "teacher"}
    for path in recipes:
        config = read_config(path, TrainConfig())
        config.check()
        assert config.stages[-1].size == (128 if path.stem == "order_sides" else 256)


@pytest.mark.parametrize("scale", [0.0, 1.2])
def test_a_smallest_scale_that_is_none_is_refused(scale: float) -> None:
    with pytest.raises(BadInput, match="smallest_scale is"):
        TrainConfig(smallest_scale=scale).check()


@pytest.mark.parametrize("share", [-0.1, 1.0])
def test_an_empty_share_that_is_none_is_refused(share: float) -> None:
    with pytest.raises(BadInput, match=r"empty_share is .*; wanted a number from 0 to below 1"):
        TrainConfig(empty_share=share).check()


@pytest.mark.parametrize(
    ("values", "said"), [({"multi_scale": (1.0, math.inf)}, "multi_scale"), ({"seed": 2**64}, "2^63")]
)
def test_numbers_that_no_training_can_take_are_refused(values: dict[str, Any], said: str) -> None:
    with pytest.raises(BadInput, match=re.escape(said)):
        TrainConfig(**values).check()
