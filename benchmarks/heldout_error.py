"""How far generators are from pictures that none of them saw: the error of x_0 at equal noise, side by side.

    python benchmarks/heldout_error.py --model alone.safetensors taught.safetensors --data DIR --split TEST

Every model gets the same noisy pictures: of each one as many times as --times, evenly spread over all of them, and
noise that depends on the picture's place in the list alone. Masks are shown, and a teacher its hint. The first model is
what the others are compared to, picture by picture.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lawder_edge.data.cache import load_arrays
from lawder_edge.data.datasets import listed_samples
from lawder_edge.errors import LawderError
from lawder_edge.intervals import bootstrap_mean
from lawder_edge.synthesis.condition import with_hint
from lawder_edge.synthesis.denoiser import mask_planes
from lawder_edge.synthesis.diffusion import TIMES, kept_share, noised, time_weight
from lawder_edge.synthesis.generator import LoadedGenerator, load_generator
from lawder_edge.synthesis.solver import first_noise
from lawder_edge.training.batches import normalise

BATCH = 20
QUARTERS = 4


def noisy(x0: Tensor, time: int, *, first: int) -> tuple[Tensor, Tensor]:
    """Pictures at one time of the diffusion, with noise that depends on their places in the list and on the time alone.

    x0: (B, C, H, W) float32 in [-1, 1]; time: 0 to 999; first: place of the first of them. Returns: t, (B,) int64, and
    x_t, as x0.
    """
    seeds = [(first + i) * TIMES + time for i in range(len(x0))]
    t = torch.full((len(x0),), time)
    return t, noised(x0, first_noise(seeds, (x0.shape[1], *x0.shape[2:])), kept_share()[t])


@torch.no_grad()
def errors(
    generator: LoadedGenerator, images: NDArray[np.uint8], labels: NDArray[np.uint8], times: Sequence[int]
) -> NDArray[np.float64]:
    """Mean of (x0_hat - x0)^2 of each picture at each time, (N, times). images: (N, S, S, C)."""
    config = generator.record.config
    found = np.empty((len(images), len(times)))
    for start in range(0, len(images), BATCH):
        some = slice(start, start + BATCH)
        x0 = normalise(images[some])
        planes = mask_planes(torch.from_numpy(labels[some]).long(), num_classes=config.num_classes)
        planes = with_hint(planes, config, x0, first=start)
        for column, time in enumerate(times):
            t, x_t = noisy(x0, time, first=start)
            guess = generator.denoiser(x_t, t, planes).x0
            found[some, column] = (guess - x0).square().mean((1, 2, 3)).numpy()
    return found


def table(
    names: Sequence[str],
    found: Sequence[NDArray[np.float64]],
    times: Sequence[int],
    groups: Sequence[str | None] | None = None,
) -> list[str]:
    """Lines of Markdown. found: of each model, as `errors` gives it. groups: sequence or patient of each picture."""
    weights = time_weight(kept_share()[list(times)]).numpy()
    quarters = [[i for i, t in enumerate(times) if t * QUARTERS // TIMES == q] for q in range(QUARTERS)]
    lines = [
        "| model | weighted by lambda | difference to the first [95 %] | "
        + " | ".join(f"times {q * TIMES // QUARTERS} on" for q in range(QUARTERS))
        + " |",
        "|" + "---|" * (3 + QUARTERS),
    ]
    base = (found[0] * weights).mean(1)
    for name, e in zip(names, found, strict=True):
        own = (e * weights).mean(1)
        apart = bootstrap_mean(own - base, groups=groups)
        difference = "" if e is found[0] else f"{apart.mean:+.4f} [{apart.low:+.4f}, {apart.high:+.4f}]"
        cells = [name, f"{own.mean():.4f}", difference, *(f"{e[:, q].mean():.4f}" for q in quarters)]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, nargs="+", required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--split", type=Path, nargs="*", default=())
    parser.add_argument("--pictures", type=int, default=100)
    parser.add_argument("--times", type=int, default=16, help="of each picture, a multiple of 4")
    args = parser.parse_args()
    if args.times < QUARTERS or args.times % QUARTERS or args.pictures < 1:
        parser.error("--times a multiple of 4, --pictures from 1 on")
    torch.set_num_threads(1)
    generators = [load_generator(path) for path in args.model]
    kinds = {(c.size, c.in_channels, c.num_classes) for c in (g.record.config for g in generators)}
    if len(kinds) != 1:
        parser.error("models of several sizes, channels or classes do not compare")
    if any(g.record.config.denoiser != "small" for g in generators):
        parser.error("only pictures are compared here, and a generator on Stable Diffusion errs by latents")
    (size, channels, classes), *_ = kinds
    samples = listed_samples(args.data, args.split)[: args.pictures]
    known = {i for g in generators for i in (*g.record.train_ids, *g.record.train_groups)}
    if seen := [s.id for s in samples if s.id in known or s.group in known]:
        parser.error(f"{len(seen)} of these pictures or their sequences were trained on, {seen[0]} first; give others")
    loaded = load_arrays(
        samples, size=(size, size), channels=channels, num_classes=classes, progress=lambda done, total: None
    )
    times = [int((i + 0.5) * TIMES / args.times) for i in range(args.times)]
    found = [errors(g, loaded.images, loaded.labels, times) for g in generators]
    names = [f"{path.parent.name}/{path.stem}" for path in args.model]
    print("\n".join(table(names, found, times, [sample.group for sample in samples])))
    print(f"\n{len(samples)} pictures of {size} px, {len(times)} times each.")


if __name__ == "__main__":
    try:
        main()
    except (LawderError, OSError) as error:
        sys.exit(f"error: {error}")
