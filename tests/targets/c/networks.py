"""Quantised networks at random weights, and their C compiled with a look at every operator."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from kernel_library import SOURCES, compile_library
from numpy.typing import NDArray
from target_contract import randomised
from torch import nn

from lawder_edge.graph.geometry import output_shape
from lawder_edge.graph.ir import (
    Add,
    Attributes,
    AveragePool2D,
    Conv2D,
    DepthwiseConv2D,
    Graph,
    Logistic,
    MaxPool2D,
    Mean,
    Mul,
    Op,
    Quantization,
    ResizeBilinear,
    Tensor,
)
from lawder_edge.graph.reference import trace
from lawder_edge.graph.validate import SQUASHED, validate
from lawder_edge.models import create_model
from lawder_edge.models.deploy import to_deploy
from lawder_edge.quantization.network import QuantizedNetwork
from lawder_edge.quantization.prepare import prepare
from lawder_edge.targets.c.network import RowByRow, Source, write
from lawder_edge.targets.c.repeat import copies
from lawder_edge.targets.nhwc import to_graph
from lawder_edge.targets.registry import ExportSpec

# Made to look at each operator's output: the network calls a function of the test.
PROBE = """#include <stdint.h>
typedef void (*probe)(int32_t number, const int8_t *output, uint32_t bytes);
static probe told;
void set_probe(probe p);
void set_probe(probe p) { told = p; }
#define LW_AFTER_OPERATOR(number, output, bytes) do { if (told) { told(number, output, bytes); } } while (0)
"""


def quantized_graph(network: str | nn.Module, size: tuple[int, int], *, channels: int = 3, classes: int = 1) -> Graph:
    """A network, or by its name one of the registry, with weights at random and ranges learnt from noise."""
    name = network if isinstance(network, str) else type(network).__name__
    if isinstance(network, str):
        network = create_model(network, in_channels=channels, num_classes=classes)
    deployed = to_deploy(randomised(network, gain=0.7))
    learning = prepare(deployed, size=size, channels=channels).train()
    learning(torch.rand(2, channels, *size, generator=torch.Generator().manual_seed(0)) * 2 - 1)
    program = QuantizedNetwork(deployed, learning.scales(), channels=channels).program(size)
    spec = ExportSpec(size=size, precision="int8", channels=channels, classes=classes, name=name)
    return to_graph(program, spec)


def small_graph(*, classes: int = 1) -> Graph:
    """A picture of 5 x 7 -> convolution -> maximum of each pixel and its neighbours -> logits."""
    rng = np.random.default_rng(0)
    hidden, logits = Quantization.of(0.05, -128), Quantization.of(0.1, 3)

    def layer(name: str, shape: tuple[int, ...], x: Quantization) -> list[Tensor]:
        steps = Quantization.per_channel(np.full(shape[0], 0.01, np.float32), axis=0)
        bias = Quantization.per_channel(np.full(shape[0], 0.01 * x.scale[0], np.float32), axis=0)
        weights = rng.integers(-127, 128, shape).astype(np.int8)
        return [
            Tensor(f"{name}w", shape, "int8", steps, weights),
            Tensor(f"{name}b", (shape[0],), "int32", bias, rng.integers(-900, 900, shape[0]).astype(np.int32)),
        ]

    tensors = (
        Tensor("image", (1, 5, 7, 3), "int8", PICTURE),
        *layer("a", (4, 3, 3, 3), PICTURE),
        Tensor("x", (1, 5, 7, 4), "int8", hidden),
        Tensor("y", (1, 5, 7, 4), "int8", hidden),
        *layer("b", (classes, 1, 1, 4), hidden),
        Tensor("logits", (1, 5, 7, classes), "int8", logits),
    )
    ops = (
        Op(Conv2D("same", activation="relu"), ("image", "aw", "ab"), ("x",)),
        Op(MaxPool2D((3, 3), (1, 1), "same"), ("x",), ("y",)),
        Op(Conv2D(), ("y", "bw", "bb"), ("logits",)),
    )
    return Graph("small", tensors, ops, ("image",), ("logits",))


def write_files(
    graph: Graph, folder: Path, *, name: str = "net", row_by_row: RowByRow = "needed", ram_bytes: int | None = None
) -> Source:
    source = write(graph, name=name, version="1", row_by_row=row_by_row, ram_bytes=ram_bytes)
    for file, text in source.files:
        (folder / file).write_text(text)
    return source


@dataclass(frozen=True)
class Compiled:
    """A network's library, made by `compile_network`."""

    graph: Graph
    source: Source
    library: ctypes.CDLL

    def trace(self, picture: NDArray[np.uint8]) -> tuple[dict[int, NDArray[np.int8]], NDArray[np.uint8]]:
        """By its number each operator's output that is ever whole in memory, and what `run` writes."""
        seen: dict[int, NDArray[np.int8]] = {}

        def look(number: int, output: int, size: int) -> None:
            shape = self.graph.tensor(self.source.graph.ops[number].outputs[0]).shape
            seen[number] = np.frombuffer(ctypes.string_at(output, size), np.int8).reshape(shape)

        kind = ctypes.CFUNCTYPE(None, ctypes.c_int32, ctypes.c_void_p, ctypes.c_uint32)
        callback = kind(look)
        self.library.set_probe(callback)
        _, height, width, _ = self.graph.tensor(self.graph.outputs[0]).shape
        mask = np.zeros((height, width), np.uint8)
        status = self.call("run", picture, mask)
        self.library.set_probe(kind())
        assert status == 0
        return seen, mask

    def expected(self, picture: NDArray[np.uint8]) -> dict[str, NDArray[np.int8]]:
        """By its name each tensor as the integer reference computes it of the graph that was written, and each copy
        that a resize's second computation makes: it is to be what it copies."""
        values = {t.name: value for t, value in trace(self.graph, [(picture ^ 0x80).view(np.int8)[None]])}
        copied = {copy: name for copy, name in copies(self.source.graph).items() if copy not in values}
        return values | {copy: values[name] for copy, name in copied.items()}

    def call(self, name: str, picture: Any, out: Any, *, arena: Any = None, arena_bytes: int | None = None) -> int:
        """arena: None for one of the right size. Pointers may be None or numbers, too."""
        own = aligned(self.source.plan.arena_bytes)
        arguments = [_address(v) for v in (picture, out, own if arena is None else arena)]
        size = ctypes.c_size_t(self.source.plan.arena_bytes if arena_bytes is None else arena_bytes)
        status: int = getattr(self.library, f"lw_{self.source.name}_{name}")(*arguments, size)
        return status


