"""What people name on the command line."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from bundle_samples import sample_manifest

from lawder_edge import loading
from lawder_edge.bundle.runner import ManifestRunner
from lawder_edge.bundle.store import Bundle
from lawder_edge.errors import BadCheckpoint
from lawder_edge.evaluation.overlap import TrainedOn
from lawder_edge.loading import load_predictor
from lawder_edge.training.checkpoint import FORMAT, WeightsRecord, write_tensors, write_weights
from lawder_edge.weights import hash_ids

SEEN = ("a/1", "a/2")


@pytest.fixture
def carried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the weights lie that the package carries for the network of an opened bundle."""
    manifest = sample_manifest()
    weights = dataclasses.replace(manifest.weights, train_ids_sha256=hash_ids(SEEN))
    bundle = Bundle(tmp_path, dataclasses.replace(manifest, weights=weights))
    monkeypatch.setattr("lawder_edge.bundle.store.open_bundle", lambda path: bundle)
    monkeypatch.setattr("lawder_edge.targets.registry.load_runner", lambda *_, **__: ManifestRunner(bundle.manifest))
    monkeypatch.setattr(ManifestRunner, "__abstractmethods__", frozenset())
    path = tmp_path / "net.safetensors"
    monkeypatch.setattr(loading, "bundled_weights", lambda name, int8=False: path)
    return path


@pytest.mark.parametrize("ids", [SEEN, ("b/1",)])
def test_a_bundle_of_carried_weights_knows_what_they_have_seen(ids: tuple[str, ...], carried: Path) -> None:
    write_weights(carried, {"w": torch.zeros(1)}, WeightsRecord("net", train_ids=ids, val_groups=("v",)))
    predictor = load_predictor(str(carried.parent))
    assert (predictor.model, predictor.precision, predictor.threshold) == ("net", "fp32", 0.42)
    known = TrainedOn(frozenset(SEEN), selection_groups=frozenset({"v"}))
    assert predictor.trained_on == (known if ids == SEEN else None)


@pytest.mark.parametrize("record", ["{}", "[1]", '{"model": "net", "train_ids": 3}'])
def test_carried_weights_whose_header_is_damaged_are_named(record: str, carried: Path) -> None:
    write_tensors(carried, {"w": torch.zeros(1)}, {"format": FORMAT, "record": record})
    with pytest.raises(BadCheckpoint, match=r"net\.safetensors: its header does not say what these weights are"):
        load_predictor(str(carried.parent))
