"""What the network is given in training is what it is given on a device."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from lawder_edge.bundle import processing
from lawder_edge.training.batches import TrainData, at_size, augmented_batch, normalise
from lawder_edge.training.loop import predict_probabilities


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
