"""What goes into a benchmark and what comes out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from lawder_edge.bench.latency import LatencyRule, LatencyStats
from lawder_edge.bench.machine import Machine
from lawder_edge.bench.memory import PeakMemory

SCHEMA_VERSION = 1

TIMED = (
    "Timed: infer, the bare network on one image that is in memory, and frame, a whole prediction from an RGB frame in "
    "memory to a probability map of its size (resize, normalise, infer, sigmoid, resize back). Decoding files is in "
    "neither. load is importing the runtime and opening the model, first the first infer after it; neither is in "
    "another number. memory is the most that was resident above what was before load."
)

CONVENTION = (
    "FLOPs = 2 x MACs of one image: convolutions and matrix products, attention included; elementwise operators, "
    "normalisation, pooling, softmax and resizing are not counted."
)

Status = Literal["ok", "failed", "unavailable"]


@dataclass(frozen=True)
class BenchSpec:
    """How every row is measured.

    size: (H, W) of the network's input in pixels, None for each model's own. frame: (H, W) of the RGB frame for whole
    predictions. threads: of the runtime, 0 leaves it to the runtime. timeout_s: after which a row is given up.
    """

    size: tuple[int, int] | None = None
    frame: tuple[int, int] = (480, 640)
    threads: int = 1
    rule: LatencyRule = field(default_factory=LatencyRule)
    timeout_s: float = 600.0


@dataclass(frozen=True)
class Artifact:
    """What is measured.

    runtime: name and version of what runs it. model: architecture, as `create_model` takes it. precision: of the
    arithmetic. file: name of the model file, "" for weights made on the spot. sha256: of that file, "" without one.
    size_bytes: with what belongs to it, None without one.
    """

    runtime: str
    model: str
    precision: str
    file: str
    sha256: str
    size_bytes: int | None


@dataclass(frozen=True)
class Measured:
    """One source, measured.

    size: (H, W) of the input in pixels. channels: of the input. params, macs: of the architecture in PyTorch, before
    any folding; None where PyTorch or the architecture is not here. load_ms: from a started interpreter to a loaded
    model. infer: the bare network. frame: the whole prediction.
    """

    artifact: Artifact
    size: tuple[int, int]
    channels: int
    params: int | None
    macs: int | None
    load_ms: float
    infer: LatencyStats
    frame: LatencyStats
    memory: PeakMemory


@dataclass(frozen=True)
class Row:
    """One source of a benchmark. `measured` is None unless status is "ok"; `reason` then says why.

    exit_code: what this row alone would make the command return. log: the end of what the row's process wrote to its
    standard error, for rows that failed.
    """

    source: str
    status: Status
    reason: str = ""
    exit_code: int = 0
    measured: Measured | None = None
    log: str = ""


@dataclass(frozen=True)
class BenchReport:
    """All rows, in the order asked for, and what they were measured on. warnings: what makes the numbers doubtful."""

    machine: Machine
    spec: BenchSpec
    rows: tuple[Row, ...]
    warnings: tuple[str, ...]

    @property
    def exit_code(self) -> int:
        """0 when every row was measured; otherwise 1 before 2 (bad input) before 4 (runtime not here)."""
        codes = {row.exit_code for row in self.rows}
        return next((code for code in (1, 2, 3, 4, 5) if code in codes), 0)
