"""Checkpoints: safetensors with JSON in the header. Nothing is unpickled.

A weights file holds the tensors of one model and says which. A run file holds everything that a resumed run needs, in
one file, so that one rename makes it valid.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor, nn

from lawder_edge.errors import BadCheckpoint
from lawder_edge.files import write_file
from lawder_edge.training.record import FORMAT, RUN_FORMAT, WeightsRecord, checkpoint_errors, read_record


def write_tensors(path: Path, tensors: dict[str, Tensor], header: dict[str, str]) -> None:
    """Replace the file as a whole: a crash or a full disk leaves what was there."""
    from safetensors.torch import save

    # safetensors itself holds no checksum.
    metadata = {**header, "sha256": fingerprint(tensors)}
    write_file(path, save({k: v.detach().contiguous() for k, v in tensors.items()}, metadata=metadata))


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Returns: tensors and header. Raises: BadCheckpoint when the file is missing, damaged or no safetensors."""
    from safetensors import safe_open

    with checkpoint_errors(path), safe_open(str(path), framework="pt") as f:
        tensors, header = {name: f.get_tensor(name) for name in f.keys()}, dict(f.metadata() or {})  # noqa: SIM118
    if "sha256" in header and header["sha256"] != (got := fingerprint(tensors)):
        raise BadCheckpoint(
            f"{path}: damaged since it was written: its tensors have sha256 {got[:8]}, its header says "
            f"{header['sha256'][:8]}. Copy it again."
        )
    return tensors, header


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


def load_into(
    model: nn.Module,
    tensors: dict[str, Tensor],
    *,
    source: str,
    advice: str = "Give --model the model that they were trained for.",
) -> None:
    """Raises: BadCheckpoint naming the tensors that are missing, left over, or of another shape."""
    own = model.state_dict()
    missing = sorted(own.keys() - tensors.keys())
    extra = sorted(tensors.keys() - own.keys())
    shapes = [
        f"{name}, {tuple(tensors[name].shape)} for {tuple(own[name].shape)}"
        for name in sorted(own.keys() & tensors.keys())
        if own[name].shape != tensors[name].shape
    ]
    if missing or extra or shapes:
        detail = "; ".join(
            f"{len(names)} {what} (first: {names[0]})"
            for what, names in (("missing", missing), ("unknown", extra), ("of another shape", shapes))
            if names
        )
        raise BadCheckpoint(
            f"{source}: these weights are of another model than {type(model).__name__}: {detail}. {advice}"
        )
    model.load_state_dict(tensors)


def fingerprint(tensors: dict[str, Tensor]) -> str:
    """sha256 over names, shapes, types and bytes, whatever the file around them."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        value = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name} {tuple(value.shape)} {value.dtype}\n".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
