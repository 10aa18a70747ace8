"""What a training run is: one frozen record, written into the run folder and into the weights."""

from __future__ import annotations

import dataclasses
import json
import math
import re
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from lawder_edge.errors import BadInput

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Config = TypeVar("Config", bound="DataclassInstance")


@dataclass(frozen=True)
class Stage:
    """`passes` over the data at size x size pixels."""

    size: int
    passes: int


def parse_schedule(text: str) -> tuple[Stage, ...]:
    """'128x40,256x12' is 40 passes at 128 px, then 12 at 256 px.

    Raises: BadInput when it does not read so, or a size is not a multiple of 32.
    """
    stages = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d+)x(\d+)\s*", part)
        if not match:
            raise BadInput(f"schedule {text!r}: {part!r} is not SIZExPASSES. Write for example 128x40,256x12.")
        stage = Stage(int(match[1]), int(match[2]))
        if stage.size % 32 or stage.size == 0 or stage.passes == 0:
            raise BadInput(f"schedule {text!r}: sizes are multiples of 32 and passes at least 1, got {part!r}.")
        stages.append(stage)
    return tuple(stages)


@dataclass(frozen=True)
class TrainConfig:
    """The recipe. Sizes in pixels, times in passes over the training list.

    The default batch is 12: from 16 on, oneDNN takes another route for the thin full-size convolutions of a 42K net and
    a step costs 1.3 to 1.8 times as much an image.
    """

    model: str = "order"  # a model name, or package.module:Class for your own
    schedule: str = "256x100"  # SIZExPASSES, comma-separated: 128x40,192x14,256x12
    batch: int = 12  # pictures a step, over all processes
    learning_rate: float = 2e-3  # peak, after the warm-up; cosine to 1 % of it
    weight_decay: float = 1e-2  # on convolution weights only
    warmup_steps: int = 200  # linear
    loss: str = "bce_dice"  # bce_dice or structure (PraNet's)
    deep_supervision: bool = False  # auxiliary losses at H/2, H/4, H/8
    multi_scale: tuple[float, ...] = (1.0,)  # each step draws one factor on the size
    ema_decay: float = 0.998  # of the weights that are evaluated and kept
    clip_norm: float = 1.0  # of the gradient
    val_fraction: float = 0.1  # of the training list, by whole sequences or patients where known
    val_every: int = 2  # passes
    checkpoint_every: int = 50  # steps
    seed: int = 0  # of weights, order and augmentation
    in_channels: int = 3  # 3 or 1
    num_classes: int = 1  # 1 is polyp or not; more are class indices with 0 as background
    augment: bool = True  # geometry, colour, optics, compression
    smallest_scale: float = 0.75  # that augmentation draws; below it, polyps are shown from farther away
    empty_share: float = 0.0  # of the pictures: in their place their largest part without foreground, if 25 % of them
    teacher_weight: float = 1.0  # of the teacher's masks beside the true ones', where there is a teacher
    temperature: float = 2.0  # softens the teacher's probabilities and the student's
    mixed_precision: str = "no"  # no, fp16 or bf16, where the device has it

    @property
    def stages(self) -> tuple[Stage, ...]:
        return parse_schedule(self.schedule)

    @property
    def passes(self) -> int:
        return sum(s.passes for s in self.stages)

    def size_at(self, pass_index: int) -> int:
        """The side in pixels of pass `pass_index`, from 0."""
        for stage in self.stages:
            if pass_index < stage.passes:
                return stage.size
            pass_index -= stage.passes
        return self.stages[-1].size

    def check(self) -> None:
        """Raises: BadInput naming the first option whose value makes no sense."""
        least = {"batch": 1, "val_every": 1, "checkpoint_every": 1, "num_classes": 1, "seed": 0, "warmup_steps": 0}
        for name, smallest in least.items():
            if getattr(self, name) < smallest:
                raise BadInput(f"{name} is {getattr(self, name)}; wanted {smallest} or more.")
        if self.seed >= 2**63:
            raise BadInput(f"seed is {self.seed}; wanted a number below 2^63.")
        for name in ("learning_rate", "clip_norm", "teacher_weight", "temperature"):
            if not getattr(self, name) > 0:
                raise BadInput(f"{name} is {getattr(self, name)}; wanted a number above 0.")
        for name in ("weight_decay", "ema_decay", "empty_share"):
            if not 0 <= getattr(self, name) < 1:
                raise BadInput(f"{name} is {getattr(self, name)}; wanted a number from 0 to below 1.")
        if not self.multi_scale or not all(0 < factor < math.inf for factor in self.multi_scale):
            raise BadInput(
                f"multi_scale is {self.multi_scale}; wanted one or more factors above 0, such as 0.75 1 1.25."
            )
        if not 0.1 <= self.smallest_scale <= 1:
            raise BadInput(f"smallest_scale is {self.smallest_scale}; wanted a factor from 0.1 to 1.")
        if self.in_channels not in (1, 3):
            raise BadInput(f"in_channels is {self.in_channels}; wanted 3 (RGB) or 1 (grey).")
        if self.mixed_precision not in ("no", "fp16", "bf16"):
            raise BadInput(f"mixed_precision is {self.mixed_precision!r}; wanted no, fp16 or bf16.")
        parse_schedule(self.schedule)

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self), sort_keys=True)


