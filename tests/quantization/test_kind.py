"""Pictures of another kind than those that the float network was trained on."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from lawder_edge.quantization.kind import LOW_DICE, dice_of_present, note_on_kind
from lawder_edge.training import processes
from lawder_edge.training.batches import TrainData
from lawder_edge.training.prepare import PreparedRun
from lawder_edge.training.record import WeightsRecord
from lawder_edge.weights import LoadedModel

SIDE = 32


class Brightest(nn.Module):
    """Three classes by the brightest of three channels, which is what it was 'trained' on."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Conv2d(3, 3, 1, bias=False)
        self.head.weight = nn.Parameter(torch.eye(3)[:, :, None, None])

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(x)
        return logits


def by_channel(*, order: tuple[int, int, int] = (0, 1, 2)) -> TrainData:
    """Four pictures whose channel `order[c]` is bright where class c is; class 2 is in the last one alone."""
    labels = np.zeros((4, SIDE, SIDE), np.uint8)
    labels[:, 4:20, 4:20] = 1
    labels[3, 22:30, 22:30] = 2
    images = np.zeros((4, SIDE, SIDE, 3), np.uint8)
    for c in range(3):
        images[..., order[c]][labels == c] = 200
    return TrainData(images, labels, tuple(f"ct/{i}" for i in range(4)), np.zeros(4, np.int64))


def darkened(data: TrainData) -> TrainData:
    """The same squares, darker than what is around them: a modality that shows them otherwise."""
    return dataclasses.replace(data, images=255 - data.images)


def test_pictures_in_which_the_float_network_finds_its_kind_are_not_warned_of(
    loaded: LoadedModel, run: PreparedRun
) -> None:
    assert note_on_kind(loaded.computed, loaded.record, val=run.val, size=SIDE, cpu=True) is None


def test_pictures_of_another_kind_are_warned_of_with_what_to_give_instead(
    loaded: LoadedModel, run: PreparedRun
) -> None:
    other = darkened(run.val)
    note = str(note_on_kind(loaded.computed, loaded.record, val=other, size=SIDE, cpu=True))
    assert "finds little in these pictures: Dice 0." in note
    assert f"on 4 validation pictures at {SIDE} px; wanted {LOW_DICE} or more" in note
    assert "not of the kind that it was trained on (tiny)" in note
    assert "Give --data and --split pictures of that kind" in note
    assert "--size" not in note
    elsewhere = dataclasses.replace(loaded.record, size=256, train_ids=())
    note = str(note_on_kind(loaded.computed, elsewhere, val=other, size=SIDE, cpu=True))
    assert "trained on, and ranges" in note
    assert note.endswith("or --size 256, which these weights were chosen at")


def test_several_classes_are_warned_of_where_they_are_not_found() -> None:
    record = WeightsRecord(model="mine:Brightest", num_classes=3, size=SIDE)
    assert note_on_kind(Brightest(), record, val=by_channel(), size=SIDE, cpu=True) is None
    mixed_up = by_channel(order=(1, 2, 0))
    assert "Dice 0.0000" in str(note_on_kind(Brightest(), record, val=mixed_up, size=SIDE, cpu=True))


def test_a_network_that_finds_nothing_is_not_praised_for_what_is_not_there() -> None:
    labels = torch.from_numpy(by_channel().labels).long()
    nothing = torch.zeros(4, 3, SIDE, SIDE)
    nothing[:, 0] = 1
    assert dice_of_present(nothing, labels) == 0
    exact = nn.functional.one_hot(labels, 3).permute(0, 3, 1, 2).float()
    assert dice_of_present(exact, labels) == 1
    without_the_rare = exact.clone()
    without_the_rare[:, 2] = 0
    # Class 1 in four pictures, class 2 in one.
    assert dice_of_present(without_the_rare, labels) == pytest.approx(4 / 5)


def test_one_class_is_measured_at_its_threshold() -> None:
    labels = torch.ones(1, 4, 4, dtype=torch.long)
    probabilities = torch.full((1, 1, 4, 4), 0.4)
    assert dice_of_present(probabilities, labels) == 0
    assert dice_of_present(probabilities, labels, threshold=0.3) == 1


def test_pictures_without_foreground_tell_nothing(loaded: LoadedModel, run: PreparedRun) -> None:
    empty = dataclasses.replace(darkened(run.val), labels=np.zeros_like(run.val.labels))
    assert note_on_kind(loaded.computed, loaded.record, val=empty, size=SIDE, cpu=True) is None


def test_one_of_several_processes_measures(
    loaded: LoadedModel, run: PreparedRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", "1")
    assert not processes.is_first()
    assert note_on_kind(loaded.computed, loaded.record, val=darkened(run.val), size=SIDE, cpu=True) is None
