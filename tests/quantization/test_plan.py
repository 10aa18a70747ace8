"""Which tensors get a scale, and which share one."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.fx import Graph
from torch.nn import functional as F

from lawder_edge.errors import BadInput
from lawder_edge.models import create_model
from lawder_edge.models.deploy import to_deploy
from lawder_edge.quantization.plan import Plan, plan


def graph_of(model: nn.Module, *, size: tuple[int, int] = (64, 64)) -> Graph:
    return torch.export.export(model.eval(), (torch.zeros(1, 3, *size),)).module(check_guards=False).graph


def groups(found: Plan) -> dict[str, list[str]]:
    """Names of the nodes of each group."""
    named: dict[str, list[str]] = {group.key: [] for group in found.groups}
    for node, index in found.group_of.items():
        named[found.groups[index].key].append(node.name)
    return named


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(8, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.first(x))
        deep = F.interpolate(F.max_pool2d(y, 2), scale_factor=2.0, mode="bilinear")
        return self.second(torch.cat([deep, y], 1)) / 4


def test_what_tflite_wants_alike_shares_a_scale() -> None:
    found = plan(graph_of(Small()))
    assert groups(found) == {
        "input": ["x"],
        ":relu": ["relu", "max_pool2d", "upsample_bilinear2d", "cat"],
        ":div": ["div"],
    }
    assert [node.name for node in found.rounded] == ["x", "relu", "upsample_bilinear2d", "div"]
    assert [g.fixed for g in found.groups] == [(1 / 128, 0), None, None]
    assert [str(w.target) for w in found.weights] == ["first.weight", "second.weight"]


@pytest.mark.parametrize(("size", "groups_wanted"), [(1, 4), (2, 3)])
def test_an_adaptive_pool_to_one_value_has_a_scale_of_its_own_and_one_to_more_has_not(
    size: int, groups_wanted: int
) -> None:
    layers = nn.Sequential(nn.Conv2d(3, 4, 1), nn.AdaptiveAvgPool2d(size), nn.Conv2d(4, 1, 1))
    assert len(plan(graph_of(layers)).groups) == groups_wanted


def test_zeros_around_a_map_have_its_scale() -> None:
    class Padded(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 1, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.second(F.pad(self.first(x), (1, 1, 0, 0)))

    found = plan(graph_of(Padded()))
    assert [len(nodes) for nodes in groups(found).values()] == [1, 2, 1]


@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize("kind", [nn.Dropout, nn.Dropout2d])
def test_a_dropout_in_eval_mode_shares_the_scale_of_what_it_gives_on(kind: type[nn.Dropout], in_place: bool) -> None:
    found = plan(graph_of(nn.Sequential(nn.Conv2d(3, 4, 1), kind(inplace=in_place), nn.Conv2d(4, 1, 1))))
    assert [len(nodes) for nodes in groups(found).values()] == [1, 2, 1]


@pytest.mark.parametrize("name", ["order", "mk_order", "mk_unet_t", "unet"])
def test_the_keys_are_the_same_at_every_size(name: str) -> None:
    deployed = to_deploy(create_model(name))
    small, large = (plan(graph_of(deployed, size=size)) for size in ((64, 64), (96, 160)))
    assert small.groups == large.groups
    keys = [group.key for group in small.groups]
    assert len(keys) == len(set(keys))


def test_the_attention_map_is_fixed_at_steps_of_a_256th() -> None:
    found = plan(graph_of(to_deploy(create_model("order"))))
    fixed = {group.key: group.fixed for group in found.groups}
    assert fixed["adapters.1:sigmoid"] == (1 / 256, -128)
    # Its transpose is the same tensor, and the division by the number of tokens belongs to the product.
    names = groups(found)
    assert any("transpose" in name for name in names["adapters.1:sigmoid"])
    assert not any(name.startswith("matmul") for name in names["adapters.1:div"])


class Odd(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.fft.fft2(x).real


class Holder(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.conv, self.inner = nn.Conv2d(3, 3, 1), inner

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(self.inner(self.conv(x)))


def test_an_operator_without_an_integer_form_is_named_with_its_module() -> None:
    class Erf(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.erf(x)

    with pytest.raises(BadInput, match=r"operator aten\.erf\.default in inner has no integer form"):
        plan(graph_of(Holder(Erf())))


def test_an_operator_that_gives_several_tensors_is_named_rather_than_the_taking_of_one() -> None:
    class Halves(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            left, right = x.chunk(2, 3)
            return left + right

    with pytest.raises(BadInput, match=r"operator aten\.chunk\.default in inner has no integer form"):
        plan(graph_of(Holder(Halves())))


def test_tensors_with_scales_of_their_own_cannot_be_joined() -> None:
    class Joined(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.head = nn.Conv2d(3, 3, 1), nn.Conv2d(6, 1, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(torch.cat([torch.sigmoid(self.conv(x)), self.conv(x)], 1))

    with pytest.raises(BadInput, match="have to share one int8 scale"):
        plan(graph_of(Joined()))


def test_weights_that_are_computed_are_refused() -> None:
    class Computed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(1, 3, 1, 1))

        def forward(self, x: Tensor) -> Tensor:
            return F.conv2d(x, self.weight * 2)

    with pytest.raises(BadInput, match="weights are computed"):
        plan(graph_of(Computed()))
