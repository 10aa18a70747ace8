"""What a file takes and gives other than float32 frames and logits, as part of the program, for the ONNX family."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import torch

# Registers torch.ops.quantized_decomposed.
import torch.ao.quantization.fx._decomposed
from torch import Tensor, nn

from lawder_edge.bundle.manifest import InputType, OutputKind
from lawder_edge.targets.program import to_program
from lawder_edge.targets.registry import ExportSpec

if TYPE_CHECKING:
    from torch.export import ExportedProgram

# (rgb - 128) / 128 of the samples as they are, and of those XOR 0x80, is a dequantisation at 1/128: exact.
_INPUTS: dict[InputType, tuple[torch.dtype, int, int, int]] = {
    "uint8": (torch.uint8, 128, 0, 255),
    "int8": (torch.int8, 0, -128, 127),
}


def with_edges(program: ExportedProgram, spec: ExportSpec) -> ExportedProgram:
    """program: float32 frames (B, channels, H, W) to logits (B, classes, H, W), at the spec's size.

    Returns: the same between the spec's input type and output; masks are (B, 1, H, W) uint8. The program itself where
    nothing changes. Raises BadInput as `program.to_program`.
    """
    taken = spec.input_type or "float32"
    if taken == "float32" and spec.output == "logits":
        return program
    network = WithEdges(program.module(check_guards=False), taken, spec.output, threshold=spec.threshold)
    dtype = torch.float32 if taken == "float32" else _INPUTS[taken][0]
    channels = 1 if spec.output == "mask" else spec.classes
    return to_program(network, replace(spec, classes=channels), dtype=dtype)


class WithEdges(nn.Module):
    """network: float32 frames to logits; its mode is left alone, since a traced program has none to change."""

    def __init__(self, network: nn.Module, taken: InputType, given: OutputKind, *, threshold: float) -> None:
        super().__init__()
        self.network = network
        self._taken, self._given = taken, given
        # Of one class: logits from here on are foreground.
        self._cut = math.log(threshold / (1 - threshold))

    def train(self, mode: bool = True) -> WithEdges:
        self.training = mode
        return self

    def forward(self, x: Tensor) -> Tensor:
        if self._taken != "float32":
            dtype, zero_point, low, high = _INPUTS[self._taken]
            x = torch.ops.quantized_decomposed.dequantize_per_tensor(x, 1 / 128, zero_point, low, high, dtype)
        y: Tensor = self.network(x)
        several = y.shape[1] > 1
        if self._given == "probabilities":
            return y.softmax(1) if several else y.sigmoid()
        if self._given == "mask":
            return (y.argmax(1, keepdim=True) if several else y >= self._cut).to(torch.uint8)
        return y
