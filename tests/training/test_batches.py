"""What the network is given in training is what it is given on a device."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from lawder_edge.bundle import processing
from lawder_edge.data.augment import AugmentConfig, Example
from lawder_edge.data.clear import clear_part
from lawder_edge.training.batches import (
    Batch,
    SyntheticPart,
    TrainData,
    at_size,
    augmented_batch,
    clear_parts,
    emptied,
    normalise,
)
from lawder_edge.training.loop import predict_probabilities
from lawder_edge.training.prepare import note_on_empty


@pytest.mark.parametrize("channels", [1, 3])
def test_a_batch_is_normalised_as_a_device_normalises_a_frame_to_the_bit(channels: int) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (3, 32, 64, channels), dtype=np.uint8)
    frames[0, 0, :2] = [[0], [255]]
    expected = [processing.to_tensor(frame, (32, 64), channels=channels) for frame in frames]
    np.testing.assert_array_equal(normalise(frames).numpy(), np.concatenate(expected))


def test_a_batch_has_its_channels_last_in_memory_on_the_device_too(train_data: TrainData) -> None:
    batch = augmented_batch(train_data, np.arange(3), size=32, seed=0, pass_index=0, config=None)
    for frames in (batch.frames, batch.to(torch.device("cpu")).frames, batch.frames.double()):
        assert frames.is_contiguous(memory_format=torch.channels_last)
        assert not frames.is_contiguous()


def test_all_pictures_of_a_set_are_brought_to_one_size_by_the_deployed_resize(train_data: TrainData) -> None:
    images, labels = at_size(train_data, 32)
    assert (images.shape, labels.shape) == ((12, 32, 32, 3), (12, 32, 32))
    np.testing.assert_array_equal(images[3], processing.resize(train_data.images[3], (32, 32)))


@pytest.mark.parametrize("classes", [1, 3])
def test_validation_sees_the_probabilities_that_a_device_computes(classes: int) -> None:
    class Steep(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.linspace(-90, 90, classes).view(1, -1, 1, 1) + 1)

        def forward(self, x: Tensor) -> Tensor:
            return x.mean(1, keepdim=True) * self.weight

    frames = np.random.default_rng(0).integers(0, 256, (11, 8, 8, 3), dtype=np.uint8)
    model = Steep()
    with torch.no_grad():
        logits = model(normalise(frames)).numpy()
    np.testing.assert_array_equal(predict_probabilities(model, frames).numpy(), processing.probabilities(logits))


def _batch(data: TrainData, share: float, *places: int, pass_index: int = 0, seed: int = 0) -> Batch:
    indices = np.array(places or range(len(data)))
    return augmented_batch(
        data, indices, size=64, seed=seed, pass_index=pass_index, config=AugmentConfig(), empty_share=share
    )


def test_an_empty_share_of_the_pictures_shows_nothing_and_the_others_are_changed_as_without_it(
    sparse_data: TrainData,
) -> None:
    without, few, many = (_batch(sparse_data, share) for share in (0.0, 0.4, 0.8))
    same = [{i for i in range(12) if torch.equal(batch.frames[i], without.frames[i])} for batch in (without, few, many)]
    assert same[2] < same[1] < same[0]
    for batch, kept in ((few, same[1]), (many, same[2])):
        for i in range(12):
            assert torch.equal(batch.labels[i], without.labels[i]) if i in kept else not batch.labels[i].any()


def test_which_pictures_are_emptied_depends_on_seed_pass_and_place_alone(sparse_data: TrainData) -> None:
    whole = _batch(sparse_data, 0.5)
    halves = [_batch(sparse_data, 0.5, *places) for places in (range(6), range(6, 12))]
    assert torch.equal(whole.frames, torch.cat([half.frames for half in halves]))
    assert torch.equal(whole.labels, torch.cat([half.labels for half in halves]))

    def emptied_places(**drawn: int) -> list[bool]:
        return [not labels.any() for labels in _batch(sparse_data, 0.5, **drawn).labels]

    assert emptied_places() == emptied_places()
    assert len({tuple(emptied_places(pass_index=p, seed=s)) for p in range(2) for s in range(2)}) == 4


def test_in_many_passes_the_share_of_empty_pictures_is_the_one_asked_for(sparse_data: TrainData) -> None:
    small = dataclasses.replace(
        sparse_data, images=sparse_data.images[:, ::4, ::4], labels=sparse_data.labels[:, ::4, ::4]
    )
    empty = [
        not labels.any()
        for p in range(60)
        for labels in augmented_batch(
            small, np.arange(12), size=16, seed=0, pass_index=p, config=None, empty_share=0.25
        ).labels
    ]
    assert np.mean(empty) == pytest.approx(0.25, abs=0.05)


def test_a_picture_that_its_foreground_fills_stays_as_it_is(train_data: TrainData) -> None:
    assert all(clear_part(labels) is None for labels in train_data.labels)
    without, with_share = (_batch(train_data, share) for share in (0.0, 0.99))
    assert torch.equal(with_share.frames, without.frames)


def test_of_a_part_without_foreground_the_teacher_says_nothing(sparse_data: TrainData) -> None:
    data = dataclasses.replace(sparse_data, taught=np.full_like(sparse_data.labels, 200))
    batch = _batch(data, 0.5)
    assert batch.taught is not None
    empty = {i for i in range(12) if not batch.labels[i].any()}
    assert 0 < len(empty) < 12
    for i in range(12):
        assert bool(batch.taught[i].any()) is (i not in empty)


def test_the_part_that_stands_in_is_cut_from_the_picture_itself(sparse_data: TrainData) -> None:
    part = emptied(Example(sparse_data.images[0], sparse_data.labels[0]))
    window = clear_part(sparse_data.labels[0])
    assert part is not None
    assert window is not None
    np.testing.assert_array_equal(part.frame, window.of(sparse_data.images[0]))
    assert part.labels.shape == part.frame.shape[:2]
    assert not part.labels.any()


def test_the_clear_parts_of_a_set_are_those_of_the_pictures_that_have_one(
    sparse_data: TrainData, train_data: TrainData
) -> None:
    parts = clear_parts(sparse_data, 32)
    assert parts.shape == (12, 32, 32, 3)
    first = emptied(Example(sparse_data.images[0], sparse_data.labels[0]))
    assert first is not None
    np.testing.assert_array_equal(parts[0], processing.resize(first.frame, (32, 32)))
    assert clear_parts(train_data, 32).shape == (0, 32, 32, 3)


def test_the_share_told_beforehand_is_of_a_pass_which_takes_some_of_the_synthetic_pictures(
    sparse_data: TrainData,
) -> None:
    labels = sparse_data.labels.copy()
    labels[:3] = 1  # of the six real ones, three have no part without foreground
    data = dataclasses.replace(sparse_data, labels=labels)
    assert "9 of 12 training pictures" in note_on_empty(data, share=0.2)
    assert "15.0% of what" in note_on_empty(data, share=0.2)
    part = SyntheticPart(pictures=6, per_pass=2, sources=(), seen_ids=(), seen_groups=())
    # 3 of 6 real ones and 2 synthetic ones of a pass of 8.
    assert "12.5% of what" in note_on_empty(dataclasses.replace(data, synthetic=part), share=0.2)
