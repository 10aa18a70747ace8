"""A generator: the denoiser, LAW's weighter beside it, and the file that they are kept in."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from lawder_edge.errors import BadCheckpoint, BadInput
from lawder_edge.synthesis.arms import LEARNED
from lawder_edge.synthesis.condition import hints_of
from lawder_edge.synthesis.config import SynthConfig
from lawder_edge.synthesis.denoiser import create_denoiser, planes_of
from lawder_edge.synthesis.diffusion import TIMES
from lawder_edge.synthesis.weighter import Weighter
from lawder_edge.training.checkpoint import fingerprint, load_into, read_tensors, write_tensors

FORMAT = "lawder-edge-generator-1"
_SHAPES = "mask_shapes"


class Step(NamedTuple):
    """x0: (B, C, H, W), the expected picture. s: (B, 1, H, W), the weighter's map, or None in arms without one."""

    x0: Tensor
    s: Tensor | None


class Generator(nn.Module):
    """What one training step runs forward: the denoiser, and the weighter on its features."""

    def __init__(self, config: SynthConfig) -> None:
        super().__init__()
        c = config
        self.denoiser = create_denoiser(
            c.denoiser,
            size=c.size,
            channels=c.in_channels,
            num_classes=c.num_classes,
            widths=c.widths,
            hints=hints_of(c),
        )
        self.weighter: Weighter | None = None
        if c.arm in LEARNED:
            # From numbers of its own, so that every arm draws the same ones before and after it.
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(c.seed)
                self.weighter = Weighter(
                    features=self.denoiser.features,
                    planes=planes_of(c.num_classes) + hints_of(c),
                    patch=self.denoiser.patch,
                )

    def forward(self, x_t: Tensor, t: Tensor, planes: Tensor) -> Step:
        """x_t: (B, C, H, W); t: (B,) int64; planes: (B, K, H, W) of mask and hint."""
        x0, features = self.denoiser(x_t, t, planes)
        return Step(x0, None if self.weighter is None else self.weighter(features, t / TIMES, planes))


@dataclass(frozen=True)
class GeneratorRecord:
    """What the header of a generator's file says.

    config: the recipe that it was trained by. step: steps done. train_ids: the pictures that it was fitted to, and
    those of the generator that it started from and of its teacher; train_groups: their sequences or patients. start:
    sha256 of the weights that it started from, empty for random ones. teacher: sha256 of its teacher's weights, empty
    without one; teacher_weight: what its word counted in the target.
    """

    config: SynthConfig
    step: int
    train_ids: tuple[str, ...] = ()
    train_groups: tuple[str, ...] = ()
    start: str = ""
    teacher: str = ""
    teacher_weight: float = 0.0


@dataclass(frozen=True)
class LoadedGenerator:
    """denoiser: in eval mode, on the CPU. mask_shapes: as `measure_shapes` gives them. sha256: of all tensors."""

    denoiser: Any
    record: GeneratorRecord
    mask_shapes: Tensor
    sha256: str


def save_generator(
    path: Path,
    denoiser: dict[str, Tensor],
    record: GeneratorRecord,
    *,
    weighter: nn.Module | None,
    mask_shapes: Tensor,
) -> None:
    """Replace the file as a whole. denoiser: its averaged state; weighter: as it is, for maps of its weights."""
    tensors = {f"denoiser.{name}": value for name, value in denoiser.items()}
    if weighter is not None:
        tensors |= {f"weighter.{name}": value for name, value in weighter.state_dict().items()}
    tensors[_SHAPES] = mask_shapes
    write_tensors(path, tensors, {"format": FORMAT, "record": json.dumps(dataclasses.asdict(record), sort_keys=True)})


def load_generator(path: Path) -> LoadedGenerator:
    """Raises: BadCheckpoint for a file that is missing, damaged or no generator; Unavailable without diffusers."""
    tensors, header = read_tensors(path)
    if header.get("format") != FORMAT:
        raise BadCheckpoint(
            f"{path}: header says format {header.get('format')!r}, wanted {FORMAT!r}. Give the generator.safetensors "
            "of a run of `lawder-edge synth train`."
        )
    try:
        record = _record(json.loads(header["record"]))
        record.config.check()
    except (KeyError, TypeError, ValueError, BadInput) as error:
        raise BadCheckpoint(
            f"{path}: its header does not say what this generator is ({error}). It was written by another version of "
            "lawder-edge, or changed since; copy it again or train anew."
        ) from error
    c = record.config
    denoiser = create_denoiser(
        c.denoiser,
        size=c.size,
        channels=c.in_channels,
        num_classes=c.num_classes,
        widths=c.widths,
        hints=hints_of(c),
    )
    load_into(denoiser, part_of(tensors, "denoiser"), source=str(path))
    if _SHAPES not in tensors:
        raise BadCheckpoint(f"{path}: holds no {_SHAPES}. Copy it again or train anew.")
    return LoadedGenerator(denoiser.eval(), record, tensors[_SHAPES], fingerprint(tensors))


def load_start(path: Path, config: SynthConfig) -> LoadedGenerator:
    """A generator that a run of `config` can start from.

    Raises: BadCheckpoint for a generator of another size, channels, classes or widths, naming both.
    """
    loaded = load_generator(path)
    theirs = loaded.record.config
    for name in ("size", "in_channels", "num_classes", "denoiser", "widths", "condition"):
        was, wanted = getattr(theirs, name), getattr(config, name)
        if was != wanted:
            raise BadCheckpoint(
                f"{path}: a generator of {name} {was}; this run has {wanted}. Give --{name.replace('_', '-')} "
                f"{_as_option(was)}, or start from another generator."
            )
    return loaded


def start_from(path: Path, generator: Generator, config: SynthConfig) -> LoadedGenerator:
    """Give `generator` the weights of a file, and the weighter's where both have one that learned by the same loss.

    Returns: what the file holds.

    Raises: BadCheckpoint as `load_start`.
    """
    loaded = load_start(path, config)
    generator.denoiser.load_state_dict(loaded.denoiser.state_dict())
    weighter = part_of(read_tensors(path)[0], "weighter")
    # In one arm s is a log of the error, in the other what tanh makes a delta of.
    alike = (loaded.record.config.arm == "law_joint") == (config.arm == "law_joint")
    if generator.weighter is not None and weighter and alike:
        load_into(generator.weighter, weighter, source=str(path))
    return loaded


def part_of(tensors: dict[str, Tensor], kind: str) -> dict[str, Tensor]:
    """The tensors whose names start with `kind` and a dot, without it."""
    return {name.removeprefix(f"{kind}."): value for name, value in tensors.items() if name.startswith(f"{kind}.")}


def _as_option(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _record(fields: dict[str, Any]) -> GeneratorRecord:
    config: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in fields["config"].items()}
    lists = {name: tuple(fields[name]) for name in ("train_ids", "train_groups")}
    return GeneratorRecord(**{**fields, **lists, "config": SynthConfig(**config)})
