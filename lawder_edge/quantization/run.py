"""From a float checkpoint and a folder to quantised weights. Reads and writes disk."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from lawder_edge.errors import BadInput
from lawder_edge.evaluation.threshold import choose_threshold
from lawder_edge.files import write_file
from lawder_edge.graph.integer_kernels import QMAX, QMIN
from lawder_edge.models import MODELS
from lawder_edge.quantization.checkpoint import read_quantized
from lawder_edge.quantization.network import QuantizedNetwork
from lawder_edge.quantization.qat import QuantizedTrainee
from lawder_edge.quantization.recipe import QatOptions
from lawder_edge.quantization.scales import Scales
from lawder_edge.training.batches import TrainData, at_size, resized
from lawder_edge.training.config import Progress, TrainConfig, TrainResult
from lawder_edge.training.loop import BEST_FILE, clear_run, mean_dice, predict_probabilities, train
from lawder_edge.training.prepare import PreparedRun
from lawder_edge.training.record import WeightsRecord, hash_ids

CALIBRATION_FILE = "calibration.json"


@dataclass(frozen=True)
class TensorRange:
    """What an activation tensor can hold: from `low` to `high` in real numbers."""

    key: str
    scale: float
    zero_point: int
    low: float
    high: float


@dataclass(frozen=True)
class CalibrationReport:
    """What the first ranges came from, and what the ranges are in the end.

    ids_sha256: over the sorted ids. splits: names of the files that listed the pictures, without their folders; none
    for all pairs of the data.
    """

    images: int
    ids_sha256: str
    splits: tuple[str, ...]
    weight_bits: int
    tensors: tuple[TensorRange, ...]


def recipe_of(network: nn.Module, record: WeightsRecord, *, options: QatOptions) -> TrainConfig:
    """The fine-tuning of a trained network. record: of its weights.

    Raises: BadInput, also for a network that is quantised or stays in float.
    """
    if isinstance(network, QuantizedNetwork):
        raise BadInput("these weights are quantised already. Give the float checkpoint that they came from.")
    known = MODELS.get(record.model)
    if known is not None and known.float_only:
        raise BadInput(f"{record.model} stays in floating point. Take a model that is made for int8, such as order.")
    return options.recipe(model=record.model, in_channels=record.in_channels, num_classes=record.num_classes)


def run_qat(
    network: nn.Module,
    record: WeightsRecord,
    *,
    run: PreparedRun,
    options: QatOptions,
    out: Path,
    resume: bool,
    on_step: Callable[[Progress], None] | None = None,
    cpu: bool = False,
) -> TrainResult:
    """Fine-tune with rounding in place; `out` receives what `training.train` writes, and `calibration.json`.

    Raises: what `recipe_of` and `train` raise.
    """
    recipe = recipe_of(network, record, options=options)
    trainee, ids = _trainee(network, record, run, options)
    result = train(recipe, run.train, val=run.val, out=out, resume=resume, trainee=trainee, on_step=on_step, cpu=cpu)
    write_report(out, read_quantized(result.weights).scales, ids, splits=run.splits)
    return result


def run_ptq(network: nn.Module, record: WeightsRecord, *, run: PreparedRun, options: QatOptions, out: Path) -> float:
    """Learn ranges alone, choose the threshold on validation, write `best.safetensors` and `calibration.json`.

    Returns: mean Dice on validation at that threshold.
    """
    trainee, ids = _trainee(network, record, run, options)
    rounded = trainee.create()
    images, labels = at_size(run.val, options.size)
    probabilities = predict_probabilities(rounded, images)
    # Groups are known of the whole list, of which the calibrating images are a part.
    made = dataclasses.replace(
        record,
        size=options.size,
        train_ids=ids,
        train_groups=run.train.groups,
        val_ids=run.val.ids,
        val_groups=run.val.groups,
    )
    if record.num_classes == 1:
        choice = choose_threshold(list(probabilities[:, 0].numpy()), list(labels > 0))
        made = dataclasses.replace(made, threshold=choice.threshold)
    clear_run(out)
    trainee.save(out / BEST_FILE, rounded, made)
    write_report(out, rounded.scales(), ids, splits=run.splits)
    return mean_dice(probabilities, torch.from_numpy(labels).long(), threshold=made.threshold)


def _trainee(
    network: nn.Module, record: WeightsRecord, run: PreparedRun, options: QatOptions
) -> tuple[QuantizedTrainee, tuple[str, ...]]:
    images, ids = calibration_images(run.train, size=options.size, count=options.calibration)
    return QuantizedTrainee(network, record, images=images, options=options), ids


def calibration_images(data: TrainData, *, size: int, count: int) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
    """`count` training images, evenly picked, (n, size, size, C) uint8, and their ids."""
    picked = np.unique(np.linspace(0, len(data) - 1, min(count, len(data))).astype(int))
    frames = [resized(data.images[i], data.labels[i], size)[0] for i in picked]
    return np.stack(frames), tuple(data.ids[i] for i in picked)


def tensor_ranges(scales: Scales) -> tuple[TensorRange, ...]:
    """Of all activation tensors, in the order of `scales`."""
    return tuple(
        TensorRange(t.key, t.scale, t.zero_point, t.scale * (QMIN - t.zero_point), t.scale * (QMAX - t.zero_point))
        for t in scales.tensors
    )


def ranges_said(out: Path) -> str:
    """The ranges of the quantised weights in a run folder, in one line. Raises: BadCheckpoint."""
    ranges = sorted(tensor_ranges(read_quantized(out / BEST_FILE).scales), key=lambda r: r.high - r.low)
    ends = " to ".join(f"[{r.low:.4g}, {r.high:.4g}] ({r.key})" for r in (ranges[0], ranges[-1]))
    return f"ranges of {len(ranges)} tensors, smallest to largest {ends}; each is in {out / CALIBRATION_FILE}"


def write_report(out: Path, scales: Scales, ids: tuple[str, ...], *, splits: tuple[str, ...]) -> None:
    """Put `calibration.json` into the run folder. ids: of the images that gave the first ranges."""
    report = CalibrationReport(len(ids), hash_ids(ids), splits, scales.weight_bits, tensor_ranges(scales))
    text = json.dumps(asdict(report), indent=1)
    write_file(out / CALIBRATION_FILE, f"{text}\n".encode())
