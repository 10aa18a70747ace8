"""What the training loop trains: a network in floating point, or one that is being quantised."""

from __future__ import annotations

from dataclasses import dataclass
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


@dataclass(frozen=True)
class TrainedNetwork:
    """Weights to start from or to learn from: what computes, its record, and the fingerprint of its tensors."""

    network: nn.Module
    record: WeightsRecord
    fingerprint: str


def check_start(config: TrainConfig, start: TrainedNetwork) -> None:
    """Raises: BadInput where `start` is not of the network that the configuration names."""
    wanted = (config.model, config.in_channels, config.num_classes)
    got = (start.record.model, start.record.in_channels, start.record.num_classes)
    if got != wanted:
        said = ["model {}, {} channels in, {} classes".format(*what) for what in (got, wanted)]
        raise BadInput(
            f"the weights to start from are of {said[0]}; this run trains {said[1]}. Give --model, --in-channels and "
            "--num-classes as those weights have them, or leave --init out."
        )


def untrained(config: TrainConfig) -> nn.Module:
    """The network that the configuration names, its weights from torch's generator. Raises: BadInput."""
    model: Any = create_model(config.model, in_channels=config.in_channels, num_classes=config.num_classes)
    if config.deep_supervision:
        if not hasattr(model, "deep_supervision"):
            raise BadInput(f"model {config.model!r} has no auxiliary heads; leave --deep-supervision out.")
        model.deep_supervision = True
    network: nn.Module = model
    return network


class FloatTrainee:
    """The network that the configuration names, in floating point.

    start: weights of that network to go on from, None for new ones. The record then tells what those had seen too.
    """

    def __init__(self, config: TrainConfig, start: TrainedNetwork | None = None) -> None:
        self._config, self._start = config, start

    def facts(self) -> dict[str, Any]:
        return {} if self._start is None else {"start": self._start.fingerprint[:16]}

    def create(self) -> nn.Module:
        model: Any = untrained(self._config)
        known = MODELS.get(self._config.model)
        if self._start is not None:
            load_into(model, self._start.network.state_dict(), source="the weights to start from")
        elif known is not None and known.imagenet:
            fill_lite0(getattr(model, known.imagenet))
        network: nn.Module = model
        return network

    def loss(self, outputs: Any, batch: Batch) -> Tensor:
        return supervised(LOSSES[self._config.loss], outputs, batch.labels)

    def before_step(self, model: nn.Module, done: float) -> None:
        """Nothing changes on the way."""

    def save(self, path: Path, model: nn.Module, record: WeightsRecord) -> None:
        save_weights(path, model, record if self._start is None else record.having_seen(self._start.record))

    def load(self, path: Path, model: nn.Module) -> WeightsRecord:
        tensors, record = read_weights(path)
        load_into(model, tensors, source=str(path))
        return record
