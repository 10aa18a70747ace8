"""The network that features come from."""

from __future__ import annotations

import torch

from lawder_edge.models.lite0 import FEATURES, SIDE_PX, Lite0
from lawder_edge.training.pretrained import load_lite0


def test_the_published_weights_fit_and_tell_pictures_apart() -> None:
    network = load_lite0()
    # 4,652,008 parameters (the paper of Lite0 says 4.7 M) less the classifier of 1,000 classes.
    assert sum(p.numel() for p in network.parameters()) == 4_652_008 - 1000 * 1281
    torch.manual_seed(0)
    with torch.no_grad():
        features = network(torch.rand(2, 3, SIDE_PX, SIDE_PX) * torch.tensor([0.2, 1.0]).view(2, 1, 1, 1))
    assert features.shape == (2, FEATURES)
    assert features.min() >= 0
    assert (features[0] - features[1]).abs().max() > 0.1


def test_a_stride_of_two_starts_at_the_first_pixel_as_in_tensorflow() -> None:
    network = Lite0()
    stem = network._conv_stem
    torch.nn.init.zeros_(stem.weight)
    stem.weight.data[0, 0, 0, 0] = 1
    x = torch.arange(64.0).view(1, 1, 8, 8).repeat(1, 3, 1, 1)
    # SAME on an even side pads on the right and below alone, so the corner tap reads pixels 0, 2, 4, 6.
    assert torch.equal(stem(x)[0, 0], x[0, 0, ::2, ::2])
