"""A small quantised network for the tests of the int8 targets."""

from __future__ import annotations

import torch
from target_contract import Tiny, randomised

from lawder_edge.exporting.verify import phantom_images
from lawder_edge.models.deploy import to_deploy
from lawder_edge.quantization.network import QuantizedNetwork
from lawder_edge.quantization.prepare import prepare
from lawder_edge.weights import TorchRunner


def quantized_tiny() -> QuantizedNetwork:
    """Tiny with ranges learnt from four phantom frames at 64 x 96."""
    # At a gain of 1 its logits are so steep that single steps move masks by more than the gates allow.
    deployed = to_deploy(randomised(Tiny(), gain=0.7))
    learning = prepare(deployed, size=(64, 96)).train()
    runner = TorchRunner(deployed, size=(64, 96))
    frames = [torch.from_numpy(runner.prepare(pair.frame)) for pair in phantom_images(4).read()]
    learning(torch.cat(frames))
    return QuantizedNetwork(deployed, learning.scales(), channels=3)
