"""What the training loop trains: a network in floating point, or one that is being quantised."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

from torch import Tensor, nn

from lawder_edge.errors import BadInput
from lawder_edge.models import MODELS, create_model
from lawder_edge.training.batches import Batch
from lawder_edge.training.checkpoint import load_into, read_weights, save_weights
from lawder_edge.training.config import TrainConfig
from lawder_edge.training.losses import LOSSES, supervised
from lawder_edge.training.pretrained import fill_lite0
from lawder_edge.training.record import WeightsRecord


class Trainee(Protocol):
    """One network, its loss, and the file that its weights are kept in."""

    def facts(self) -> dict[str, Any]:
        """JSON values beside the configuration that make a run what it is; it is resumed with equal ones alone."""

    def create(self) -> nn.Module:
        """A network to start from, the same for the same torch seed. All of its state is in its state_dict."""

    def loss(self, outputs: Any, batch: Batch) -> Tensor:
        """outputs: what the network gave for the batch's frames. Returns: a scalar."""

    def before_step(self, model: nn.Module, done: float) -> None:
        """Called before each step. done: share of the steps that are behind, in [0, 1)."""

    def save(self, path: Path, model: nn.Module, record: WeightsRecord) -> None:
        """Replace the weights file as a whole."""

    def load(self, path: Path, model: nn.Module) -> WeightsRecord:
        """Restore in place what `save` wrote. Raises: BadCheckpoint."""


class FloatTrainee:
    """The network that the configuration names, in floating point."""

    def __init__(self, config: TrainConfig) -> None:
        self._config = config

    def facts(self) -> dict[str, Any]:
        return {}

    def create(self) -> nn.Module:
        c = self._config
        model: Any = create_model(c.model, in_channels=c.in_channels, num_classes=c.num_classes)
        if c.deep_supervision:
            if not hasattr(model, "deep_supervision"):
                raise BadInput(f"model {c.model!r} has no auxiliary heads; leave --deep-supervision out.")
            model.deep_supervision = True
        if c.model in MODELS and MODELS[c.model].imagenet:
            fill_lite0(getattr(model, MODELS[c.model].imagenet))
        network: nn.Module = model
        return network

    def loss(self, outputs: Any, batch: Batch) -> Tensor:
        return supervised(LOSSES[self._config.loss], outputs, batch.labels)

    def before_step(self, model: nn.Module, done: float) -> None:
        """Nothing changes on the way."""

    def save(self, path: Path, model: nn.Module, record: WeightsRecord) -> None:
        save_weights(path, model, record)

    def load(self, path: Path, model: nn.Module) -> WeightsRecord:
        tensors, record = read_weights(path)
        load_into(model, tensors, source=str(path))
        return record
