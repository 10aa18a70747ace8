"""What people name on the command line becomes something that predicts: a model name, a checkpoint, or a bundle."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lawder_edge.bundle.manifest import WeightsInfo
from lawder_edge.bundle.runner import Runner
from lawder_edge.errors import BadInput
from lawder_edge.evaluation.overlap import TrainedOn
from lawder_edge.weights import TorchRunner, carried_weights, load_model

if TYPE_CHECKING:
    from torch import nn

    from lawder_edge.bundle.store import Bundle


@dataclass(frozen=True)
class Predictor:
    """Something that predicts, wherever it came from.

    name: as a person knows it. model: the architecture. precision: of the arithmetic. bundle: where it came from one.
    sha256: of the weights, of their scales too where they are quantised; "" where that is not known. module: the
    network in floating point, of quantised weights in its deploy form; None for bundles.
    trained_on: what the weights were fitted to and chosen by; None where that is not known here, as for a bundle of
    other weights than the package carries, which holds only a hash of it.
    """

    runner: Runner
    name: str
    model: str
    precision: str
    threshold: float
    sha256: str = ""
    bundle: Bundle | None = None
    module: nn.Module | None = None
    trained_on: TrainedOn | None = None

    def cut(self, threshold: float | None = None) -> float:
        """The threshold to use: the one given, or else the one stored.

        Raises BadInput for one that cuts nothing, or another one than the file's own where that gives masks.
        """
        if threshold is not None and not 0 < threshold < 1:
            raise BadInput(f"threshold {threshold}: wanted a probability between 0 and 1.")
        if threshold not in (None, self.threshold) and self.runner.classes > 1:
            raise BadInput(
                f"threshold {threshold}: {self.name} has {self.runner.classes} classes, of which the most probable is "
                "taken. Leave it out."
            )
        if threshold not in (None, self.threshold) and self.runner.kind == "mask":
            raise BadInput(
                f"threshold {threshold}: {self.name} gives masks, cut at {self.threshold} inside the file. Export it "
                f"with --threshold {threshold}, or with --output prob."
            )
        return self.threshold if threshold is None else threshold


def load_predictor(text: str, *, threads: int = 0) -> Predictor:
    """A predictor from a bundle folder, or from anything that `load_model` takes.

    threads: 0 leaves the runtime's default. Raises: BadInput, BadCheckpoint, BadBundle, Unavailable.
    """
    path = Path(text)
    if path.is_dir():
        from lawder_edge.bundle.store import open_bundle
        from lawder_edge.targets.registry import load_runner

        bundle = open_bundle(path)
        manifest = bundle.manifest
        return Predictor(
            runner=load_runner(bundle, threads=threads),
            name=path.name,
            model=manifest.model,
            precision=manifest.precision,
            threshold=manifest.threshold,
            sha256=manifest.weights.sha256,
            bundle=bundle,
            trained_on=_carried_lists(manifest.weights, int8=manifest.precision == "int8"),
        )
    from lawder_edge.threads import limit_threads

    limit_threads(threads)
    loaded = load_model(text)
    record = loaded.record
    runner = TorchRunner(
        loaded.computed,
        size=(record.size, record.size),
        channels=record.in_channels,
        classes=record.num_classes,
        threshold=record.threshold,
    )
    return Predictor(
        runner=runner,
        name=path.stem if path.exists() else text,
        model=record.model,
        precision="fp32" if loaded.quantized is None else "int8",
        threshold=record.threshold,
        sha256=loaded.sha256,
        module=loaded.module,
        trained_on=record.trained_on(),
    )


def _carried_lists(weights: WeightsInfo, *, int8: bool = False) -> TrainedOn | None:
    """What the carried weights were made from, where a manifest's are the same. Needs no torch."""
    if importlib.util.find_spec("safetensors") is None:
        return None
    from lawder_edge.training.record import hash_ids, read_header, read_record

    for path in carried_weights(weights.model, int8=int8):
        record = read_record(path, read_header(path))
        if hash_ids(record.train_ids) == weights.train_ids_sha256:
            return record.trained_on()
    return None
