"""Filled lanes compute what the deploy form computes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from test_deploy import assert_equal, worked_in
from torch import nn

from lawder_edge.models import create_model
from lawder_edge.models.deploy import to_deploy
from lawder_edge.models.lanes import PhasedSpatialAttention, SideBySide, fill_lanes
from lawder_edge.models.order import Order


def count(model: nn.Module, kind: type[nn.Module]) -> int:
    return sum(isinstance(module, kind) for module in model.modules())


@pytest.mark.parametrize(("channels", "classes"), [(3, 1), (1, 3)])
@pytest.mark.parametrize("name", ["order", "mk_order", "mk_unet_t", "mk_unet_s"])
def test_filled_lanes_are_equal(name: str, channels: int, classes: int) -> None:
    deployed = to_deploy(worked_in(create_model(name, in_channels=channels, num_classes=classes)))
    filled = fill_lanes(deployed)
    for size in ((32, 96), (128, 64)):
        assert_equal(deployed, filled, torch.rand(2, channels, *size) * 2 - 1)


def test_what_orders_stages_concatenate_fills_blocks_of_16() -> None:
    deployed = to_deploy(worked_in(create_model("order")))
    filled = fill_lanes(deployed)
    assert (joined_channels(deployed), joined_channels(filled)) == ([16, 16, 16, 16, 16, 12, 12, 4], [16] * 6)


def joined_channels(model: nn.Module) -> list[int]:
    """Of each part of each concatenation."""
    program = torch.export.export(model, (torch.zeros(1, 3, 64, 64),))
    joins = [node for node in program.graph.nodes if node.target is torch.ops.aten.cat.default]
    return [part.meta["val"].shape[1] for node in joins for part in node.args[0]]


@pytest.mark.parametrize("skips", [(6, 12, 16, 16), (12, 12, 8, 5)])
def test_skips_of_other_widths_are_equal_too(skips: tuple[int, ...]) -> None:
    deployed = to_deploy(worked_in(Order(widths=(12, 12, 16, 20, 16), skips=skips)))
    assert_equal(deployed, fill_lanes(deployed), torch.rand(1, 3, 64, 64) * 2 - 1)


@pytest.mark.parametrize("options", [{"normaliser": "softmax"}, {"token_stride": 4}])
def test_adapters_that_are_for_float_alone_stay_as_they_are(options: dict[str, Any]) -> None:
    deployed = to_deploy(worked_in(Order(**options)))
    assert_equal(deployed, fill_lanes(deployed), torch.rand(1, 3, 64, 64) * 2 - 1)


def test_three_narrow_blocks_of_mk_unet_and_its_spatial_attention_are_changed_in_a_copy() -> None:
    deployed = to_deploy(worked_in(create_model("mk_order")))
    filled = fill_lanes(deployed)
    assert (count(filled, SideBySide), count(filled, PhasedSpatialAttention)) == (3, 1)
    assert (count(deployed, SideBySide), count(deployed, PhasedSpatialAttention)) == (0, 0)


def test_a_network_without_narrow_blocks_stays_as_it_is() -> None:
    deployed = to_deploy(worked_in(create_model("unet")))
    assert fill_lanes(deployed).state_dict().keys() == deployed.state_dict().keys()


def test_a_width_that_a_deep_stage_shares_is_computed_pixel_by_pixel() -> None:
    model = worked_in(create_model("mk_order"))
    model.widths = (4, 8, 48, 32, 48)  # type: ignore[assignment]
    phased = next(m for m in fill_lanes(to_deploy(model)).modules() if isinstance(m, PhasedSpatialAttention))
    assert phased.widths == {4, 8}
