"""From a trained module to a bundle on disk."""

from __future__ import annotations

import importlib.resources
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from lawder_edge.bundle import processing
from lawder_edge.bundle.manifest import (
    SCHEMA_VERSION,
    InputSpec,
    Manifest,
    OutputSpec,
    Quantization,
    WeightsInfo,
    portable_config,
)
from lawder_edge.bundle.runner import Runner
from lawder_edge.bundle.store import Bundle, check_free, list_files, write_bundle
from lawder_edge.errors import BadInput
from lawder_edge.exporting.shared import ALONE, PYTORCH, Shared, SharedRunner
from lawder_edge.targets.registry import (
    Artifact,
    ExportSpec,
    Network,
    Program,
    Target,
    check_size,
    get_target,
    not_quantised,
)

if TYPE_CHECKING:
    from torch import nn

    from lawder_edge.bundle.certificate import Certificate

# (H, W) of the golden frames: the network's usual input, and one that has to be resized in both directions.
GOLDEN_SIZES = ((256, 256), (240, 320))
GOLDEN_SEED = 2026
MODEL_CARD = "MODEL_CARD.md"


def export_bundle(
    model: nn.Module,
    *,
    target: str,
    spec: ExportSpec,
    weights_info: WeightsInfo,
    out: Path,
    threshold: float | None = None,
    predict_size: tuple[int, int] = (256, 256),
    name: str | None = None,
    model_card: Path | None = None,
    overwrite: bool = False,
    on_remark: Callable[[str], None] | None = None,
    check: Callable[[Bundle], Certificate] | None = None,
    shared: Shared = ALONE,
) -> Bundle:
    """Export a module and put everything that a device needs beside it.

    model: maps (B, channels, H, W) in [-1, 1) to logits; used in eval mode, and exported in its deploy form; for int8 a
    QuantizedNetwork. spec: tells what the file takes and gives; its threshold is set here. threshold: None for that of
    the weights. predict_size: what frames are resized to where `spec.size` leaves it open. name: of the network in the
    files, None for that of the weights' model. model_card: copied in.
    on_remark: told what the target has to say of its file. check: verifies the finished folder before it is handed out,
    as `verify.measure` does; see `write_bundle`. shared: with other exports of the same module.

    Raises BadInput for an unknown target, precision or size; Unavailable for a missing exporter; OutputExists;
    GateFailed when `check` rejects, the folder then standing at `OUT.rejected`.
    """
    record = get_target(target)
    record.check(spec)
    size = spec.size or predict_size
    if spec.precision == "int8" or not record.any_size:
        # The scales serve every size, but integer runtimes plan for one.
        spec = replace(spec, size=size)
    check_size(size, spec.multiple_of)
    sides = record.sides(spec)
    if sides is not None:
        size = (min(max(size[0], sides[0]), sides[1]), min(max(size[1], sides[0]), sides[1]))
    cut = weights_info.threshold if threshold is None else threshold
    if not 0 < cut < 1:
        raise BadInput(f"threshold {cut}: wanted a probability between 0 and 1.")
    if model_card is not None and not model_card.is_file():
        raise BadInput(f"{model_card}: no such file; wanted the model card.")
    check_free(out, overwrite=overwrite)
    stem = re.sub(r"[^A-Za-z0-9_]+", "_", weights_info.model if name is None else name)
    if not re.search("[A-Za-z0-9]", stem):
        raise BadInput(f"the network's name {name!r} holds no letter or digit; wanted such as order_64.")
    name = "-".join((stem, record.name, spec.precision))
    spec = replace(
        spec,
        name=name,
        threshold=cut,
        notes=(*spec.notes, ("input_range", processing.INPUT_RANGE), ("name", name), ("threshold", str(cut))),
    )

    def build(folder: Path) -> Manifest:
        artifact = record.export(_program(model, record, spec, shared), spec, folder / f"{name}{record.suffix}")
        if on_remark is not None:
            for remark in artifact.remarks:
                on_remark(remark)
        write_golden(folder / "golden", _reference(model, spec, size, cut, shared))
        _copy_runner(record, folder)
        if model_card is not None:
            shutil.copyfile(model_card, folder / MODEL_CARD)
        return _manifest(
            record, spec, artifact, folder, size=size, threshold=cut, weights=weights_info,
            quantization=_quantization(record, model) if spec.precision == "int8" else None,
        )  # fmt: skip

    return write_bundle(out, build, overwrite=overwrite, check=check)


