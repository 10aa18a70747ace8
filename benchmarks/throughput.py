"""What the training loop gains over a plain one: pictures a second of one network, a step of each in turn (A B A B).

    python benchmarks/throughput.py --model unet order --data DIR --split TRAIN --turns 8

One process, one thread, the processor's time of the process, in which other work on the machine is not. Both loops take
the same batch, size, augmentation, loss and clipping. `training.loop.train` is timed from step to step as it stands,
with its moving average and its checkpoints. The plain loop decodes its pictures at each step, gives the network NCHW
tensors, has each convolution as the papers draw it, and steps an AdamW as its constructor makes it.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lawder_edge.bench.ratios import ratio
from lawder_edge.bundle.processing import resize
from lawder_edge.data.augment import AugmentConfig
from lawder_edge.data.cache import resize_labels
from lawder_edge.data.datasets import Sample, find_samples, select_listed
from lawder_edge.data.load import load_pair
from lawder_edge.models import blocks, create_model
from lawder_edge.training.batches import Batch, TrainData, augmented_batch
from lawder_edge.training.config import Progress, TrainConfig
from lawder_edge.training.loop import parameter_groups, train
from lawder_edge.training.losses import LOSSES, supervised
from lawder_edge.training.prepare import CACHE_SIDE, load_part

# Memory is laid out and kernels are chosen in the first steps.
WARM_UP = 2


class EnoughError(Exception):
    """All turns are measured."""


@dataclass
class Times:
    """Of one loop, milliseconds a picture, a turn each.

    whole: of the step. data: in it, reading files, bringing them to size and augmenting them.
    """

    whole: list[float] = field(default_factory=list)
    data: list[float] = field(default_factory=list)

    def add(self, whole_s: float, data_s: float, pictures: int) -> None:
        self.whole.append(1e3 * whole_s / pictures)
        self.data.append(1e3 * data_s / pictures)

    @property
    def network(self) -> list[float]:
        """What is left: forward, loss, backward, optimiser."""
        return [whole - data for whole, data in zip(self.whole, self.data, strict=True)]


class Clocked:
    """`augmented_batch`, and the processor's seconds that it has taken so far."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self, *given: Any, **options: Any) -> Batch:
        started = time.process_time()
        batch = augmented_batch(*given, **options)
        self.seconds += time.process_time() - started
        return batch


def depthwise(x: Tensor, weight: Tensor) -> Tensor:
    return F.conv2d(x, weight, padding=weight.shape[2] // 2, groups=x.shape[1])


def paired(x: Tensor, conv: nn.Conv2d) -> Tensor:
    y: Tensor = conv(x)
    return y


class PlainLoop:
    """samples: that the steps go through in their order."""

    def __init__(self, config: TrainConfig, samples: Sequence[Sample]) -> None:
        self._config, self._samples, self._steps = config, samples, 0
        self._model = create_model(config.model).train()
        self._optimizer = torch.optim.AdamW(parameter_groups(self._model, config.weight_decay), lr=config.learning_rate)

    def step(self) -> float:
        """Returns: the processor's seconds that its pictures took."""
        c = self._config
        started = time.process_time()
        chosen = [self._samples[(self._steps * c.batch + i) % len(self._samples)] for i in range(c.batch)]
        pairs = [load_pair(sample) for sample in chosen]
        side = (CACHE_SIDE, CACHE_SIDE)
        images = np.stack([resize(pair.image, side) for pair in pairs])
        labels = np.stack([resize_labels(pair.labels, side) for pair in pairs])
        data = TrainData(images, labels, tuple(s.id for s in chosen), np.zeros(c.batch, np.int64))
        batch = augmented_batch(
            data, np.arange(c.batch), size=c.size_at(0), seed=c.seed, pass_index=self._steps, config=AugmentConfig()
        )
        took = time.process_time() - started
        self._steps += 1
        with mock.patch.multiple(blocks, depthwise=depthwise, paired=paired):
            loss = supervised(LOSSES[c.loss], self._model(batch.frames.contiguous()), batch.labels)
            self._optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self._model.parameters(), c.clip_norm)
        self._optimizer.step()
        float(loss.detach())
        return took


def measured(config: TrainConfig, samples: Sequence[Sample], *, turns: int) -> tuple[Times, Times]:
    """Of the plain loop and of this one, step by step after `WARM_UP` of each."""
    plain, ours = Times(), Times()
    loop, clocked = PlainLoop(config, samples), Clocked()
    mark, steps = 0.0, 0

    def turn(_: Progress) -> None:
        nonlocal mark, steps
        now = time.process_time()
        steps += 1
        data = loop.step()
        after = time.process_time()
        if steps > WARM_UP:
            ours.add(now - mark, clocked.seconds, config.batch)
            plain.add(after - now, data, config.batch)
        if steps == turns + WARM_UP:
            raise EnoughError
        clocked.seconds = 0.0
        mark = time.process_time()

    with tempfile.TemporaryDirectory() as folder:
        part = load_part(
            samples, side=CACHE_SIDE, channels=3, num_classes=1, domains=sorted({s.dataset for s in samples}),
            cache=Path(folder), skip_bad=False, progress=lambda done, total: None,
        )  # fmt: skip
        try:
            with mock.patch("lawder_edge.training.loop.augmented_batch", clocked):
                train(config, part.data, val=part.data, out=Path(folder), on_step=turn, cpu=True)
        except EnoughError:
            return plain, ours
    raise SystemExit(f"--turns {turns} is more than {config.passes} passes hold.")


def faster(ms: Sequence[float], baseline: Sequence[float]) -> str:
    if list(ms) == list(baseline):
        return "1.00"
    r = ratio("", "", ms, baseline)
    return f"{r.median:.2f} [{r.low:.2f}, {r.high:.2f}]"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", nargs="+", default=["order"])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--split", type=Path, nargs="*", default=())
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--turns", type=int, default=8)
    args = parser.parse_args()
    torch.set_num_threads(1)
    samples = select_listed(find_samples(args.data), args.split)
    print(
        "| network | loop | ms a picture | pictures a second | times faster [95 %] | network ms | times faster [95 %] |"
    )
    print("|---|---|---|---|---|---|---|")
    for name in args.model:
        passes = args.turns + WARM_UP
        config = TrainConfig(model=name, schedule=f"{args.size}x{passes}", val_every=passes)
        plain, ours = measured(config, samples[: 2 * config.batch], turns=args.turns)
        for loop, times in (("plain", plain), ("this", ours)):
            ms = float(np.median(times.whole))
            cells = [name, loop, f"{ms:.1f}", f"{1e3 / ms:.1f}", faster(times.whole, plain.whole)]
            cells += [f"{np.median(times.network):.1f}", faster(times.network, plain.network)]
            print("| " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
