"""What people name on the command line becomes something that predicts: a model name, a checkpoint, or a bundle."""

from __future__ import annotations

import hashlib
import importlib.util
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from lawder_edge.bundle.manifest import WeightsInfo
from lawder_edge.bundle.runner import Runner
from lawder_edge.errors import BadInput

if TYPE_CHECKING:
    from torch import nn

    from lawder_edge.training.checkpoint import WeightsRecord

BUNDLED = Path(__file__).parent / "models" / "weights"
Kind = Literal["model", "checkpoint", "bundle"]


class TorchRunner(Runner):
    """A module in PyTorch behind the interface that every exported artifact has."""

    def __init__(
        self, module: nn.Module, *, size: tuple[int, int], channels: int = 3, classes: int = 1, threshold: float = 0.5
    ) -> None:
        super().__init__(size=size, channels=channels, classes=classes, threshold=threshold)
        self.module = module.eval()

    def infer(self, tensor: NDArray[np.float32]) -> NDArray[np.float32]:
        """tensor: (B, C, H, W) float32 in [-1, 1]. Returns: (B, K, H, W) float32 logits."""
        import torch

        with torch.no_grad():
            logits: NDArray[np.float32] = self.module(torch.from_numpy(tensor)).float().numpy()
        return logits


@dataclass(frozen=True)
class LoadedModel:
    """A module with trained weights and what they say of themselves. sha256: fingerprint of the tensors."""

    module: nn.Module
    record: WeightsRecord
    sha256: str

    def info(self) -> WeightsInfo:
        """The provenance that goes into a manifest."""
        folders = sorted({i.rsplit("/", 1)[0] for i in self.record.train_ids})
        counts = [f"{f}:{sum(i.rsplit('/', 1)[0] == f for i in self.record.train_ids)}" for f in folders]
        return WeightsInfo(
            model=self.record.model,
            config_json=self.record.recipe,
            sha256=self.sha256,
            splits=tuple(counts),
            train_ids_sha256=_hash_ids(self.record.train_ids),
            threshold=self.record.threshold,
        )


@dataclass(frozen=True)
class Predictor:
    """Something that predicts, wherever it came from.

    train_ids, train_groups, val_ids: what the weights were fitted to and chosen by; empty for a bundle of other weights
    than the package carries, since a bundle holds only their hash.
    """

    runner: Runner
    kind: Kind
    name: str
    threshold: float
    size: tuple[int, int]
    module: nn.Module | None = None
    train_ids: tuple[str, ...] = ()
    train_groups: tuple[str, ...] = ()
    val_ids: tuple[str, ...] = ()


def bundled_weights(name: str) -> Path | None:
    """The weights that the package carries for a model, or None."""
    path = BUNDLED / f"{name}.safetensors"
    return path if path.is_file() else None


def bundled_card(name: str) -> Path | None:
    """The model card that the package carries for a model, or None."""
    path = BUNDLED / f"{name}.md"
    return path if path.is_file() else None


def load_model(text: str, *, model: str | None = None) -> LoadedModel:
    """A module with weights from a checkpoint file, or from a model name whose weights the package carries.

    `model` overrides the architecture that the checkpoint names (for an own network that has moved).
    Raises: BadInput, BadCheckpoint.
    """
    from lawder_edge.models import MODELS, create_model
    from lawder_edge.training.checkpoint import fingerprint, load_into, read_weights

    path = Path(text)
    if not path.exists() and path.suffix != ".safetensors":
        if text in MODELS and bundled_weights(text) is None:
            carried = ", ".join(sorted(p.stem for p in BUNDLED.glob("*.safetensors")))
            raise BadInput(
                f"the package carries no weights for {text!r} (it does for: {carried}). Train it: lawder-edge train "
                f"--model {text} --data DIR, then give the checkpoint."
            )
        if text not in MODELS:
            create_model(text)  # tells the closest name
        path = bundled_weights(text) or path
    tensors, record = read_weights(path)
    module = create_model(model or record.model, in_channels=record.in_channels, num_classes=record.num_classes)
    load_into(module, tensors, source=str(path))
    return LoadedModel(module.eval(), record, fingerprint(tensors))


def load_predictor(text: str, *, threads: int = 0) -> Predictor:
    """A predictor from a model name, a checkpoint file or a bundle folder. threads: 0 leaves the runtime's default.

    Raises: BadInput, BadCheckpoint, BadBundle, Unavailable.
    """
    path = Path(text)
    if path.is_dir():
        from lawder_edge.bundle.store import open_bundle
        from lawder_edge.targets.registry import load_runner

        bundle = open_bundle(path)
        spec = bundle.manifest.input
        carried = _carried_record(bundle.manifest.weights)
        return Predictor(
            runner=load_runner(bundle, threads=threads),
            kind="bundle",
            name=path.name,
            threshold=bundle.manifest.threshold,
            size=(spec.height, spec.width),
            train_ids=tuple(carried.get("train_ids", ())),
            train_groups=tuple(carried.get("train_groups", ())),
            val_ids=tuple(carried.get("val_ids", ())),
        )
    from lawder_edge.training.threads import limit_threads

    limit_threads(threads)
    loaded = load_model(text)
    record = loaded.record
    size = (record.size, record.size)
    runner = TorchRunner(
        loaded.module, size=size, channels=record.in_channels, classes=record.num_classes, threshold=record.threshold
    )
    return Predictor(
        runner=runner,
        kind="model" if bundled_weights(text) and not path.exists() else "checkpoint",
        name=path.stem if path.exists() else text,
        threshold=record.threshold,
        size=size,
        module=loaded.module,
        train_ids=record.train_ids,
        train_groups=record.train_groups,
        val_ids=record.val_ids,
    )


def _hash_ids(ids: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(sorted(ids)).encode()).hexdigest() if ids else ""


def _carried_record(weights: WeightsInfo) -> dict[str, Any]:
    """What the bundled weights say of themselves where a manifest's are the same, else nothing. Needs no torch."""
    path = bundled_weights(weights.model)
    if path is None or importlib.util.find_spec("safetensors") is None:
        return {}
    from safetensors import safe_open

    with safe_open(str(path), framework="numpy") as f:
        record: dict[str, Any] = json.loads(f.metadata()["record"])
    return record if _hash_ids(record["train_ids"]) == weights.train_ids_sha256 else {}