def write_golden(folder: Path, reference: Runner) -> None:
    """Phantom frames and what `reference` makes of them, so that a device can test itself without a patient's image.

    Writes NN.frame.png (RGB), NN.probability.png (of foreground; 16 bit, 65535 for 1; none where the network gives
    masks) and NN.mask.png (0 or 255; with several classes their numbers) for each of `GOLDEN_SIZES`.
    """
    import cv2

    from lawder_edge.data.phantom import make_frame

    folder.mkdir()
    for n, size in enumerate(GOLDEN_SIZES):
        frame = make_frame(np.random.default_rng([GOLDEN_SEED, n]), size=size).image
        labels = reference.predict_labels(frame)
        pictures: dict[str, npt.NDArray[Any]] = {
            "frame": np.ascontiguousarray(frame[:, :, ::-1]),
            "mask": labels if reference.classes > 1 else labels * np.uint8(255),
        }
        if reference.kind != "mask":
            pictures["probability"] = np.rint(reference.predict(frame) * 65535).astype(np.uint16)
        for kind, picture in pictures.items():
            (folder / f"{n:02d}.{kind}.png").write_bytes(cv2.imencode(".png", picture)[1].tobytes())


def _program(model: nn.Module, record: Target, spec: ExportSpec, shared: Shared) -> Program:
    """What the target is written from. Raises Unavailable for a missing exporter, and as `_network`."""
    form = record.form(spec.precision)
    if form is None:
        return _network(model, spec)
    record.require(record.to_export)
    return shared.form(form, lambda: _network(model, spec), spec)


def _network(model: nn.Module, spec: ExportSpec) -> Network:
    """What forms are made from. Raises BadInput for int8 of a network that is not quantised."""
    from lawder_edge.models.deploy import to_deploy
    from lawder_edge.quantization.network import QuantizedNetwork

    if spec.precision != "int8":
        return to_deploy(model)
    if not isinstance(model, QuantizedNetwork) or spec.size is None:
        raise not_quantised()
    return model.program(spec.size, dynamic_batch=spec.dynamic_batch)


def _reference(model: nn.Module, spec: ExportSpec, size: tuple[int, int], threshold: float, shared: Shared) -> Runner:
    from lawder_edge.weights import TorchRunner

    runner = TorchRunner(
        model, size=size, channels=spec.channels, classes=spec.classes, threshold=threshold, kind=spec.output
    )
    return SharedRunner(runner, shared, what=PYTORCH)


def _quantization(target: Target, model: nn.Module) -> Quantization | None:
    from lawder_edge.quantization.network import QuantizedNetwork

    if not isinstance(model, QuantizedNetwork):
        return None
    return Quantization(
        weights=f"{model.scales.weight_bits} bits in int8, symmetric, one scale an output channel",
        activations=target.activations,
        rounding=target.rounding,
    )


def _copy_runner(target: Target, folder: Path) -> None:
    """The device-side runner of the target, what all runners share, and the processing shared with this package."""
    package = importlib.resources.files("lawder_edge")
    sources = [package / "bundle" / "processing.py"]
    for name in ("shared", target.name):
        sources += [f for f in (package / "runners" / name).iterdir() if f.is_file()]
    for source in sources:
        (folder / source.name).write_bytes(source.read_bytes())


def _manifest(
    target: Target,
    spec: ExportSpec,
    artifact: Artifact,
    folder: Path,
    *,
    size: tuple[int, int],
    threshold: float,
    quantization: Quantization | None,
    weights: WeightsInfo,
) -> Manifest:
    return Manifest(
        schema_version=SCHEMA_VERSION,
        name=spec.name,
        model=weights.model,
        target=target.name,
        precision=spec.precision,
        model_file=artifact.path.name,
        files=list_files(folder),
        input=InputSpec(
            height=size[0],
            width=size[1],
            dynamic=spec.size is None,
            dynamic_batch=spec.dynamic_batch,
            multiple_of=spec.multiple_of,
            channels=spec.channels,
            layout=target.layout,
            dtype=target.input_type(spec),
            sides=target.sides(spec),
        ),
        output=OutputSpec(kind=spec.output, classes=spec.classes, dtype=target.output_type(spec)),
        threshold=threshold,
        quantization=quantization,
        weights=replace(weights, config_json=portable_config(weights.config_json)),
        tools=artifact.tools,
    )
