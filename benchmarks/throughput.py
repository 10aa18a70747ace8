"""What the training loop gains over a plain one: pictures a second of one network, a step of each in turn (A B A B).

    python benchmarks/throughput.py --model unet order --data DIR --split TRAIN --turns 8
    python benchmarks/throughput.py --model order --data DIR --split TRAIN --mixed-precision bf16

Each loop in a process of its own, one thread, the processor's time of the process, in which other work on the machine
is not. All take the same batch, size, augmentation, loss and clipping. `training.loop.train` is timed from step to step
as it stands, with its moving average, and its share of a checkpoint with its curves, one of `checkpoint_every` steps.
The plain loop decodes its pictures at each step, gives the network NCHW tensors, has each convolution as the papers
draw it, steps an AdamW as its constructor makes it, and keeps nothing. With --mixed-precision both are measured in it
too, and held against the plain loop in float32.
"""

from __future__ import annotations

import argparse
import dataclasses
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
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
from lawder_edge.data.datasets import Sample, listed_samples
from lawder_edge.data.load import load_pair
from lawder_edge.errors import BadInput, LawderError
from lawder_edge.models import blocks, create_model
from lawder_edge.threads import limit_threads
from lawder_edge.training import loop
from lawder_edge.training.batches import TrainData, augmented_batch
from lawder_edge.training.config import Progress, TrainConfig
from lawder_edge.training.curves import write_curves
from lawder_edge.training.heap import keep_freed_memory
from lawder_edge.training.losses import LOSSES, supervised
from lawder_edge.training.prepare import CACHE_SIDE, load_part
from lawder_edge.training.state import write_run

# Memory is laid out and kernels are chosen in the first steps.
WARM_UP = 2


@dataclass(frozen=True)
class Step:
    """The processor's seconds of one. whole_s: of all of it. data_s: in it, reading files, bringing them to size and
    augmenting them. kept_s: in it, writing a checkpoint and curves.
    """

    whole_s: float
    data_s: float
    kept_s: float = 0.0


@dataclass
class Times:
    """Of one loop, milliseconds a picture, a turn each. checkpoint_every: steps; each of those measured wrote one."""

    pictures: int
    checkpoint_every: int
    whole: list[float] = field(default_factory=list)
    network: list[float] = field(default_factory=list)

    def add(self, step: Step) -> None:
        """network: forward, loss, backward, optimiser, and in this loop the moving average."""
        bare_s = step.whole_s - step.kept_s
        self.whole.append(1e3 * (bare_s + step.kept_s / self.checkpoint_every) / self.pictures)
        self.network.append(1e3 * (bare_s - step.data_s) / self.pictures)


