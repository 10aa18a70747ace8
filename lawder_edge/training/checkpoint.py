"""Checkpoints: safetensors with JSON in the header. Nothing is unpickled.

A weights file holds the tensors of one model and says which. A run file holds everything that a resumed run needs, in
one file, so that one rename makes it valid. Headers are read without torch.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lawder_edge.errors import BadCheckpoint
from lawder_edge.evaluation.overlap import TrainedOn
from lawder_edge.files import write_file

if TYPE_CHECKING:
    from torch import Tensor, nn

FORMAT = "lawder-edge-weights-1"
RUN_FORMAT = "lawder-edge-run-1"
_LISTS = ("train_ids", "train_groups", "val_ids", "val_groups")


@dataclass(frozen=True)
class WeightsRecord:
    """What the header of a weights file says.

    model: a name for `create_model`, or `package.module:Class`. threshold: probability from which on a pixel is polyp,
    chosen on validation. size: side in pixels that it was chosen at. train_ids: the ids (`folder/stem`) that the
    weights were fitted to, train_groups: their sequences or patients; val_ids, val_groups: what they were chosen by; an
    evaluation marks overlaps with all four. recipe: the training configuration as JSON. notes: one line for people.
    """

    model: str
    in_channels: int = 3
    num_classes: int = 1
    threshold: float = 0.5
    size: int = 256
    train_ids: tuple[str, ...] = ()
    train_groups: tuple[str, ...] = ()
    val_ids: tuple[str, ...] = ()
    val_groups: tuple[str, ...] = ()
    recipe: str = "{}"
    notes: str = ""

    def trained_on(self) -> TrainedOn | None:
        """The lists, for marking overlaps; None where none are recorded."""
        return TrainedOn.of(
            ids=self.train_ids,
            groups=self.train_groups,
            selection_ids=self.val_ids,
            selection_groups=self.val_groups,
        )

    def having_seen(self, before: WeightsRecord) -> WeightsRecord:
        """This record with the lists of the weights `before` added, which these were made from; nothing twice."""
        lists: dict[str, Any] = {
            name: tuple(dict.fromkeys((*getattr(before, name), *getattr(self, name)))) for name in _LISTS
        }
        return dataclasses.replace(self, **lists)

    def check(self, *, source: str) -> None:
        """Raises: BadCheckpoint for values that no training writes."""
        if not 0 < self.threshold < 1:
            raise BadCheckpoint(f"{source}: threshold {self.threshold}; wanted a probability between 0 and 1.")
        if self.size <= 0 or self.size % 32:
            raise BadCheckpoint(f"{source}: size {self.size}; wanted a multiple of 32.")
        if self.in_channels not in (1, 3) or self.num_classes < 1:
            raise BadCheckpoint(f"{source}: {self.in_channels} channels and {self.num_classes} classes.")


def write_tensors(path: Path, tensors: dict[str, Tensor], header: dict[str, str]) -> None:
    """Replace the file as a whole: a crash or a full disk leaves what was there."""
    from safetensors.torch import save

    # safetensors itself holds no checksum.
    metadata = {**header, "sha256": fingerprint(tensors)}
    write_file(path, save({k: v.detach().contiguous() for k, v in tensors.items()}, metadata=metadata))


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Returns: tensors and header. Raises: BadCheckpoint when the file is missing, damaged or no safetensors."""
    with _opened(path, "pt") as f:
        tensors, header = {name: f.get_tensor(name) for name in f.keys()}, dict(f.metadata() or {})  # noqa: SIM118
    if "sha256" in header and header["sha256"] != (got := fingerprint(tensors)):
        raise BadCheckpoint(
            f"{path}: damaged since it was written: its tensors have sha256 {got[:8]}, its header says "
            f"{header['sha256'][:8]}. Copy it again."
        )
    return tensors, header


def read_header(path: Path) -> dict[str, str]:
    """The header alone, by which damaged tensors go unseen. Needs no torch. Raises: BadCheckpoint as `read_tensors`."""
    with _opened(path, "numpy") as f:
        return dict(f.metadata() or {})


@contextmanager
def _opened(path: Path, framework: str) -> Iterator[Any]:
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise BadCheckpoint(f"{path}: no such file. Give a .safetensors checkpoint or a model name.")
    try:
        with safe_open(str(path), framework=framework) as f:
            yield f
    except (SafetensorError, OSError, ValueError) as error:
        raise BadCheckpoint(
            f"{path}: not a complete safetensors file ({error}; {path.stat().st_size} bytes). Copy it again, or resume "
            "the run that wrote it."
        ) from error


def save_weights(path: Path, model: nn.Module, record: WeightsRecord) -> None:
    """Write the weights of `model` with their record."""
    write_weights(path, dict(model.state_dict()), record)


def write_weights(path: Path, tensors: dict[str, Tensor], record: WeightsRecord) -> None:
    """Write a state dict with its record."""
    write_tensors(path, tensors, {"format": FORMAT, "record": json.dumps(asdict(record), sort_keys=True)})


def read_weights(path: Path) -> tuple[dict[str, Tensor], WeightsRecord]:
    """Returns: state dict and record. Raises: BadCheckpoint."""
    tensors, header = read_tensors(path)
    if header.get("format") == RUN_FORMAT:
        raise BadCheckpoint(f"{path}: the state of a run, to be resumed. Give the best.safetensors beside it.")
    if header.get("format") != FORMAT:
        raise BadCheckpoint(
            f"{path}: header says format {header.get('format')!r}, wanted {FORMAT!r}. It was not written by "
            "lawder-edge; load it in PyTorch and save it with save_weights."
        )
    return tensors, read_record(path, header)


def read_record(path: Path, header: dict[str, str]) -> WeightsRecord:
    """The record in the header of a weights file. Raises: BadCheckpoint naming `path`."""
    try:
        fields: dict[str, Any] = json.loads(header["record"])
        for key in _LISTS:
            fields[key] = tuple(fields.get(key, ()))
        record = WeightsRecord(**fields)
        record.check(source=str(path))
        return record
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise BadCheckpoint(
            f"{path}: its header does not say what these weights are ({error!r}). It was written by another version "
            "of lawder-edge, or changed since; copy it again or train anew."
        ) from error


def load_into(model: nn.Module, tensors: dict[str, Tensor], *, source: str) -> None:
    """Raises: BadCheckpoint naming the tensors that are missing, left over, or of another shape."""
    own = model.state_dict()
    missing = sorted(own.keys() - tensors.keys())
    extra = sorted(tensors.keys() - own.keys())
    shapes = sorted(k for k in own.keys() & tensors.keys() if own[k].shape != tensors[k].shape)
    if missing or extra or shapes:
        detail = "; ".join(
            f"{len(names)} {what} (first: {names[0]})"
            for what, names in (("missing", missing), ("unknown", extra), ("of another shape", shapes))
            if names
        )
        raise BadCheckpoint(
            f"{source}: these weights are of another model than {type(model).__name__}: {detail}. Give --model the "
            "model that they were trained for."
        )
    model.load_state_dict(tensors)


def fingerprint(tensors: dict[str, Tensor]) -> str:
    """sha256 over names, shapes, types and bytes, whatever the file around them."""
    import torch

    digest = hashlib.sha256()
    for name in sorted(tensors):
        value = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name} {tuple(value.shape)} {value.dtype}\n".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