PICTURE = Quantization.of(1 / 128, 0)


class Made:
    """A graph while it grows from a picture. Scales: that of the picture, but for squashed values."""

    def __init__(
        self, height: int, width: int, channels: int = 3, seed: int = 0, *, weight_scale: float = 0.01
    ) -> None:
        self._weight_scale = weight_scale
        self.tensors = [Tensor("image", (1, height, width, channels), "int8", PICTURE)]
        self.ops: list[Op] = []
        self._rng = np.random.default_rng(seed)

    def add(self, kind: Attributes, *inputs: str, shape: tuple[int, ...] | None = None) -> str:
        by_name = {t.name: t for t in self.tensors}
        constants: list[Tensor] = []
        x = by_name[inputs[0]]
        name = f"t{len(self.ops)}"
        if isinstance(kind, Conv2D | DepthwiseConv2D):
            out, size = (shape[0], shape[1:]) if shape else (4, (3, 3))
            depthwise = isinstance(kind, DepthwiseConv2D)
            full = (1, *size, x.shape[3]) if depthwise else (out, *size, x.shape[3])
            count = x.shape[3] if depthwise else out
            steps = Quantization.per_channel(np.full(count, self._weight_scale, np.float32), axis=3 if depthwise else 0)
            bias = Quantization.per_channel(np.full(count, self._weight_scale * x.scale, np.float32), axis=0)
            constants = [
                Tensor(f"{name}w", full, "int8", steps, self._rng.integers(-127, 128, full).astype(np.int8)),
                Tensor(f"{name}b", (count,), "int32", bias, self._rng.integers(-900, 900, count).astype(np.int32)),
            ]
            shape = None
        names = (*inputs, *(c.name for c in constants))
        self.tensors += constants
        by_name |= {c.name: c for c in constants}
        made = shape or output_shape(kind, [by_name[n].shape for n in names])
        assert made is not None
        q = SQUASHED if isinstance(kind, Logistic) else x.quantization
        self.tensors.append(Tensor(name, made, "int8", q))
        self.ops.append(Op(kind, names, (name,)))
        return name

    def graph(self, output: str) -> Graph:
        made = Graph("made", tuple(self.tensors), tuple(self.ops), ("image",), (output,))
        validate(made)
        return made