class Clocked:
    """A function, and the processor's seconds that it has taken since `take`."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function, self._seconds = function, 0.0

    def __call__(self, *given: Any, **options: Any) -> Any:
        started = time.process_time()
        found = self._function(*given, **options)
        self._seconds += time.process_time() - started
        return found

    def take(self) -> float:
        seconds, self._seconds = self._seconds, 0.0
        return seconds


def depthwise(x: Tensor, weight: Tensor) -> Tensor:
    return F.conv2d(x, weight, padding=weight.shape[2] // 2, groups=x.shape[1])


def paired(x: Tensor, conv: nn.Conv2d) -> Tensor:
    y: Tensor = conv(x)
    return y


class PlainLoop:
    """samples: the batch of each step."""

    def __init__(self, config: TrainConfig, samples: Sequence[Sample]) -> None:
        self._config, self._samples, self._steps = config, samples, 0
        self._model = create_model(config.model).train()
        groups = loop.parameter_groups(self._model, config.weight_decay)
        self._optimizer = torch.optim.AdamW(groups, lr=config.learning_rate)

    def step(self) -> Step:
        c = self._config
        started = time.process_time()
        pairs = [load_pair(sample) for sample in self._samples]
        side = (CACHE_SIDE, CACHE_SIDE)
        images = np.stack([resize(pair.image, side) for pair in pairs])
        labels = np.stack([resize_labels(pair.labels, side) for pair in pairs])
        data = TrainData(images, labels, tuple(s.id for s in self._samples), np.zeros(c.batch, np.int64))
        batch = augmented_batch(
            data, np.arange(c.batch), size=c.size_at(0), seed=c.seed, pass_index=self._steps, config=AugmentConfig()
        )
        has_data = time.process_time()
        self._steps += 1
        with mock.patch.multiple(blocks, depthwise=depthwise, paired=paired):
            with torch.autocast("cpu", torch.bfloat16, enabled=c.mixed_precision == "bf16"):
                logits = self._model(batch.frames.contiguous())
            loss = supervised(LOSSES[c.loss], logits.float(), batch.labels)
            self._optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self._model.parameters(), c.clip_norm)
        self._optimizer.step()
        float(loss.detach())
        return Step(time.process_time() - started, has_data - started)


def run_plain(config: TrainConfig, samples: Sequence[Sample], parent: Connection) -> None:
    """A step for each word from the parent."""
    limit_threads(1)
    plain = PlainLoop(config, samples)
    while parent.recv():
        parent.send(plain.step())


class EnoughError(Exception):
    """The parent wants no more."""


def run_this(config: TrainConfig, samples: Sequence[Sample], parent: Connection) -> None:
    """As `run_plain`. Each step is a pass of one batch, so that each writes what a run writes."""
    limit_threads(1)
    # As `lawder-edge train` does.
    keep_freed_memory()
    data, run, curves = Clocked(augmented_batch), Clocked(write_run), Clocked(write_curves)
    mark = 0.0

    def wait() -> None:
        nonlocal mark
        if not parent.recv():
            raise EnoughError
        for clocked in (data, run, curves):
            clocked.take()
        mark = time.process_time()

    def told(_: Progress) -> None:
        whole = time.process_time() - mark
        parent.send(Step(whole, data.take(), run.take() + curves.take()))
        wait()

    with tempfile.TemporaryDirectory() as folder:
        part = load_part(
            samples, side=CACHE_SIDE, channels=3, num_classes=1, domains=sorted({s.dataset for s in samples}),
            cache=Path(folder), skip_bad=False, progress=lambda done, total: None,
        )  # fmt: skip
        wait()
        try:
            with mock.patch.multiple(loop, augmented_batch=data, write_run=run, write_curves=curves):
                loop.train(config, part.data, val=part.data, out=Path(folder), on_step=told, cpu=True)
        except EnoughError:
            return


class LoopProcess:
    """A loop that waits in a process of its own. name: for people."""

    def __init__(self, name: str, run: Callable[..., None], config: TrainConfig, samples: Sequence[Sample]) -> None:
        self.name, self.times = name, Times(config.batch, config.checkpoint_every)
        context = multiprocessing.get_context("spawn")
        self._child, theirs = context.Pipe()
        self._process = context.Process(target=run, args=(config, samples, theirs), daemon=True)
        self._process.start()
        theirs.close()

    def step(self) -> Step:
        """Raises: BadInput where the process has ended; what it died of stands above."""
        try:
            self._child.send(True)
            found: Step = self._child.recv()
        except (EOFError, OSError) as error:
            raise BadInput(f"the process of {self.name!r} ended before its measurement did; see above.") from error
        return found

    def end(self) -> None:
        self._child.send(False)
        self._process.join()


def measured(
    config: TrainConfig, samples: Sequence[Sample], *, turns: int, precisions: Sequence[str]
) -> list[LoopProcess]:
    """Every loop in each precision, step by step in turn after `WARM_UP` of each."""
    found = [
        LoopProcess(f"{name}, {said}", run, dataclasses.replace(config, mixed_precision=precision), samples)
        for precision, said in ((p, "fp32" if p == "no" else p) for p in precisions)
        for name, run in (("plain", run_plain), ("this", run_this))
    ]
    for turn in range(WARM_UP + turns):
        for process in found:
            step = process.step()
            if turn >= WARM_UP:
                process.times.add(step)
    for process in found:
        process.end()
    return found


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
    parser.add_argument("--size", type=int, nargs="+", default=[256])
    parser.add_argument("--turns", type=int, default=8)
    parser.add_argument("--mixed-precision", choices=["no", "bf16"], default="no", help="measured beside float32")
    args = parser.parse_args()
    samples = listed_samples(args.data, args.split)
    print(
        "| network | loop | ms a picture | pictures a second | times faster [95 %] | network ms | times faster [95 %] |"
    )
    print("|---|---|---|---|---|---|---|")
    for name, size in ((n, s) for n in args.model for s in args.size):
        # One more than is measured: the last step of all validates.
        passes = WARM_UP + args.turns + 1
        config = TrainConfig(model=name, schedule=f"{size}x{passes}", val_every=passes)
        batch = samples[: config.batch]
        found = measured(config, batch, turns=args.turns, precisions=tuple(dict.fromkeys(("no", args.mixed_precision))))
        plain = found[0].times
        for process in found:
            times = process.times
            ms = float(np.median(times.whole))
            cells = [f"{name}, {size}x{size}", process.name, f"{ms:.1f}", f"{1e3 / ms:.1f}"]
            cells += [faster(times.whole, plain.whole), f"{np.median(times.network):.1f}"]
            print("| " + " | ".join([*cells, faster(times.network, plain.network)]) + " |", flush=True)


if __name__ == "__main__":
    try:
        main()
    except (LawderError, OSError) as error:
        sys.exit(f"error: {error}")
