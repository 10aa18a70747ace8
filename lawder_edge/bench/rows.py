"""What goes into a benchmark and what comes out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from lawder_edge.bench.latency import LatencyRule, LatencyStats
from lawder_edge.bench.machine import Machine
from lawder_edge.bench.memory import PeakMemory

SCHEMA_VERSION = 2

TIMED = (
    "Timed: infer, the bare network on one image that is in memory; pre (resize, normalise) and post (sigmoid, resize "
    "back), parts of a whole prediction from an RGB frame in memory to a probability map of its size; frame, the sum "
    "of those that are included. Decoding files is in none. load is importing the runtime and opening the model, first "
    "the first infer after it; neither is in another number. jitter is the mean difference of an infer from the one "
    "before. cpu is the processor's time in infer, in which other work on the machine is not. memory is the most that "
    "was resident above what was before load. of roof is the share of what the processor's products and memory, both "
    "measured, allow a network of these FLOPs and bytes in float32. plan is counted, not measured: the most bytes of "
    "activations that are alive at once, input and output with them and weights not, operator by operator as PyTorch "
    "runs them, at the row's precision; of C, the arena that was planned with the file, beside which the caller keeps "
    "picture and mask."
)

CONVENTION = (
    "FLOPs = 2 x MACs of one image: convolutions and matrix products, attention included; elementwise operators, "
    "normalisation, pooling, softmax and resizing are not counted."
)

Status = Literal["ok", "failed", "unavailable"]
Part = Literal["pre", "infer", "post"]
PARTS: tuple[Part, ...] = ("pre", "infer", "post")


@dataclass(frozen=True)
class BenchSpec:
    """How every row is measured.

    size: (H, W) of the network's input in pixels, None for each model's own. frame: (H, W) of the RGB frame for whole
    predictions. include: the parts that `frame` sums. threads: of the runtime, 0 leaves it to the runtime. pin: the
    logical cores that rows may run on, empty for all. timeout_s: without an answer, after which a row is given up.
    """

    size: tuple[int, int] | None = None
    frame: tuple[int, int] = (480, 640)
    include: tuple[Part, ...] = PARTS
    threads: int = 1
    pin: tuple[int, ...] = ()
    rule: LatencyRule = field(default_factory=LatencyRule)
    timeout_s: float = 600.0


@dataclass(frozen=True)
class Accuracy:
    """What the certificate of the measured file says.

    status: of the certificate. images: what it was verified on. dice: against the truth, dice_drop: PyTorch's less it,
    mask_dice, mask_dice_worst: against PyTorch's masks, mean and of the worst image; all None where nothing could be
    compared.
    """

    status: str
    images: str
    dice: float | None
    dice_drop: float | None
    mask_dice: float | None
    mask_dice_worst: float | None


@dataclass(frozen=True)
class Artifact:
    """What is measured.

    runtime: name and version of what runs it. model: architecture, as `create_model` takes it. precision: of the
    arithmetic. file: name of the model file, "" for weights made on the spot. sha256: of that file, "" without one.
    size_bytes: with what belongs to it, None without one. accuracy: None without a certificate. scalar_bytes: of an
    activation while it computes: 4 for fp32, and for weights that are only stored smaller. arena_bytes: of activations,
    as they were planned with the file; None where the runtime plans them.
    """

    runtime: str
    model: str
    precision: str
    file: str
    sha256: str
    size_bytes: int | None
    accuracy: Accuracy | None = None
    scalar_bytes: int = 4
    arena_bytes: int | None = None


@dataclass(frozen=True)
class Static:
    """What an architecture costs at the size measured, in PyTorch and before any folding.

    macs: multiply-accumulates of one image. activations: scalars that convolutions and products write. moved: scalars
    that these read and write, weights and all, were every operator to go through memory. peak_activations: scalars that
    are alive at once at the most, while operators run one after the other as they stand: see alive.Lifetimes.
    """

    params: int
    macs: int
    activations: int
    moved: int
    peak_activations: int

    @property
    def intensity(self) -> float:
        """FLOPs a byte of float32 moved."""
        return 2 * self.macs / (4 * self.moved) if self.moved else 0.0


@dataclass(frozen=True)
class Measured:
    """One source, measured.

    size: (H, W) of the input in pixels. channels, classes: of input and output. static: None where PyTorch or the
    architecture is not here. load_ms: from a started interpreter to a loaded model. infer: the bare network. cpu: the
    processor's time in it, of all threads; None where another process computes. pre, post: parts of a whole prediction;
    frame: the sum of the included ones. Their warm-up is that of frame.
    """

    artifact: Artifact
    size: tuple[int, int]
    channels: int
    classes: int
    static: Static | None
    load_ms: float
    infer: LatencyStats
    cpu: LatencyStats | None
    pre: LatencyStats
    post: LatencyStats
    frame: LatencyStats
    memory: PeakMemory

    @property
    def peak_activation_bytes(self) -> int | None:
        """By the plan of its file where it has one, or else by the architecture's operators, at its precision."""
        if self.artifact.arena_bytes is not None or self.static is None:
            return self.artifact.arena_bytes
        return self.static.peak_activations * self.artifact.scalar_bytes


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
class Answer:
    """What a row's process says: that it is done with what it was asked for, or, with `row`, with everything."""

    row: Row | None = None


