"""What people name on the command line becomes something that predicts: a model name, a checkpoint, or a bundle."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from lawder_edge.bundle.manifest import Manifest
from lawder_edge.bundle.runner import Runner
from lawder_edge.errors import BadInput
from lawder_edge.evaluation.overlap import TrainedOn
from lawder_edge.weights import TorchRunner, bundled_weights, hash_ids, load_model

if TYPE_CHECKING:
    from torch import nn

Kind = Literal["model", "checkpoint", "bundle"]


@dataclass(frozen=True)
class Predictor:
    """Something that predicts, wherever it came from.

    name: what people call it. model: architecture, as `create_model` takes it. precision: of the arithmetic. module:
    the network in floating point, of a model or checkpoint. manifest: of a bundle. trained_on: what the weights were
    fitted to and chosen by; None where that is not known here, as for a bundle of other weights than the package
    carries, which holds only a hash of it.
    """

    runner: Runner
    kind: Kind
    name: str
    model: str
    precision: str
    threshold: float
    module: nn.Module | None = None
    manifest: Manifest | None = None
    trained_on: TrainedOn | None = None

    def cut(self, threshold: float | None = None) -> float:
        """The threshold to use: the one given, or else the one stored.

        Raises BadInput for one that cuts nothing, or another one than the file's own where that gives masks.
        """
        if threshold is not None and not 0 < threshold < 1:
            raise BadInput(f"threshold {threshold}: wanted a probability between 0 and 1.")
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
            kind="bundle",
            name=path.name,
            model=manifest.model,
            precision=manifest.precision,
            threshold=manifest.threshold,
            manifest=manifest,
            trained_on=_carried_lists(manifest),
        )
    from lawder_edge.training.threads import limit_threads

    limit_threads(threads)
    loaded = load_model(text)
    record = loaded.record
    size = (record.size, record.size)
    runner = TorchRunner(
        loaded.computed, size=size, channels=record.in_channels, classes=record.num_classes, threshold=record.threshold
    )
    return Predictor(
        runner=runner,
        kind="model" if bundled_weights(text) and not path.exists() else "checkpoint",
        name=path.stem if path.exists() else text,
        model=record.model,
        precision="fp32" if loaded.quantized is None else "int8",
        threshold=record.threshold,
        module=loaded.module,
        trained_on=record.trained_on(),
    )


def _carried_lists(manifest: Manifest) -> TrainedOn | None:
    """What the carried weights were made from, where a manifest's are the same. Needs no torch."""
    path = bundled_weights(manifest.model, int8=manifest.precision == "int8")
    if path is None or importlib.util.find_spec("safetensors") is None:
        return None
    from lawder_edge.training.checkpoint import read_header, read_record

    record = read_record(path, read_header(path))
    return record.trained_on() if hash_ids(record.train_ids) == manifest.weights.train_ids_sha256 else None
