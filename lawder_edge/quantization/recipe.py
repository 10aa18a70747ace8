"""How a float network is fine-tuned for int8. Imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass

from lawder_edge.errors import BadInput
from lawder_edge.training.config import TrainConfig


@dataclass(frozen=True)
class QatOptions:
    """What quantisation adds to a training recipe.

    Args:
        size: side in pixels; ranges are learnt at one size and serve all.
        passes: over the training pictures, with rounding in place.
        batch: pictures a step, over all processes.
        learning_rate: low, for int8 is to follow the float network and not to learn on.
        weight_bits: of convolution weights; 8 saturate on x86 processors without VNNI.
        teacher: weight of the float network's masks in the loss, against the true ones, from 0 to 1. True ones move an
            undertrained network on, and so away from the float one.
        tight: ranges leave out rare values where that rounds the others better.
        noise: steps that activations move by, at most, before they are rounded in training: int8 runtimes differ by
            about one step from tensor to tensor, and masks should not.
        freeze_after: share of the steps after which ranges are kept.
        calibration: training pictures that give the first ranges.
        val_fraction: share of the listed pictures held out to choose the pass and the threshold.
        checkpoint_every: steps between saved states.
        seed: of everything random.
    """

    size: int = 256
    passes: int = 2
    batch: int = 12
    learning_rate: float = 1e-4
    weight_bits: int = 7
    teacher: float = 1.0
    tight: bool = True
    noise: float = 0.5
    freeze_after: float = 0.6
    calibration: int = 96
    val_fraction: float = 0.1
    checkpoint_every: int = 50
    seed: int = 0

    def check(self) -> None:
        """Raises: BadInput naming the first option whose value makes no sense."""
        if not 4 <= self.weight_bits <= 8:
            raise BadInput(f"weight_bits is {self.weight_bits}; wanted 4 to 8.")
        for name in ("teacher", "freeze_after"):
            if not 0 <= getattr(self, name) <= 1:
                raise BadInput(f"{name} is {getattr(self, name)}; wanted a number from 0 to 1.")
        if not 0 <= self.noise <= 4:
            raise BadInput(f"noise is {self.noise}; wanted a number of steps from 0 to 4.")
        if self.calibration < 1:
            raise BadInput(f"calibration is {self.calibration}; wanted at least one picture.")

    def recipe(self, *, model: str, in_channels: int, num_classes: int) -> TrainConfig:
        """The training recipe of the network. Without averaging: averaged ranges would not belong to averaged weights.

        Raises: BadInput.
        """
        self.check()
        config = TrainConfig(
            model=model,
            in_channels=in_channels,
            num_classes=num_classes,
            schedule=f"{self.size}x{self.passes}",
            batch=self.batch,
            learning_rate=self.learning_rate,
            weight_decay=0.0,
            warmup_steps=50,
            ema_decay=0.0,
            val_fraction=self.val_fraction,
            val_every=1,
            checkpoint_every=self.checkpoint_every,
            seed=self.seed,
        )
        config.check()
        return config
