"""A generator: the denoiser, LAW's weighter beside it, and the file that they are kept in."""

from __future__ import annotations

import dataclasses
import json
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from lawder_edge.errors import BadCheckpoint, BadInput
from lawder_edge.synthesis.arms import LEARNED
from lawder_edge.synthesis.condition import hints_of
from lawder_edge.synthesis.config import SynthConfig
from lawder_edge.synthesis.denoiser import planes_of
from lawder_edge.synthesis.denoisers import create_denoiser
from lawder_edge.synthesis.diffusion import TIMES
from lawder_edge.synthesis.weighter import Weighter
from lawder_edge.training.checkpoint import fingerprint, load_into, read_tensors, write_tensors

FORMAT = "lawder-edge-generator-1"
BUNDLED = Path(__file__).parent / "weights"
_SHAPES = "mask_shapes"
_REMAKE = "It was written by another version of lawder-edge, or changed since; copy it again or train anew."


class Step(NamedTuple):
    """x0: (B, C, h, w), expected. s: (B, 1, h, w), the weighter's map, or None in arms without one."""

    x0: Tensor
    s: Tensor | None


class Generator(nn.Module):
    """What one training step runs forward: the denoiser, and the weighter on its features."""

    def __init__(self, config: SynthConfig) -> None:
        super().__init__()
        c = config
        self.denoiser = create_denoiser(c)
        self.weighter: Weighter | None = None
        if c.arm in LEARNED:
            # From numbers of its own, so that every arm draws the same ones before and after it.
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(c.seed)
                self.weighter = Weighter(
                    features=self.denoiser.features,
                    planes=planes_of(c.num_classes) + hints_of(c),
                    patch=self.denoiser.patch,
                    cell=c.size // self.denoiser.shape[1],
                )

    def forward(self, x_t: Tensor, t: Tensor, planes: Tensor) -> Step:
        """x_t: (B, C, h, w); t: (B,) int64; planes: (B, K, H, W) of mask and hint."""
        x0, features = self.denoiser(x_t, t, planes)
        return Step(x0, None if self.weighter is None else self.weighter(features, t / TIMES, planes))


@dataclass(frozen=True)
class GeneratorRecord:
    """What the header of a generator's file says.

    config: the recipe that it was trained by. step: steps done. train_ids: the pictures that it was fitted to, and
    those of the generator that it started from and of its teacher; train_groups: their sequences or patients. start:
    sha256 of the weights that it started from, empty for random ones. base_sha256: of the frozen weights that the
    denoiser goes by and the file lacks, empty where there are none; they are found by `config.base`. teacher: sha256 of
    its teacher's weights, empty without one; teacher_weight: what its word counted in the target.
    """

    config: SynthConfig
    step: int
    train_ids: tuple[str, ...] = ()
    train_groups: tuple[str, ...] = ()
    start: str = ""
    base_sha256: str = ""
    teacher: str = ""
    teacher_weight: float = 0.0


@dataclass(frozen=True)
class StoredGenerator:
    """What a file holds. tensors: of denoiser, weighter and shapes, by prefix. sha256: of all of them."""

    path: Path
    tensors: dict[str, Tensor]
    record: GeneratorRecord
    sha256: str


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
    _write(path, tensors, record)


def pack_generator(source: Path, out: Path) -> StoredGenerator:
    """The generator of a file in float16, half as large: how the package carries one.

    It is computed with in float32 all the same. Returns: what `out` holds. Raises: BadCheckpoint as `read_generator`.
    """
    stored = read_generator(source)
    # The count of batches seen soon is beyond what float16 holds.
    whole = (_SHAPES, "weighter.seen")
    half = {name: value if name in whole else value.half() for name, value in stored.tensors.items()}
    _write(out, half, stored.record)
    return read_generator(out)


def generator_file(source: str) -> Path:
    """The file that `source` names: a path, or the name of a generator that the package carries.

    Raises: BadCheckpoint where it is neither.
    """
    if Path(source).is_file():
        return Path(source)
    bundled = {path.stem: path for path in sorted(BUNDLED.glob("*.safetensors"))}
    if source not in bundled:
        raise BadCheckpoint(
            f"{source}: no such file. Give the generator.safetensors of a run of `lawder-edge synth train`, or the "
            f"name of one that the package carries: {', '.join(bundled)}."
        )
    return bundled[source]


