"""Trained modules: the weights that the package carries, checkpoints, and networks of a user's own."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lawder_edge.bundle.manifest import OutputKind, WeightsInfo
from lawder_edge.bundle.processing import class_numbers, probabilities
from lawder_edge.bundle.runner import Runner
from lawder_edge.errors import BadInput
from lawder_edge.training.record import WeightsRecord, hash_ids

if TYPE_CHECKING:
    from torch import nn

    from lawder_edge.quantization.network import QuantizedNetwork

BUNDLED = Path(__file__).parent / "models" / "weights"


class TorchRunner(Runner):
    """A module in PyTorch behind the interface that every exported artifact has."""

    def __init__(
        self,
        module: nn.Module,
        *,
        size: tuple[int, int],
        channels: int = 3,
        classes: int = 1,
        threshold: float = 0.5,
        kind: OutputKind = "logits",
    ) -> None:
        super().__init__(size=size, channels=channels, classes=classes, threshold=threshold, kind=kind)
        self.module = module.eval()

    def infer(self, tensor: NDArray[np.float32]) -> NDArray[Any]:
        """tensor: (B, C, H, W) float32 in [-1, 1]. Returns: (B, K, H, W) float32 logits, or what an artifact of that
        kind has to give in their place.
        """
        import torch

        with torch.no_grad():
            logits: NDArray[np.float32] = self.module(torch.from_numpy(tensor)).float().numpy()
        if self.kind == "logits" or not np.isfinite(logits).all():
            return logits
        found = probabilities(logits)
        return class_numbers(found, self.threshold) if self.kind == "mask" else found


@dataclass(frozen=True)
class LoadedModel:
    """A module with trained weights and what they say of themselves.

    module: in floating point. sha256: fingerprint of the tensors, and of the scales. quantized: the same network in
    int8, where the weights are quantised.
    """

    module: nn.Module
    record: WeightsRecord
    sha256: str
    quantized: QuantizedNetwork | None = None

    @property
    def computed(self) -> nn.Module:
        """What these weights are meant to compute: in int8 where they are quantised."""
        return self.quantized or self.module

    def reference(self, precision: str) -> nn.Module:
        """What an artifact of `precision` is held against: int8 against int8 in PyTorch, all else against float.

        What the quantisation itself costs is told by an evaluation of both.
        """
        return self.computed if precision == "int8" else self.module

    def info(self) -> WeightsInfo:
        """The provenance that goes into a manifest."""
        folders = sorted({i.rsplit("/", 1)[0] for i in self.record.train_ids})
        counts = [f"{f}:{sum(i.rsplit('/', 1)[0] == f for i in self.record.train_ids)}" for f in folders]
        return WeightsInfo(
            model=self.record.model,
            config_json=self.record.recipe,
            sha256=self.sha256,
            splits=tuple(counts),
            train_ids_sha256=hash_ids(self.record.train_ids),
            threshold=self.record.threshold,
        )


def bundled_weights(name: str, *, int8: bool = False) -> Path | None:
    """The weights, or the quantised weights, that the package carries for a model, or None."""
    path = BUNDLED / f"{name}{'_int8' if int8 else ''}.safetensors"
    return path if path.is_file() else None


def carried_weights(model: str, *, int8: bool = False) -> tuple[Path, ...]:
    """All weights that the package carries for an architecture: those of its name, then `MODEL_64` and the like, which
    were trained for pictures of that side, by rising side.
    """
    ending = f"{'_int8' if int8 else ''}.safetensors"
    found = {
        int(match[1] or 0): path
        # Not the model in the pattern: a manifest may hold any text in its place.
        for path in BUNDLED.glob(f"*{ending}")
        if (match := re.fullmatch(rf"{re.escape(model)}(?:_(\d+))?{re.escape(ending)}", path.name))
    }
    return tuple(found[side] for side in sorted(found))


def bundled_card(name: str) -> Path | None:
    """The model card that the package carries for weights of that name, or None. One card tells of all sides."""
    path = BUNDLED / f"{re.sub(r'_[0-9]+$', '', name)}.md"
    return path if path.is_file() else None


def load_model(text: str, *, int8: bool = False) -> LoadedModel:
    """A module with weights, from what a person typed; `int8` prefers the quantised ones of a name.

    - a model name whose weights the package carries,
    - a checkpoint file; it may name a model of this package only, since a file must not make code run,
    - `package.module:Class=FILE`, weights of a network of your own, whose code is then imported,
    - `package.module:Class`, that network as its constructor makes it.

    Raises: BadInput, BadCheckpoint.
    """
    from lawder_edge.models import MODELS, create_model
    from lawder_edge.quantization.checkpoint import is_quantized
    from lawder_edge.training.checkpoint import fingerprint, load_into, read_weights

    named, separator, file = text.partition("=") if not Path(text).exists() else ("", "", "")
    architecture = named if separator else ""
    if not separator and ":" in text and not Path(text).exists():
        module = create_model(text)
        return LoadedModel(module.eval(), WeightsRecord(model=text), fingerprint(dict(module.state_dict())))
    path = Path(file) if separator else Path(text)
    if not separator and not path.exists() and path.suffix != ".safetensors":
        carried = (bundled_weights(text, int8=True) if int8 else None) or bundled_weights(text)
        if carried is None:
            names = ", ".join(sorted(p.stem for p in BUNDLED.glob("*.safetensors")))
            if text not in MODELS:
                try:
                    create_model(text)  # tells the closest name
                except BadInput as error:
                    raise BadInput(f"{error} The package carries weights for: {names}.") from error
            raise BadInput(
                f"the package carries no weights for {text!r} (it does for: {names}). Train it: lawder-edge train "
                f"--model {text} --data DIR, then name its checkpoint in place of {text}: --model CHECKPOINT"
            )
        path = carried
    if is_quantized(path):
        return _load_quantized(path, trusted=architecture)
    tensors, record = read_weights(path)
    _check_trusted(path, record, architecture)
    module = create_model(architecture or record.model, in_channels=record.in_channels, num_classes=record.num_classes)
    load_into(module, tensors, source=str(path))
    return LoadedModel(module.eval(), record, fingerprint(tensors))


def _load_quantized(path: Path, *, trusted: str) -> LoadedModel:
    from lawder_edge.quantization.checkpoint import read_quantized
    from lawder_edge.quantization.network import QuantizedNetwork

    found = read_quantized(path)
    _check_trusted(path, found.record, trusted)
    deployed = found.deployed()
    network = QuantizedNetwork(deployed, found.scales, channels=found.record.in_channels).eval()
    return LoadedModel(deployed, found.record, found.sha256(), network)


def _check_trusted(path: Path, record: WeightsRecord, trusted: str) -> None:
    from lawder_edge.models import MODELS

    if record.model not in MODELS and record.model != trusted:
        raise BadInput(
            f"{path}: weights of {record.model!r}, which is no model of this package; loading them would import its "
            f"code. If you trust it: --model {record.model}={path}"
        )