def waiting_graph(height: int, width: int, *, align_corners: bool = False, seed: int = 0) -> Graph:
    """A resized map, t2, that a pool reads at once, and a product and a sum after a mean. Nothing else is large."""
    m = Made(height, width, seed=seed)
    small = m.add(MaxPool2D((2, 2), (2, 2)), m.add(Conv2D("same"), "image", shape=(8, 3, 3)))
    large = m.add(ResizeBilinear(align_corners), small, shape=(1, height, width, 8))
    gate = m.add(Logistic(), m.add(Mean((1, 2)), m.add(AveragePool2D((4, 4), (4, 4)), large)))
    total = m.add(Add(), m.add(Mul(), large, gate), large)
    return m.graph(m.add(Conv2D(), total, shape=(1, 1, 1)))


READ_ROW = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_uint32, ctypes.c_void_p)


class ByRows:
    """Calls a network's `run_rows` and keeps what it asks for and gives. stop: (read or write, row) that fails."""

    def __init__(self, compiled: Compiled, picture: NDArray[np.uint8], *, stop: tuple[str, int] | None = None) -> None:
        _, height, width, _ = compiled.graph.tensor(compiled.graph.outputs[0]).shape
        self.mask = np.zeros((height, width), np.uint8)
        self.events: list[tuple[str, int]] = []
        need = compiled.source.rows.arena_bytes
        memory = aligned(need + 64)

        def read(_: int, row: int, to: int) -> int:
            ctypes.memmove(to, picture[row].tobytes(), picture[row].size)
            return self._told("read", row, stop)

        def write(_: int, row: int, given: int) -> int:
            self.mask[row] = np.frombuffer(ctypes.string_at(given, width), np.uint8)
            return self._told("write", row, stop)

        function = getattr(compiled.library, f"lw_{compiled.source.name}_run_rows")
        pointers = (READ_ROW(read), READ_ROW(write), None, ctypes.c_void_p(memory.ctypes.data))
        self.status: int = function(*pointers, ctypes.c_size_t(need))
        self.is_inside = bool((memory[need:] == 0x55).all())

    def _told(self, what: str, row: int, stop: tuple[str, int] | None) -> int:
        self.events.append((what, row))
        return int((what, row) == stop)

    def rows(self, what: str) -> list[int]:
        """Those that were read or written, in order."""
        return [row for name, row in self.events if name == what]


def compile_network(
    graph: Graph, folder: Path, *flags: str, row_by_row: RowByRow = "needed", ram_bytes: int | None = None
) -> Compiled:
    source = write_files(graph, folder, row_by_row=row_by_row, ram_bytes=ram_bytes)
    probed = folder / "probed.c"
    probed.write_text(f'{PROBE}#include "{source.name}.c"\n')
    # A name of its own: a library that is loaded once more under the same name is the old one.
    library = compile_library([*SOURCES, probed], folder / f"net-{row_by_row}-{ram_bytes}.so", *flags)
    return Compiled(graph, source, ctypes.CDLL(str(library)))


def aligned(size: int) -> NDArray[np.uint8]:
    """Memory whose first byte is at a multiple of 16, full of a pattern."""
    memory = np.full(size + 16, 0x55, np.uint8)
    start = -memory.ctypes.data % 16
    return memory[start : start + size]


def pictures(graph: Graph, count: int) -> list[NDArray[np.uint8]]:
    """Noise of the network's size, the same at each call."""
    _, h, w, c = graph.tensor(graph.inputs[0]).shape
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (h, w, c)).astype(np.uint8) for _ in range(count)]


def _address(value: Any) -> ctypes.c_void_p:
    return ctypes.c_void_p(value.ctypes.data if isinstance(value, np.ndarray) else value)
