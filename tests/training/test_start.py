"""Going on from trained weights."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from lawder_edge.errors import BadCheckpoint, BadInput
from lawder_edge.models import create_model
from lawder_edge.training.batches import TrainData
from lawder_edge.training.checkpoint import fingerprint, read_tensors, read_weights
from lawder_edge.training.clean import note_on_history, note_on_seen
from lawder_edge.training.config import TrainConfig
from lawder_edge.training.loop import train
from lawder_edge.training.prepare import note_on_twins, note_on_warm_up
from lawder_edge.training.record import WeightsRecord
from lawder_edge.training.teacher import TaughtTrainee
from lawder_edge.training.trainee import FloatTrainee, TrainedNetwork, check_start

CONFIG = TrainConfig(
    model="mk_unet_t", schedule="32x1", batch=4, warmup_steps=2, checkpoint_every=1, val_every=1, learning_rate=1e-6
)


def start(**record: object) -> TrainedNetwork:
    network = create_model("mk_unet_t").eval()
    told = WeightsRecord(model="mk_unet_t", train_ids=("hospital/1",), val_ids=("hospital/2",))
    return TrainedNetwork(network, dataclasses.replace(told, **record), fingerprint(dict(network.state_dict())))  # type: ignore[arg-type]


def test_a_run_goes_on_from_the_weights_and_says_what_they_had_seen(
    tmp_path: Path, train_data: TrainData, val_data: TrainData
) -> None:
    begun = start()
    train(CONFIG, train_data, val=val_data, out=tmp_path, trainee=FloatTrainee(CONFIG, begun), cpu=True)
    tensors, record = read_weights(tmp_path / "best.safetensors")
    before = begun.network.state_dict()
    moved = [name for name, value in begun.network.named_parameters() if not torch.equal(tensors[name], value)]
    assert moved, "nothing was trained"
    for name in moved:
        # Three steps of at most 1e-6 each, of AdamW.
        torch.testing.assert_close(tensors[name], before[name], atol=1e-5, rtol=0)
    assert record.train_ids == ("hospital/1", *train_data.ids)
    assert record.val_ids == ("hospital/2", *val_data.ids)


def test_a_run_from_other_weights_is_not_resumed(tmp_path: Path, train_data: TrainData, val_data: TrainData) -> None:
    train(CONFIG, train_data, val=val_data, out=tmp_path, trainee=FloatTrainee(CONFIG, start()), cpu=True)
    done = fingerprint(read_tensors(tmp_path / "last.safetensors")[0])
    with pytest.raises(BadCheckpoint, match="start was"):
        train(CONFIG, train_data, val=val_data, out=tmp_path, trainee=FloatTrainee(CONFIG), resume=True, cpu=True)
    assert fingerprint(read_tensors(tmp_path / "last.safetensors")[0]) == done


def test_a_taught_student_tells_of_its_start_and_of_its_teacher() -> None:
    begun = start()
    taught = TaughtTrainee(CONFIG, begun.record, fingerprint="ab" * 32, start=begun)
    assert taught.facts() == {"start": begun.fingerprint[:16], "teacher": "ab" * 8}


@pytest.mark.parametrize("other", [{"model": "order"}, {"in_channels": 1}, {"num_classes": 3}])
def test_weights_of_another_network_are_refused(other: dict[str, object]) -> None:
    check_start(CONFIG, start())
    with pytest.raises(BadInput, match="weights to start from are of model"):
        check_start(CONFIG, start(**other))


def test_validation_pictures_and_patients_that_were_seen_before_are_told(val_data: TrainData) -> None:
    assert note_on_seen(val_data, ids=("hospital/1",), groups=("c",), by="order") is None
    pictures = note_on_seen(val_data, ids=(val_data.ids[0],), groups=(), by="order")
    assert pictures is not None
    assert "1 of its 4 pictures" in pictures
    patients = note_on_seen(val_data, ids=("hospital/1",), groups=("b",), by="order")
    assert patients is not None
    assert "trained on by order" in patients
    assert "1 of its 2 patients" in patients


def test_weights_that_do_not_say_what_they_saw_make_none_that_do(val_data: TrainData) -> None:
    made = WeightsRecord(model="order", train_ids=("ours/1",)).having_seen(WeightsRecord(model="order"))
    assert made.unlisted
    trained_on = made.trained_on()
    assert trained_on is not None
    assert trained_on.unlisted
    for record in (made, WeightsRecord(model="order")):
        assert "not recorded in full" in str(note_on_history(val_data, record, by="order"))
    assert made.having_seen(made).having_seen(WeightsRecord(model="order", train_ids=("a/1",))).unlisted


def test_a_picture_in_two_folders_is_told_where_one_of_them_validates(
    train_data: TrainData, val_data: TrainData
) -> None:
    assert note_on_twins(train_data, val_data) is None
    train, val = (
        dataclasses.replace(data, ids=(f"{folder}/cju0qkwl35piu0993l0dewei2", *data.ids[1:]))
        for folder, data in (("kvasir-seg", train_data), ("TrainDataset", val_data))
    )
    assert "1 of 4 validation pictures are trained on" in str(note_on_twins(train, val))


def test_a_run_that_is_over_before_its_rate_falls_is_told() -> None:
    config = dataclasses.replace(CONFIG, schedule="32x100", batch=12, warmup_steps=200)
    assert "rises for 200 of the 200 steps" in str(note_on_warm_up(config, pictures=30))
    assert "--warmup-steps 20," in str(note_on_warm_up(config, pictures=30))
    assert note_on_warm_up(config, pictures=300) is None


def test_a_run_without_an_option_for_the_warm_up_is_told_of_passes_alone() -> None:
    config = dataclasses.replace(CONFIG, schedule="32x2", batch=12, warmup_steps=50)
    note = str(note_on_warm_up(config, pictures=30, option=False))
    assert "rises for 4 of the 4 steps" in note
    assert "--passes 50," in note
    assert "--warmup-steps" not in note
    enough = dataclasses.replace(config, schedule="32x50")
    assert note_on_warm_up(enough, pictures=30, option=False) is None
