"""A quantised network as a module that computes at any size, and as a program for the exporters."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from lawder_edge.quantization.convert import to_program
from lawder_edge.quantization.prepare import RoundedNetwork, prepare
from lawder_edge.quantization.scales import Scales

if TYPE_CHECKING:
    from torch.export import ExportedProgram


class QuantizedNetwork(nn.Module):
    """Computes in PyTorch what int8 devices compute: (B, C, H, W) in [-1, 1) -> (B, K, H, W) logits on their grid.

    deployed: of `to_deploy`, with the weights that the scales were learnt with. The first call at a size traces the
    network at it, which takes seconds.
    """

    def __init__(self, deployed: nn.Module, scales: Scales, *, channels: int) -> None:
        super().__init__()
        self.deployed = deployed
        self.scales = scales
        self.channels = channels
        self._traced: dict[tuple[int, int], RoundedNetwork] = {}

    def forward(self, x: Tensor) -> Tensor:
        size = (x.shape[2], x.shape[3])
        if size not in self._traced:
            self._traced[size] = prepare(self.deployed, size=size, channels=self.channels, scales=self.scales).eval()
        logits: Tensor = self._traced[size](x)
        return logits

    def program(self, size: tuple[int, int], *, dynamic_batch: bool = False) -> ExportedProgram:
        """With quantize and dequantize nodes, at one size (H, W) in pixels. dynamic_batch: any batch rather than 1."""
        example = torch.zeros(2 if dynamic_batch else 1, self.channels, *size)
        free = ({0: torch.export.Dim.DYNAMIC},) if dynamic_batch else None
        return to_program(self.deployed, self.scales, example=example, dynamic_shapes=free)