_KINDS = {tuple: "a list of numbers", float: "a number", int: "a whole number", str: "a text", bool: "true or false"}


def config_from(values: dict[str, Any], *, base: Config, source: str) -> Config:
    """`base`, a flat dataclass, with `values` on top.

    Raises: BadInput naming `source` and the key that is unknown or of another type.
    """
    known = {f.name: getattr(base, f.name) for f in dataclasses.fields(base)}
    whole = {f.name for f in dataclasses.fields(base) if f.type == "tuple[int, ...]"}
    for key, value in values.items():
        if key not in known:
            raise BadInput(f"{source}: unknown key {key!r}. Known: {', '.join(sorted(known))}.")
        wanted = type(known[key])
        if wanted is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        kinds = (int,) if key in whole else (int, float)
        if wanted is tuple and isinstance(value, list) and all(type(v) in kinds for v in value):
            value = tuple(v if key in whole else float(v) for v in value)
        if type(value) is not wanted:
            raise BadInput(f"{source}: {key} is {value!r}; wanted {_KINDS[wanted]} such as {known[key]!r}.")
        known[key] = value
    return dataclasses.replace(base, **known)


def read_config(path: Path, base: Config) -> Config:
    """`base` with a TOML file's values on top. Raises: BadInput when the file is missing or does not read."""
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise BadInput(f"{path}: not a readable TOML recipe ({error}).") from error
    return config_from(values, base=base, source=str(path))


@dataclass(frozen=True)
class Progress:
    """Where a run stands, told after each step."""

    step: int
    steps: int
    pass_index: int
    passes: int
    loss: float
    best_dice: float | None = None


@dataclass(frozen=True)
class PassRecord:
    """One row of the curves. val_dice: at 0.5. val_clear_area: `Outlined.area` at 0.5."""

    pass_index: int
    size: int
    loss: float
    learning_rate: float
    seconds: float
    val_dice: float | None = None
    val_clear_area: float | None = None


@dataclass(frozen=True)
class Outlined:
    """What is called foreground in the clear parts of validation pictures (`data.clear`), where there is none.

    parts: how many there are. area: its mean share of them, in [0, 1]. above: share of the parts of which it is more
    than 1 %.
    """

    parts: int
    area: float
    above: float

    def said(self) -> str:
        """In one line."""
        return (
            f"beside the foreground, in {self.parts} of these pictures, {self.area:.1%} is outlined falsely (more than "
            f"1 % in {self.above:.0%} of them)"
        )


@dataclass(frozen=True)
class TrainResult:
    """What a finished run hands back.

    weights: the best-on-validation checkpoint. outlined: by it at its threshold, where validation has clear parts.
    """

    weights: Path
    best_dice: float
    best_pass: int
    history: tuple[PassRecord, ...] = field(repr=False)
    outlined: Outlined | None = None

    def said(self) -> str:
        """How good the weights are on validation, in one line."""
        dice = f"validation Dice {self.best_dice:.4f} at pass {self.best_pass + 1}"
        return dice if self.outlined is None else f"{dice}; {self.outlined.said()}"
