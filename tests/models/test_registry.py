"""Models by name."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from lawder_edge.errors import BadInput
from lawder_edge.models import MODELS, create_model


class OwnNet(nn.Module):
    """A user's own network: takes only in_channels."""

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, 1, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.conv(x)
        return out


def not_a_network() -> int:
    return 3


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("mk_unet_t", 27_384),
        ("mk_unet_s", 93_050),
        ("mk_unet", 315_566),
        ("mk_unet_m", 1_150_166),
        ("mk_unet_l", 3_758_118),
    ],
)
def test_the_mk_unet_family_has_the_published_parameter_counts(name: str, params: int) -> None:
    assert sum(p.numel() for p in create_model(name).parameters()) == params


@pytest.mark.parametrize("name", MODELS)
def test_each_record_tells_its_parameter_count(name: str) -> None:
    assert sum(p.numel() for p in create_model(name).parameters()) == MODELS[name].params


@pytest.mark.parametrize("name", ["order", "mk_order", "mk_order_full"])
def test_order_stays_in_its_parameter_budget(name: str) -> None:
    assert 41_500 <= MODELS[name].params <= 42_500


@pytest.mark.parametrize("name", ["order", "mk_order", "mk_order_full", "mk_unet_t", "mk_unet_wide", "unet"])
@pytest.mark.parametrize(("channels", "classes", "size"), [(3, 1, (64, 96)), (1, 3, (32, 32)), (3, 2, (96, 64))])
def test_any_channels_classes_and_multiples_of_32_work(
    name: str, channels: int, classes: int, size: tuple[int, int]
) -> None:
    model = create_model(name, in_channels=channels, num_classes=classes).eval()
    assert model(torch.zeros(2, channels, *size)).shape == (2, classes, *size)


def test_an_unknown_name_gets_the_closest_known_one() -> None:
    with pytest.raises(BadInput, match="Did you mean 'mk_unet_t'"):
        create_model("mk_unet_tt")


def test_a_users_own_network_comes_in_by_its_import_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(__import__("pathlib").Path(__file__).parent))
    model = create_model("test_registry:OwnNet", in_channels=1)
    assert model(torch.zeros(1, 1, 32, 32)).shape == (1, 1, 32, 32)


def test_an_import_path_that_is_no_network_says_what_it_gave(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(__import__("pathlib").Path(__file__).parent))
    with pytest.raises(BadInput, match=r"gave a int; wanted a torch\.nn\.Module"):
        create_model("test_registry:not_a_network")
    with pytest.raises(BadInput, match="cannot be imported"):
        create_model("no_such_package:Net")
    for path in ("os:path", "lawder_edge.errors:BadInput"):
        with pytest.raises(BadInput, match=r"wanted a torch\.nn\.Module class"):
            create_model(path)
