"""What a person asks of an export."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from lawder_edge.bundle.manifest import InputType, OutputKind
from lawder_edge.targets.engine import EngineOptions
from lawder_edge.targets.words import INPUT_TYPES, OUTPUT_KINDS, Io, Output


@dataclass(frozen=True)
class ExportRequest:
    """The options of `lawder-edge export`, without target and place. size: (H, W), None for any multiples of 32.

    name: of the network in the files, None for the model's. io: None for the target's own. ram_bytes: that a
    microcontroller has for arena, picture and mask, None for any.
    """

    model: str = "order"
    name: str | None = None
    size: tuple[int, int] | None = None
    dynamic_batch: bool = False
    precision: str = "fp32"
    opset: int | None = None
    threshold: float | None = None
    data: Path | None = None
    split: tuple[Path, ...] = ()
    limit: int = 200
    skip_bad: bool = False
    card: Path | None = None
    overwrite: bool = False
    engine: EngineOptions = field(default_factory=EngineOptions)
    output: Output = "logits"
    io: Io | None = None
    ram_bytes: int | None = None

    @property
    def kind(self) -> OutputKind:
        """`output` as a manifest names it."""
        return OUTPUT_KINDS[self.output]

    @property
    def input_type(self) -> InputType | None:
        """`io` as a manifest names it."""
        return None if self.io is None else INPUT_TYPES[self.io]


@dataclass(frozen=True)
class ExportTask:
    """One export: to which target, what is asked of it, and the bundle's folder. shared: of `Shared`, None alone."""

    target: str
    request: ExportRequest
    out: Path
    shared: Path | None = None