def read_generator(path: Path) -> StoredGenerator:
    """Raises: BadCheckpoint for a file that is missing, damaged or no generator, or whose weights are not finite."""
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
        raise BadCheckpoint(f"{path}: its header does not say what this generator is ({error}). {_REMAKE}") from error
    if _SHAPES not in tensors:
        raise BadCheckpoint(f"{path}: holds no {_SHAPES}. Copy it again or train anew.")
    if broken := [name for name, value in tensors.items() if not torch.isfinite(value).all()]:
        raise BadCheckpoint(
            f"{path}: {len(broken)} of its {len(tensors)} tensors hold values that are not finite, {broken[0]} first: "
            "its training diverged. Train anew with a lower --learning-rate."
        )
    return StoredGenerator(path, tensors, record, fingerprint(tensors))


def load_generator(path: Path, *, base: str = "") -> LoadedGenerator:
    """base: where the frozen weights that the file lacks are now, if not where they were in training.

    Raises: BadCheckpoint as `read_generator`, and where the base is another one; BadInput where it is not found;
    Unavailable without diffusers.
    """
    return load_stored(read_generator(path), base=base)


def load_stored(stored: StoredGenerator, *, base: str = "") -> LoadedGenerator:
    """The network of a file that was read. base and Raises: as of `load_generator`."""
    config = stored.record.config
    denoiser = create_denoiser(dataclasses.replace(config, base=base) if base else config)
    _load_denoiser(denoiser, stored)
    return LoadedGenerator(denoiser.eval(), stored.record, stored.tensors[_SHAPES], stored.sha256)


def read_start(path: Path, config: SynthConfig) -> StoredGenerator:
    """A generator that a run of `config` can start from.

    Raises: BadCheckpoint for a generator of another size, channels, classes, denoiser, widths or prompt, naming both.
    """
    stored = read_generator(path)
    theirs = stored.record.config
    for name in ("size", "in_channels", "num_classes", "denoiser", "widths", "condition", "prompt"):
        was, wanted = getattr(theirs, name), getattr(config, name)
        if was != wanted:
            raise BadCheckpoint(
                f"{path}: a generator of {name} {was!r}; this run has {wanted!r}. Give --{name.replace('_', '-')} "
                f"{_as_option(was)}, or start from another generator."
            )
    if config.controlnet:
        raise BadCheckpoint(f"{path} brings a ControlNet of its own: give --init or --controlnet, not both.")
    return stored


def start_from(path: Path, generator: Generator, config: SynthConfig) -> StoredGenerator:
    """Give `generator` the weights of a file, and the weighter's where both have one that learned by the same loss.

    Returns: what the file holds.

    Raises: BadCheckpoint as `read_start`, and where it was trained on another base.
    """
    stored = read_start(path, config)
    _load_denoiser(generator.denoiser, stored)
    weighter = part_of(stored.tensors, "weighter")
    # In one arm s is a log of the error, in the other what tanh makes a delta of.
    alike = (stored.record.config.arm == "law_joint") == (config.arm == "law_joint")
    if generator.weighter is not None and weighter and alike:
        load_into(generator.weighter, weighter, source=str(path), advice=_REMAKE)
    return stored


def part_of(tensors: dict[str, Tensor], kind: str) -> dict[str, Tensor]:
    """The tensors whose names start with `kind` and a dot, without it."""
    return {name.removeprefix(f"{kind}."): value for name, value in tensors.items() if name.startswith(f"{kind}.")}


def _write(path: Path, tensors: dict[str, Tensor], record: GeneratorRecord) -> None:
    write_tensors(path, tensors, {"format": FORMAT, "record": json.dumps(dataclasses.asdict(record), sort_keys=True)})


def _load_denoiser(denoiser: Any, stored: StoredGenerator) -> None:
    was, now = stored.record.base_sha256, denoiser.base_sha256
    if was != now:
        raise BadCheckpoint(
            f"{stored.path}: was trained on the base {stored.record.config.base} whose frozen weights have sha256 "
            f"{was[:12]}; those given have {now[:12]}. Give the same weights with --base."
        )
    load_into(denoiser, part_of(stored.tensors, "denoiser"), source=str(stored.path), advice=_REMAKE)


def _as_option(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, tuple) else shlex.quote(str(value))


def _record(fields: dict[str, Any]) -> GeneratorRecord:
    config: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in fields["config"].items()}
    lists = {name: tuple(fields[name]) for name in ("train_ids", "train_groups")}
    return GeneratorRecord(**{**fields, **lists, "config": SynthConfig(**config)})
