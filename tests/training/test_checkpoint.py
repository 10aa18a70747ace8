"""Weights on disk."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
import torch

from lawder_edge.errors import BadCheckpoint
from lawder_edge.models import create_model
from lawder_edge.training.checkpoint import (
    fingerprint,
    load_into,
    read_tensors,
    read_weights,
    save_weights,
    write_tensors,
)
from lawder_edge.training.record import WeightsRecord


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "order.safetensors"
    save_weights(path, create_model("order"), WeightsRecord("order", train_ids=("a/1", "a/2"), threshold=0.4))
    return path


def test_weights_come_back_with_their_record(saved: Path) -> None:
    tensors, record = read_weights(saved)
    assert record == WeightsRecord("order", train_ids=("a/1", "a/2"), threshold=0.4)
    model = create_model("order")
    load_into(model, tensors, source="test")
    assert fingerprint(dict(model.state_dict())) == fingerprint(tensors)


def test_a_truncated_file_is_refused_with_its_name_and_size(saved: Path) -> None:
    saved.write_bytes(saved.read_bytes()[:5000])
    with pytest.raises(BadCheckpoint, match=r"order\.safetensors: not a complete safetensors file .*5000 bytes"):
        read_weights(saved)


def test_a_corrupt_header_is_refused(saved: Path) -> None:
    saved.write_bytes(b"\xff" * 8 + saved.read_bytes()[8:])
    with pytest.raises(BadCheckpoint, match="not a complete safetensors file"):
        read_weights(saved)


def test_foreign_safetensors_are_refused_by_their_format(tmp_path: Path) -> None:
    path = tmp_path / "foreign.safetensors"
    write_tensors(path, {"w": torch.zeros(1)}, {"format": "pt"})
    with pytest.raises(BadCheckpoint, match="format 'pt'"):
        read_weights(path)


def test_weights_of_another_model_name_what_does_not_fit(saved: Path) -> None:
    tensors, _ = read_weights(saved)
    with pytest.raises(BadCheckpoint, match=r"weights are of another model than MKUNet: .* unknown \(first: adapters"):
        load_into(create_model("mk_unet_t"), tensors, source=str(saved))


def test_a_disk_that_fills_up_leaves_the_old_file(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = saved.read_bytes()

    def full(_fd: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        save_weights(saved, create_model("order"), WeightsRecord("order"))
    assert saved.read_bytes() == before
    assert [p.name for p in saved.parent.iterdir()] == ["order.safetensors"]


def test_a_pickle_is_not_opened(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    torch.save({"w": torch.zeros(1)}, path)
    with pytest.raises(BadCheckpoint):
        read_tensors(path)


def test_the_fingerprint_sees_one_changed_bit() -> None:
    a = {"w": torch.zeros(3)}
    assert fingerprint(a) == fingerprint({"w": torch.zeros(3)})
    assert fingerprint(a) != fingerprint({"w": torch.tensor([0.0, 0.0, 1e-45])})
