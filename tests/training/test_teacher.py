"""Learning from a larger network."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from lawder_edge.errors import BadInput
from lawder_edge.training.batches import Batch, TrainData, augmented_batch, normalise
from lawder_edge.training.checkpoint import fingerprint, read_tensors, read_weights
from lawder_edge.training.config import TrainConfig
from lawder_edge.training.loop import train
from lawder_edge.training.losses import bce_dice
from lawder_edge.training.record import WeightsRecord
from lawder_edge.training.teacher import TaughtTrainee, check_teacher, from_teacher, taught_by, teach
from lawder_edge.training.trainee import TrainedNetwork

CONFIG = TrainConfig(
    model="mk_unet_t", schedule="32x2", batch=4, warmup_steps=2, checkpoint_every=1, val_every=1, ema_decay=0.9
)


class Bright(nn.Module):
    """Says polyp where the picture is brighter than `cut`; counts the pictures that it was asked about."""

    def __init__(self, cut: float = 0.0) -> None:
        super().__init__()
        self.cut, self.asked = nn.Parameter(torch.tensor(cut)), 0

    def forward(self, x: Tensor) -> Tensor:
        self.asked += len(x)
        return 40 * (x.mean(1, keepdim=True) - self.cut)


def loaded(model: nn.Module, **record: object) -> TrainedNetwork:
    told = WeightsRecord(model="bright", size=64, train_ids=("hospital/1",), val_ids=("hospital/2",))
    return TrainedNetwork(model, dataclasses.replace(told, **record), fingerprint(dict(model.state_dict())))  # type: ignore[arg-type]


def test_the_teachers_word_is_the_mean_over_flips_put_back_in_place() -> None:
    class LeftHalf(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gain = nn.Parameter(torch.tensor(100.0))

        def forward(self, x: Tensor) -> Tensor:
            ramp = torch.where(torch.arange(x.shape[3]) < x.shape[3] // 2, 1.0, -1.0)
            return self.gain * (ramp.expand(len(x), 1, *x.shape[2:]) + 3 * (x[:, :1] > 0))

    frame = np.zeros((1, 8, 8, 3), np.uint8)
    frame[0, 2, 5] = 255
    said = teach(LeftHalf(), frame)[0]
    expected = np.full((8, 8), 128)
    expected[2, 5] = 255
    np.testing.assert_array_equal(said, expected)


def test_the_teacher_is_asked_once_for_the_same_pictures(tmp_path: Path, train_data: TrainData) -> None:
    teacher = Bright()
    first = taught_by(loaded(teacher), train_data, cache=tmp_path)
    assert teacher.asked == 4 * len(train_data)
    again = taught_by(loaded(teacher), train_data, cache=tmp_path)
    assert teacher.asked == 4 * len(train_data)
    assert first.taught is not None
    assert again.taught is not None
    np.testing.assert_array_equal(first.taught, again.taught)
    bright = normalise(train_data.images)[:, :].mean(1).numpy() > 0
    assert ((first.taught > 127) == bright).mean() > 0.99

    taught_by(loaded(other := Bright(0.3)), train_data, cache=tmp_path)
    assert other.asked == 4 * len(train_data)


def test_the_teacher_is_asked_anew_where_a_picture_has_changed_under_its_name(
    tmp_path: Path, train_data: TrainData
) -> None:
    taught_by(loaded(Bright()), train_data, cache=tmp_path)
    changed = dataclasses.replace(train_data, images=255 - train_data.images)
    again = taught_by(loaded(teacher := Bright()), changed, cache=tmp_path)
    assert teacher.asked == 4 * len(changed)
    assert again.taught is not None
    np.testing.assert_array_equal(again.taught, teach(Bright(), changed.images))


@pytest.mark.parametrize("told", [{"num_classes": 3}, {"in_channels": 1}])
def test_a_teacher_of_other_pictures_is_refused(told: dict[str, int]) -> None:
    check_teacher(CONFIG, loaded(Bright()))
    with pytest.raises(BadInput, match="wanted 3 and 1"):
        check_teacher(CONFIG, loaded(Bright(), **told))


def test_a_student_of_several_classes_has_no_teacher() -> None:
    with pytest.raises(BadInput, match="a student of 3 classes"):
        check_teacher(dataclasses.replace(CONFIG, num_classes=3), loaded(Bright()))


def test_the_loss_is_least_where_the_student_is_as_sure_as_its_teacher() -> None:
    sure = (torch.rand(2, 32, 32, generator=torch.Generator().manual_seed(0)) > 0.7).float()
    own = torch.logit(sure.clamp(1 / 510, 1 - 1 / 510))[:, None]
    least = from_teacher(own, sure, temperature=2.0)
    for moved in (own + 2, own - 2, own * 0.5, -own, torch.zeros_like(own)):
        assert from_teacher(moved, sure, temperature=2.0) > least + 0.005


def test_errors_near_a_contour_cost_more_than_others() -> None:
    taught = torch.zeros(1, 96, 96)
    taught[:, 32:64, 32:64] = 1
    own = torch.logit(taught.clamp(1 / 510, 1 - 1 / 510))[:, None]
    at_contour, far = own.clone(), own.clone()
    at_contour[..., 30, 48] = 5.0
    far[..., 2, 2] = 5.0
    assert from_teacher(at_contour, taught, temperature=2.0) > from_teacher(far, taught, temperature=2.0)


def test_a_taught_network_answers_for_the_true_masks_and_for_its_teachers() -> None:
    config = dataclasses.replace(CONFIG, teacher_weight=3.0, temperature=2.0)
    logits = torch.randn(2, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    labels = torch.zeros(2, 32, 32, dtype=torch.int64)
    batch = Batch(torch.zeros(2, 3, 32, 32), labels, torch.full((2, 32, 32), 0.75))
    assert batch.taught is not None
    trainee = TaughtTrainee(config, loaded(Bright()).record, fingerprint="ab" * 32)
    expected = bce_dice(logits, labels) + 3 * from_teacher(logits, batch.taught, temperature=2.0)
    torch.testing.assert_close(trainee.loss(logits, batch), expected)


def test_where_picture_and_teacher_show_nothing_cross_entropy_alone_pulls() -> None:
    logits = torch.zeros(1, 1, 32, 32, requires_grad=True)
    (slope,) = torch.autograd.grad(from_teacher(logits, torch.zeros(1, 32, 32), temperature=2.0), logits)
    least = torch.sigmoid(torch.logit(torch.tensor(1 / 510)) / 2)
    torch.testing.assert_close(slope, torch.full_like(slope, float((0.5 - least) / 2 / 32**2)))


def test_without_colour_or_geometry_a_batch_holds_what_the_teacher_said(tmp_path: Path, train_data: TrainData) -> None:
    data = taught_by(loaded(Bright()), train_data, cache=tmp_path)
    batch = augmented_batch(data, np.array([3, 1]), size=64, seed=0, pass_index=0, config=None)
    assert batch.taught is not None
    assert data.taught is not None
    np.testing.assert_allclose(batch.taught.numpy(), data.taught[[3, 1]] / 255, atol=1e-6)


def test_a_taught_run_that_is_killed_and_resumed_equals_one_that_was_not_and_tells_whose_pictures_it_knows(
    tmp_path: Path, train_data: TrainData, val_data: TrainData
) -> None:
    data = taught_by(loaded(Bright()), train_data, cache=tmp_path)

    def trainee() -> TaughtTrainee:
        return TaughtTrainee(CONFIG, loaded(Bright()).record, fingerprint="ab" * 32)

    def kill(p: SimpleNamespace) -> None:
        if p.step == 4:
            raise RuntimeError("killed")

    for name in ("whole", "part"):
        (tmp_path / name).mkdir()
    train(CONFIG, data, val=val_data, out=tmp_path / "whole", trainee=trainee(), cpu=True)
    with pytest.raises(RuntimeError, match="killed"):
        train(CONFIG, data, val=val_data, out=tmp_path / "part", trainee=trainee(), on_step=kill, cpu=True)  # type: ignore[arg-type]
    train(CONFIG, data, val=val_data, out=tmp_path / "part", trainee=trainee(), resume=True, cpu=True)
    whole, part = (read_tensors(tmp_path / name / "best.safetensors")[0] for name in ("whole", "part"))
    assert fingerprint(whole) == fingerprint(part)
    record = read_weights(tmp_path / "whole" / "best.safetensors")[1]
    assert record.train_ids == ("hospital/1", *train_data.ids)
    assert record.val_ids == ("hospital/2", *val_data.ids)


def test_data_without_a_teachers_masks_is_refused(tmp_path: Path, train_data: TrainData, val_data: TrainData) -> None:
    trainee = TaughtTrainee(CONFIG, loaded(Bright()).record, fingerprint="ab" * 32)
    with pytest.raises(BadInput, match="no teacher's masks"):
        train(CONFIG, train_data, val=val_data, out=tmp_path, trainee=trainee, cpu=True)
