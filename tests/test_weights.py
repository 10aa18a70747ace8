"""Trained modules by what a person types."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from lawder_edge.errors import BadCheckpoint, BadInput
from lawder_edge.models import create_model
from lawder_edge.training.checkpoint import save_weights, write_weights
from lawder_edge.training.record import WeightsRecord
from lawder_edge.weights import load_model

OWN = "own_network:Net"
SOURCE = """
from pathlib import Path
import torch
Path(__file__).with_name("was_imported").touch()
class Net(torch.nn.Conv2d):
    def __init__(self):
        super().__init__(3, 1, 1)
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Weights of a network whose code lies beside them."""
    (tmp_path / "own_network.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(str(tmp_path))
    path = tmp_path / "own.safetensors"
    save_weights(path, nn.Conv2d(3, 1, 1), WeightsRecord(OWN))
    return path


def test_a_file_that_names_a_network_of_its_own_imports_no_code(own: Path) -> None:
    with pytest.raises(BadInput, match=r"If you trust it: --model own_network:Net="):
        load_model(str(own))
    assert not (own.parent / "was_imported").exists()


def test_a_network_that_the_person_named_takes_the_weights_of_the_file(own: Path) -> None:
    loaded = load_model(f"{OWN}={own}")
    assert loaded.record.model == OWN
    assert type(loaded.module).__name__ == "Net"
    assert (own.parent / "was_imported").exists()


def test_a_network_of_ones_own_comes_without_weights_too(own: Path) -> None:
    assert load_model(OWN).record == WeightsRecord(OWN)
    assert own.exists()


@pytest.mark.parametrize("name", ["mk_unet_l", "no_such_model"])
def test_a_name_without_weights_says_what_to_do(name: str) -> None:
    with pytest.raises(
        BadInput, match=r"carries no weights for 'mk_unet_l'.*lawder-edge train.*--model CHECKPOINT|unknown model"
    ):
        load_model(name)


@pytest.mark.parametrize("record", [WeightsRecord("order", threshold=7.0), WeightsRecord("order", size=100)])
def test_a_record_that_no_training_writes_is_refused(tmp_path: Path, record: WeightsRecord) -> None:
    write_weights(tmp_path / "w.safetensors", dict(create_model("order").state_dict()), record)
    with pytest.raises(BadCheckpoint, match=r"threshold 7|size 100"):
        load_model(str(tmp_path / "w.safetensors"))


def test_a_damaged_tensor_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    write_weights(path, {"w": torch.zeros(8)}, WeightsRecord("order"))
    damaged = bytearray(path.read_bytes())
    damaged[-1] ^= 1
    path.write_bytes(bytes(damaged))
    with pytest.raises(BadCheckpoint, match="damaged since it was written"):
        load_model(str(path))
