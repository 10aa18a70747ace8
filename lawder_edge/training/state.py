"""Everything that a run is at one moment, and how it is kept in one file."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from lawder_edge.errors import BadCheckpoint
from lawder_edge.training.checkpoint import load_into, read_tensors, write_tensors
from lawder_edge.training.config import PassRecord
from lawder_edge.training.record import RUN_FORMAT

State = TypeVar("State")


@dataclass
class RunState:
    """step: optimiser steps done. loss_sum: of the current pass. best_*: on validation, best_pass -1
    before the first. loss_scale: state of the gradient scaler, empty without fp16.
    """

    step: int = 0
    loss_sum: float = 0.0
    seconds: float = 0.0
    best_dice: float = -1.0
    best_pass: int = -1
    loss_scale: dict[str, float] = dataclasses.field(default_factory=dict)
    history: tuple[PassRecord, ...] = ()


class Ema:
    """Exponential moving average of a model's state; its decay starts low so that the first steps are forgotten."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.state = {k: v.detach().clone() for k, v in model.state_dict().items()}

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """After optimiser step `step`, counted from 1."""
        decay = min(self.decay, (1 + step) / (10 + step))
        for name, value in model.state_dict().items():
            if value.is_floating_point():
                self.state[name].lerp_(value, 1 - decay)
            else:
                self.state[name].copy_(value)


def run_state(fields: dict[str, Any]) -> RunState:
    """From the fields as JSON gives them back."""
    return RunState(**{**fields, "history": tuple(PassRecord(**row) for row in fields["history"])})


def write_run(
    path: Path,
    state: Any,
    *,
    model: nn.Module,
    ema: Ema,
    optimizer: torch.optim.Optimizer,
    recipe: dict[str, Any],
    format: str = RUN_FORMAT,
) -> None:
    """One safetensors file: model, EMA and optimiser tensors, the rest as JSON in the header.

    state: a dataclass of JSON values. recipe: JSON values that make this run what it is; it is resumed with equal ones
    alone. format: names the kind of run.
    """
    tensors: dict[str, Tensor] = {f"model.{k}": v for k, v in model.state_dict().items()}
    tensors |= {f"ema.{k}": v for k, v in ema.state.items()}
    for index, slots in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{slot}": v for slot, v in slots.items()}
    header = {
        "format": format,
        "config": json.dumps(recipe, sort_keys=True),
        "state": json.dumps(dataclasses.asdict(state)),
    }
    write_tensors(path, tensors, header)


def read_run(
    path: Path,
    *,
    model: nn.Module,
    ema: Ema,
    optimizer: torch.optim.Optimizer,
    recipe: dict[str, Any],
    parse: Callable[[dict[str, Any]], State],
    format: str = RUN_FORMAT,
) -> State:
    """Restore in place. parse: makes the state of its fields.

    Raises: BadCheckpoint when the file is damaged, of another kind or of a run with another recipe.
    """
    tensors, header = read_tensors(path)
    if header.get("format") != format:
        raise BadCheckpoint(f"{path}: format {header.get('format')!r}, wanted {format!r}: not the state of such a run.")
    try:
        before = dict(json.loads(header["config"]))
        state = parse(json.loads(header["state"]))
        groups: dict[str, dict[str, Tensor]] = {"model": {}, "ema": {}, "optimizer": {}}
        for name, value in tensors.items():
            kind, _, rest = name.partition(".")
            groups[kind][rest] = value
        moments: dict[int, dict[str, Tensor]] = {}
        for name, value in groups["optimizer"].items():
            index, _, slot = name.partition(".")
            moments.setdefault(int(index), {})[slot] = value
    except (KeyError, TypeError, ValueError) as error:
        raise BadCheckpoint(
            f"{path}: its header is not that of a run ({error!r}). It was written by another version of lawder-edge, "
            "or changed since; start another run in another folder."
        ) from error
    # As JSON gives it back: tuples are lists there.
    now = json.loads(json.dumps(recipe))
    if changed := sorted(k for k in before.keys() | now.keys() if before.get(k) != now.get(k)):
        raise BadCheckpoint(
            f"{path}: that run was started with another configuration ("
            + "; ".join(f"{k} was {before.get(k)!r}, now {now.get(k)!r}" for k in changed)
            + "). Resume with the same options, or start another run in another folder."
        )
    load_into(model, groups["model"], source=str(path))
    for name, value in groups["ema"].items():
        ema.state[name].copy_(value)
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    optimizer_state = optimizer.state_dict()
    optimizer_state["state"] = {
        index: {slot: _laid_out_as(parameters[index], value) for slot, value in slots.items()}
        for index, slots in moments.items()
    }
    optimizer.load_state_dict(optimizer_state)
    return state


def _laid_out_as(parameter: Tensor, value: Tensor) -> Tensor:
    """The value in the parameter's order in memory, by which a fused optimiser goes, whatever axes it is told of.

    Files hold NCHW alone; the weights of a network may be in channels_last.
    """
    return torch.empty_like(parameter, dtype=value.dtype).copy_(value) if value.shape == parameter.shape else value
