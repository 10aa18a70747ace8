"""Where arms err: inside the lesion, in the band of its contour, and outside in fifths by what the map of `law` says.

    python benchmarks/law_fifths.py --runs runs/law/few-b --data DIR --split LIST
    python benchmarks/law_fifths.py --runs runs/law/few-b --data DIR --split LIST --seen

Reads ARM-SEED/generator.safetensors of law.py. All arms get the same noisy pictures; the fifths of a picture's outside
are by the delta of the `law` of the same seed, the first where it expects the least error. Pictures that the generators
were trained on are left out, or taken alone with --seen.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from heldout_error import noisy
from law_masses import whole_generator
from law_report import NO_PAIRS
from law_report import times as in_units
from numpy.typing import NDArray
from torch import Tensor

from lawder_edge.data.cache import load_arrays
from lawder_edge.data.datasets import listed_samples
from lawder_edge.errors import BadInput, LawderError
from lawder_edge.evaluation.tables import markdown_table
from lawder_edge.intervals import paired_runs
from lawder_edge.synthesis.arms import Arm
from lawder_edge.synthesis.denoiser import mask_planes
from lawder_edge.synthesis.diffusion import TIMES, kept_share, time_weight
from lawder_edge.synthesis.generator import Generator, read_generator
from lawder_edge.synthesis.weighting import Bounds, delta_map, pixel_weights, regions
from lawder_edge.training.batches import normalise

BATCH = 10
LAW: Arm = "law"
FIFTHS = 5
PLACES = ("inside", "band", *(f"outside, fifth {i + 1}" for i in range(FIFTHS)), "all")
# (what, less what), where both are there.
PAIRS = (
    ("ratio", "uniform"), ("law", "uniform"), ("law", "ratio"), ("regions", "uniform"), ("law_on_regions", "regions"),
    ("law_reversed", "ratio"),
)  # fmt: skip


@dataclass(frozen=True)
class Sums:
    """Over the pictures, at each time and place, (times, places): of the pixels, of law's weight and of each arm's
    squared error.
    """

    area: NDArray[np.float64]
    weight: NDArray[np.float64]
    errors: Mapping[str, NDArray[np.float64]]


def places(lesion: Tensor, delta: Tensor) -> Tensor:
    """(places, B, 1, H, W) float32, 1 in the place: those of PLACES. lesion, delta: (B, 1, H, W).

    Equal deltas fall into one fifth, so that fifths need not have equal areas.
    """
    inside, band, outside = regions(lesion)
    fifth = torch.zeros_like(delta)
    for picture, (values, here) in enumerate(zip(delta, outside > 0, strict=True)):
        if here.any():
            edges = torch.quantile(values[here], torch.arange(1, FIFTHS) / FIFTHS)
            fifth[picture] = torch.bucketize(values.contiguous(), edges).float()
    parts = [outside * (fifth == i) for i in range(FIFTHS)]
    return torch.stack([inside, band, *parts, torch.ones_like(outside)])


@torch.no_grad()
def sums(
    generators: Mapping[str, Generator],
    *,
    gamma: float,
    bounds: Bounds,
    images: NDArray[np.uint8],
    labels: NDArray[np.uint8],
    times: Sequence[int],
) -> Sums:
    """generators: by arm, `law` among them, of one seed; gamma, bounds: of `law`. images: (N, S, S, C) uint8; labels:
    (N, S, S) uint8, 0 or 1; times: of the diffusion, 0 to 999. Errors are means over channels of (x0_hat - x0)^2, with
    values in [-1, 1].
    """
    found = {name: np.zeros((len(times), len(PLACES))) for name in ("area", "weight", *generators)}
    for start in range(0, len(images), BATCH):
        some = slice(start, start + BATCH)
        classes, x0 = torch.from_numpy(labels[some]).long(), normalise(images[some])
        lesion, planes = classes[:, None].float(), mask_planes(classes, num_classes=1)
        for row, time in enumerate(times):
            t, x_t = noisy(x0, time, first=start)
            told = {arm: generator(x_t, t, planes) for arm, generator in generators.items()}
            s = told[LAW][1].float()
            where = places(lesion, delta_map(LAW, s, lesion))
            maps = {
                "area": torch.ones_like(lesion),
                "weight": pixel_weights(LAW, lesion, s=s, gamma=gamma, bounds=bounds),
                **{arm: (guess - x0).square().mean(1, keepdim=True) for arm, (guess, _) in told.items()},
            }
            for name, values in maps.items():
                found[name][row] += (where * values).sum((1, 2, 3, 4)).double().numpy()
    return Sums(found.pop("area"), found.pop("weight"), found)


def table(found: Sequence[Sums], times: Sequence[int]) -> str:
    """A row a place: shares of area, of law's weight and of `ratio`'s error in per cent, and how much more one arm errs
    than another, in per cent, mean over the seeds [95 % by Student's t] (seeds). found: of each seed. Errors at several
    times are weighted as in training. Of a place that is nowhere nothing is said.
    """
    weights = time_weight(kept_share()[list(times)]).numpy()[:, None]
    pairs = [pair for pair in PAIRS if all(arm in one.errors for one in found for arm in pair)]

    # Of area and weight all times count alike.
    kinds = (
        [one.area for one in found], [one.weight for one in found], [one.errors["ratio"] * weights for one in found],
    )  # fmt: skip
    totals = [np.sum(values, (0, 1)) for values in kinds]

    rows = []
    for place, name in enumerate(PLACES):
        cells = [f"{100 * total[place] / total[-1]:.1f}" for total in totals]
        for arm, other in pairs:
            ours, theirs = (np.array([(one.errors[a] * weights).sum(0)[place] for one in found]) for a in (arm, other))
            if not theirs.all():
                cells.append(NO_PAIRS)
                continue
            ratios = ours / theirs
            if len(found) > 1:
                cells.append(in_units(paired_runs(ratios, np.ones_like(ratios)), 100))
            else:
                cells.append(f"{100 * (ratios[0] - 1):+.1f} (1)")
        rows.append((name, *cells))
    header = ("place", "area, %", "weight of law, %", "error of ratio, %")
    return markdown_table((*header, *(f"error of {arm} to {other}, %" for arm, other in pairs)), rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, required=True, help="folder of a part of law.py")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--split", type=Path, nargs="+", required=True)
    parser.add_argument("--seen", action="store_true", help="of the pictures trained on, instead of the others")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--pictures", type=int, default=50)
    parser.add_argument("--times", type=int, default=8, help="of each picture, evenly spread")
    args = parser.parse_args()
    torch.set_num_threads(1)
    arms = sorted({arm for pair in PAIRS for arm in pair})
    files = {seed: {arm: args.runs / f"{arm}-{seed}" / "generator.safetensors" for arm in arms} for seed in args.seeds}
    there = [arm for arm in arms if all(files[seed][arm].is_file() for seed in args.seeds)]
    if LAW not in there or "ratio" not in there:
        raise BadInput(f"{args.runs}: wanted the generators of law and ratio of seeds {args.seeds}, got {there}.")
    record = read_generator(files[args.seeds[0]][LAW]).record
    config, known = record.config, set(record.train_ids)
    samples = [s for s in listed_samples(args.data, args.split) if (s.id in known) == args.seen][: args.pictures]
    if not samples:
        raise BadInput(f"no pictures of these lists that were{' ' if args.seen else ' not '}trained on.")
    loaded = load_arrays(
        samples, size=(config.size, config.size), channels=config.in_channels, progress=lambda done, total: None
    )
    times = [int((i + 0.5) * TIMES / args.times) for i in range(args.times)]
    found = []
    for seed in args.seeds:
        generators = {arm: whole_generator(files[seed][arm]) for arm in there}
        bounds = Bounds(config.lowest_weight, config.highest_weight)
        one = sums(
            generators, gamma=config.gamma, bounds=bounds, images=loaded.images, labels=loaded.labels, times=times
        )
        found.append(one)
        print(f"seed {seed} is through", file=sys.stderr)
    print(table(found, times))
    print(f"\n{len(samples)} pictures of {config.size} px, {len(times)} times each, seeds {args.seeds}.")


if __name__ == "__main__":
    try:
        main()
    except (LawderError, OSError) as error:
        sys.exit(f"error: {error}")
