"""Where arms put a picture's weight, inside the lesion, in the band of its contour and outside, and where the error is.

    python benchmarks/law_masses.py --model runs/law/few-a/law-1/generator.safetensors --data DIR --split LIST

The shares of the weight are means over pictures with both regions and over times, of the learned arm and of the fixed
ones that it could start from; `the error` is where the denoiser's squared error lies, `area` the share of the pixels.
The last two columns tell what share of the pixels has the lowest and the highest weight that there may be.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from heldout_error import noisy
from numpy.typing import NDArray
from torch import Tensor

from lawder_edge.data.cache import load_arrays
from lawder_edge.data.datasets import listed_samples
from lawder_edge.errors import LawderError
from lawder_edge.evaluation.tables import markdown_table
from lawder_edge.synthesis.arms import LEARNED, Arm
from lawder_edge.synthesis.config import SynthConfig
from lawder_edge.synthesis.denoiser import mask_planes
from lawder_edge.synthesis.diffusion import TIMES
from lawder_edge.synthesis.generator import Generator, read_generator, start_from
from lawder_edge.synthesis.weighting import Bounds, has_regions, pixel_weights, regions
from lawder_edge.training.batches import normalise

BATCH = 20
FIXED: tuple[Arm, ...] = ("ratio", "regions")


def whole_generator(path: Path) -> Generator:
    """A generator's file with its weighter, where it has one, in eval mode. Raises: BadCheckpoint."""
    config = read_generator(path).record.config
    generator = Generator(config).eval()
    start_from(path, generator, config)
    return generator


def shares(weights: Tensor, lesion: Tensor) -> NDArray[np.float64]:
    """Of each picture's weight, what lies inside, in the band and outside: (B, 3), which sum to 1.

    weights: (B, 1, H, W), above 0 somewhere; lesion: (B, 1, H, W) float32, 0 or 1.
    """
    parts = (regions(lesion) * weights).sum((2, 3, 4)).T
    found: NDArray[np.float64] = (parts / parts.sum(1, keepdim=True)).double().numpy()
    return found


def at_bounds(weights: Tensor, bounds: Bounds) -> NDArray[np.float64]:
    """(B, 2): shares of each picture's pixels with the lowest and with the highest weight. weights: (B, 1, H, W)."""
    ends = torch.stack([weights <= bounds.lowest, weights >= bounds.highest])
    found: NDArray[np.float64] = ends.double().mean((2, 3, 4)).T.numpy()
    return found


@torch.no_grad()
def masses(
    generator: Generator,
    config: SynthConfig,
    *,
    images: NDArray[np.uint8],
    labels: NDArray[np.uint8],
    times: Sequence[int],
) -> Mapping[str, NDArray[np.float64]]:
    """For each row of the table, means over `times`: shares inside, in the band and outside, (pictures, 3), and of the
    arms' weights `at_bounds` beside them, (pictures, 5).

    images: (N, S, S, C) uint8; labels: (N, S, S) uint8 class numbers; times: of the diffusion, 0 to 999. Pictures
    without both lesion and background are left out.
    """
    bounds = Bounds(config.lowest_weight, config.highest_weight)
    learned: Arm = config.arm  # type: ignore[assignment]  # checked by the config
    found: dict[str, list[NDArray[np.float64]]] = {}
    for start in range(0, len(images), BATCH):
        some = slice(start, start + BATCH)
        classes = torch.from_numpy(labels[some]).long()
        both = has_regions((classes >= config.lesion_class)[:, None])[:, 0, 0, 0]
        classes, x0 = classes[both], normalise(images[some])[both]
        lesion = (classes >= config.lesion_class)[:, None].float()
        planes = mask_planes(classes, num_classes=config.num_classes)
        rows: dict[str, list[NDArray[np.float64]]] = {}
        for time in times:
            t, x_t = noisy(x0, time, first=start)
            guess, s = generator(x_t, t, planes)
            error = (guess - x0).square().mean(1, keepdim=True)
            for name, values in (("area", torch.ones_like(lesion)), ("the error", error)):
                rows.setdefault(name, []).append(shares(values, lesion))
            for arm in (*FIXED, learned):
                w = pixel_weights(arm, lesion, s=s, gamma=config.gamma, bounds=bounds)
                rows.setdefault(arm, []).append(np.hstack([shares(w, lesion), at_bounds(w, bounds)]))
        for name, parts in rows.items():
            found.setdefault(name, []).append(np.mean(parts, 0))
    return {name: np.concatenate(parts) for name, parts in found.items()}


def table(found: Mapping[str, NDArray[np.float64]]) -> str:
    """A row each, in per cent."""
    header = ("share, %", "inside", "band", "outside", "at the lowest weight", "at the highest")
    rows = [[name, *(f"{100 * v:.1f}" for v in parts.mean(0))] for name, parts in found.items()]
    return markdown_table(header, [row + ["-"] * (len(header) - len(row)) for row in rows])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="generator of a learned arm")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--split", type=Path, nargs="*", default=())
    parser.add_argument("--times", type=int, default=5, help="of each picture, evenly spread")
    args = parser.parse_args()
    torch.set_num_threads(1)
    config = read_generator(args.model).record.config
    if config.arm not in LEARNED or config.denoiser != "small":
        parser.error(f"wanted the small denoiser of one of {', '.join(LEARNED)}, got {config.arm}")
    generator = whole_generator(args.model)
    samples = listed_samples(args.data, args.split)
    size = config.size
    loaded = load_arrays(
        samples,
        size=(size, size),
        channels=config.in_channels,
        num_classes=config.num_classes,
        progress=lambda done, total: None,
    )
    times = [int((i + 0.5) * TIMES / args.times) for i in range(args.times)]
    found = masses(generator, config, images=loaded.images, labels=loaded.labels, times=times)
    print(table(found))
    print(f"\n{len(found['area'])} pictures of {size} px, {len(times)} times each.")


if __name__ == "__main__":
    try:
        main()
    except (LawderError, OSError) as error:
        sys.exit(f"error: {error}")