@dataclass(frozen=True)
class Ratio:
    """How many times less than the first row that was measured: median over turns, 95 % bootstrap interval.

    of: infer, the latency, or cpu, the processor's time in it.
    """

    source: str
    baseline: str
    of: Literal["infer", "cpu"]
    median: float
    low: float
    high: float


@dataclass(frozen=True)
class Roof:
    """What this machine can do at the most, measured with the rows' number of threads.

    gflops: of a product of large float32 matrices. gbytes: a second, read and written, of a sum of arrays in memory.
    """

    gflops: float
    gbytes: float

    def allows(self, intensity: float) -> float:
        """GFLOP/s at `intensity` FLOPs a byte."""
        return min(self.gflops, self.gbytes * intensity)


@dataclass(frozen=True)
class Noise:
    """What else went on. busy_percent: of all cores that other work used before or after the rows.

    p50_ms, p95_ms, count: of one fixed computation on one core, repeated between the turns of rows: on a quiet machine
    p95 is a few percent above p50. mhz: least and most clock seen, empty where the system shows none. throttled: times
    that the processor slowed down for heat while rows were measured, None where the system does not count.
    """

    busy_percent: float
    p50_ms: float
    p95_ms: float
    count: int
    mhz: tuple[float, ...]
    throttled: int | None

    @property
    def spread_percent(self) -> float:
        return 100 * (self.p95_ms / self.p50_ms - 1)


@dataclass(frozen=True)
class BenchReport:
    """All rows, in the order asked for, and what they were measured on.

    roof: None where it could not be measured. warnings: what makes the numbers doubtful.
    """

    machine: Machine
    spec: BenchSpec
    noise: Noise
    roof: Roof | None
    rows: tuple[Row, ...]
    ratios: tuple[Ratio, ...]
    warnings: tuple[str, ...]

    def gflops(self, row: Row) -> float | None:
        """What the architecture needs, by the time that this row took: a row that does less work looks as fast."""
        m = row.measured
        return None if m is None or m.static is None else 2 * m.static.macs / (m.infer.p50_ms * 1e6)

    def share_of_roof(self, row: Row) -> float | None:
        """`gflops` of what the roof allows, in [0, 1] or, where a runtime moves less than counted, above."""
        found = self.gflops(row)
        if found is None or self.roof is None or row.measured is None or row.measured.static is None:
            return None
        return found / self.roof.allows(row.measured.static.intensity)

    @property
    def exit_code(self) -> int:
        """1 before 2 (bad input) of rows that failed; 4 where no row could be measured for want of runtimes; else 0."""
        codes = {row.exit_code for row in self.rows}
        if any(row.status == "ok" for row in self.rows):
            codes -= {4}
        return next((code for code in (1, 2, 3, 4, 5) if code in codes), 0)
