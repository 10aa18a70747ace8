"""The quantised tensors of a network in the order of computation, and what PyTorch computes for each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.fx import GraphModule, Interpreter, Node

from lawder_edge.graph.lower import module_path
from lawder_edge.quantization.network import QuantizedNetwork


@dataclass(frozen=True)
class QuantizedTensor:
    """name: of the quantize node. module: as in `named_modules`, empty for the network itself. operator: what computes
    it, with the activation that follows. shape: as PyTorch has it, of one image.
    """

    name: str
    module: str
    operator: str
    shape: tuple[int, ...]
    scale: float
    zero_point: int


@dataclass(frozen=True)
class Computed:
    """Of one image, by the tensors' names. int8: PyTorch's integers, of the tensor's shape. moved: mean distance of
    those from the unrounded values, in steps; what saturates counts by as much as it was cut.
    """

    int8: Mapping[str, npt.NDArray[np.int8]]
    moved: Mapping[str, float]


class ProgramTensors:
    """network at one size (H, W). tensors: those that depend on the image; quantised constants are left out."""

    def __init__(self, network: QuantizedNetwork, *, size: tuple[int, int]) -> None:
        self._module = network.program(size).module(check_guards=False)
        nodes = [n for n in self._module.graph.nodes if _is_quantize(n) and n.args[0].op != "get_attr"]
        self.tensors = tuple(_tensor(node) for node in nodes)

    def compute(self, x: npt.NDArray[np.float32]) -> Computed:
        """x: (1, C, H, W) float32 in [-1, 1), as `processing.to_tensor` gives it.

        The unrounded values are those of the same weights, rounded as they are, with no activation rounded on the way.
        """
        given = torch.from_numpy(x)
        with torch.no_grad():
            rounded, real = _Recorder(self._module, rounds=True), _Recorder(self._module, rounds=False)
            rounded.run(given)
            real.run(given)
        moved = {}
        for t in self.tensors:
            wanted = real.found[t.name].double() / t.scale + t.zero_point
            moved[t.name] = float((rounded.found[t.name] - wanted).abs().mean())
        return Computed({t.name: rounded.found[t.name].numpy() for t in self.tensors}, moved)


class _Recorder(Interpreter):
    """Keeps the result of every quantize node. rounds: False leaves quantize and dequantize of activations out."""

    def __init__(self, module: GraphModule, *, rounds: bool) -> None:
        super().__init__(module)
        self._rounds = rounds
        self.found: dict[str, torch.Tensor] = {}

    def run_node(self, n: Node) -> Any:
        if not _is_quantize(n) and not _is_dequantize(n):
            return super().run_node(n)
        result = super().run_node(n) if self._rounds else self.fetch_args_kwargs_from_env(n)[0][0]
        if _is_quantize(n):
            # A copy: an operator in place may write into what was handed through.
            self.found[n.name] = result.clone()
        return result


def _is_quantize(node: Node) -> bool:
    return node.target is torch.ops.quantized_decomposed.quantize_per_tensor.default


def _is_dequantize(node: Node) -> bool:
    return node.target is torch.ops.quantized_decomposed.dequantize_per_tensor.default


def _tensor(node: Node) -> QuantizedTensor:
    source, scale, zero_point = node.args[:3]
    return QuantizedTensor(
        node.name,
        module_path(source),  # type: ignore[arg-type]
        _operator(source),  # type: ignore[arg-type]
        tuple(int(length) for length in source.meta["val"].shape),  # type: ignore[union-attr]
        float(scale),  # type: ignore[arg-type]
        int(zero_point),  # type: ignore[arg-type]
    )


def _operator(node: Node) -> str:
    """The operators since the tensors that were rounded last, in order: conv2d+relu6."""
    if node.op == "placeholder":
        return "input"
    names: list[str] = []
    current: Any = node
    while isinstance(current, Node) and current.op == "call_function" and not _is_dequantize(current):
        names.insert(0, str(current.target).split(".")[1])
        current = current.args[0]
    return "+".join(names)
