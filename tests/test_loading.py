"""What people name becomes something that predicts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from lawder_edge import weights
from lawder_edge.bundle.manifest import WeightsInfo
from lawder_edge.errors import BadCheckpoint, BadInput
from lawder_edge.loading import _carried_lists
from lawder_edge.training.checkpoint import write_tensors
from lawder_edge.training.record import hash_ids

INFO = WeightsInfo("net", "{}", "0" * 64, (), hash_ids(["a/1"]), 0.5)


@pytest.fixture
def carried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The place of carried weights of a network `net`."""
    monkeypatch.setattr(weights, "BUNDLED", tmp_path)
    return tmp_path / "net.safetensors"


def test_a_bundle_of_the_carried_weights_knows_what_they_have_seen(carried: Path) -> None:
    record = {"model": "net", "train_ids": ["a/1"], "val_ids": ["a/2"]}
    write_tensors(carried, {"w": torch.zeros(1)}, {"record": json.dumps(record)})
    known = _carried_lists(INFO)
    assert known is not None
    assert (known.ids, known.selection_ids) == ({"a/1"}, {"a/2"})
    other = WeightsInfo("net", "{}", "0" * 64, (), hash_ids(["a/3"]), 0.5)
    assert _carried_lists(other) is None


def test_an_int8_bundle_is_held_against_the_int8_weights(carried: Path) -> None:
    for path, ids in ((carried, ["a/9"]), (carried.with_name("net_int8.safetensors"), ["a/1"])):
        record = json.dumps({"model": "net", "train_ids": ids})
        write_tensors(path, {"w": torch.zeros(1)}, {"record": record})
    assert _carried_lists(INFO) is None
    known = _carried_lists(INFO, int8=True)
    assert known is not None
    assert known.ids == {"a/1"}


@pytest.mark.parametrize("header", [{}, {"record": "3"}, {"record": '{"model": "net", "train_ids": 3}'}])
def test_a_header_that_does_not_say_what_the_weights_are_is_named(header: dict[str, str], carried: Path) -> None:
    write_tensors(carried, {"w": torch.zeros(1)}, header)
    with pytest.raises(BadCheckpoint, match=r"net\.safetensors: its header does not say"):
        _carried_lists(INFO)


def test_a_bundle_of_carried_weights_for_a_smaller_picture_knows_what_they_have_seen(carried: Path) -> None:
    for path, ids in ((carried, ["a/9"]), (carried.with_name("net_64.safetensors"), ["a/1"])):
        write_tensors(path, {"w": torch.zeros(1)}, {"record": json.dumps({"model": "net", "train_ids": ids})})
    known = _carried_lists(INFO)
    assert known is not None
    assert known.ids == {"a/1"}


def test_carried_weights_are_those_of_the_name_then_those_for_a_side(carried: Path) -> None:
    for stem in ("net", "net_128", "net_64", "net_64_int8", "net_int8", "net_wide", "nets", "net_wide_64"):
        carried.with_name(f"{stem}.safetensors").touch()
    assert [path.stem for path in weights.carried_weights("net")] == ["net", "net_64", "net_128"]
    assert [weights.carried_weights(odd) for odd in ("/net", "../net", "**net", "n*t", "")] == [()] * 5
    assert [path.stem for path in weights.carried_weights("net", int8=True)] == ["net_int8", "net_64_int8"]
    carried.with_name("net.md").touch()
    assert weights.bundled_card("net_64") == weights.bundled_card("net") == carried.with_name("net.md")


def test_an_unknown_name_is_told_the_names_of_carried_weights(carried: Path) -> None:
    carried.with_name("net_64.safetensors").touch()
    with pytest.raises(BadInput, match=r"unknown model 'net_96'.*carries weights for: net_64\."):
        weights.load_model("net_96")
