"""How steady masks are, and what that costs: each frame by itself, one step at a time, and all steps together.

Clips whose masks and motion are exact (lawder_edge/video/clip.py, textured.py) are segmented once and made steady in
every way below. `--part validation` takes real stills that the weights were chosen on, `--part held-out` those of
Kvasir-SEG's usual test list; procedural clips have other seeds on each side. Nothing was chosen on `held-out`.

    python benchmarks/steadiness.py --data DIR --part held-out > benchmarks/results/steadiness.md
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from lawder_edge.data.datasets import find_samples, read_split, select
from lawder_edge.data.load import load_pair
from lawder_edge.loading import load_predictor
from lawder_edge.video import measures
from lawder_edge.video.clip import SEGMENT_S, ProceduralClip
from lawder_edge.video.drawn import DrawnClip
from lawder_edge.video.frames import Frame, Map
from lawder_edge.video.steadiness import OFF, Steady, SteadyConfig
from lawder_edge.video.textured import TexturedClip, find_places

FPS = 30.0
FRAMES = 150
PROCEDURAL_SIZE = (192, 256)
SEEDS = {"validation": 100, "held-out": 200}
# A mask that hardly meets the polyp has no outline that could trail behind the polyp's.
TRACKED_DICE = 0.5
LEAST_S = (0.0, 0.5, 1.0, 2.0)


@dataclass(frozen=True)
class Played:
    """A clip, segmented. images (T, H, W, 3) uint8; probability (T, H, W) float32; truth (T, H, W) bool."""

    name: str
    images: np.ndarray
    probability: np.ndarray
    truth: np.ndarray
    motions: list[tuple[Map, Map] | None]
    follows: np.ndarray


@dataclass(frozen=True)
class Row:
    """What one clip gave under one setting."""

    unmatched: float
    inconsistency: float
    dice: float
    lag: float | None
    dropouts: float
    false_masks: tuple[float, ...]
    false_alarms: tuple[float, ...]
    delays: tuple[float | None, ...]
    step_ms: float


def variants() -> dict[str, SteadyConfig]:
    """The table's lines: off, each step by itself, all of them, all but one."""
    full = SteadyConfig()
    return {
        "each frame by itself": OFF,
        "smoothing": replace(OFF, smooth_ms=full.smooth_ms),
        "smoothing, not followed": replace(OFF, smooth_ms=full.smooth_ms, follow=False),
        "hysteresis": replace(OFF, hysteresis=full.hysteresis),
        "all (the default)": full,
        "all, not followed": replace(full, follow=False),
        "all, least duration 100 ms": replace(full, least_ms=100.0),
    }


def grid() -> dict[str, SteadyConfig]:
    """What the defaults were chosen from, on `--part validation`."""
    found = {"each frame by itself": OFF}
    for smooth in (120.0, 250.0):
        for hysteresis in (0.05, 0.1):
            for least_ms in (0.0, 50.0):
                name = f"{smooth:.0f} ms, +-{hysteresis}, {least_ms:.0f} ms"
                found[name] = SteadyConfig(smooth_ms=smooth, hysteresis=hysteresis, least_ms=least_ms)
    return found


def textured(data: Path, part: str, count: int, model: str) -> list[tuple[str, Callable[[], DrawnClip]]]:
    """Clips of stills that have room beside their polyp, evenly from the list."""
    if part == "validation":
        from lawder_edge.weights import load_model

        ids = load_model(model).record.val_ids
    else:
        ids = read_split(data / "splits" / "pranet_test_kvasir_100.txt")
    pairs = [(s.id, load_pair(s)) for s in select(find_samples(data), ids)]
    usable = [(name, pair) for name, pair in pairs if find_places(pair.image, pair.labels)]
    picked = [usable[i] for i in np.linspace(0, len(usable) - 1, min(count, len(usable))).round().astype(int)]
    print(f"{len(usable)} of {len(pairs)} stills leave room beside their polyp; {len(picked)} taken", file=sys.stderr)
    base = SEEDS[part]
    return [
        (name, partial(TexturedClip, pair.image, pair.labels, seed=base + i, fps=FPS, frames=FRAMES))
        for i, (name, pair) in enumerate(picked)
    ]


def procedural(part: str, count: int) -> list[tuple[str, Callable[[], DrawnClip]]]:
    """Clips of two segments each, one with a polyp and one without."""
    frames = round(2 * SEGMENT_S * FPS)
    return [
        (f"seed {seed}", partial(ProceduralClip, seed=seed, size=PROCEDURAL_SIZE, fps=FPS, frames=frames))
        for seed in range(SEEDS[part], SEEDS[part] + count)
    ]


def play(name: str, clip: DrawnClip, predict: Callable[[np.ndarray], np.ndarray], cache: Path | None) -> Played:
    assert clip.frames is not None
    numbers = range(clip.frames)
    images = np.stack([clip.picture_of(n) for n in numbers])
    file = cache / f"{type(clip).__name__}-{name.replace('/', '-').replace(' ', '-')}.npy" if cache else None
    if file and file.exists():
        probability = np.load(file).astype(np.float32)
    else:
        probability = np.stack([predict(image) for image in images])
        if file:
            np.save(file, probability.astype(np.float16))
    truth = np.stack([clip.mask_of(n) for n in numbers]) > 0
    motions = [clip.came_from(n) for n in numbers]
    return Played(name, images, probability, truth, motions, np.array([clip.follows(n) for n in numbers]))


def measure(played: Played, config: SteadyConfig, threshold: float) -> Row:
    """The source's own word on cuts is withheld: they are to be found."""
    steady = Steady(lambda: threshold, config)
    masks, alarms, spent = [], [], 0.0
    for t, image in enumerate(played.images):
        began = time.thread_time()
        _, mask, alarm = steady.step(Frame(t, t / FPS, image), played.probability[t])
        spent += time.thread_time() - began
        masks.append(mask > 0)
        alarms.append(alarm)
    track, told, truth = np.stack(masks), np.array(alarms), played.truth
    alone = played.probability >= np.float32(threshold)
    wrong = measures.false_frames(track, truth)
    false_alarm = told & ~measures.found(track, truth)
    return Row(
        unmatched=measures.unmatched_change(track, truth, played.follows),
        inconsistency=measures.motion_inconsistency(track, played.motions),
        dice=measures.mean_dice(track, truth),
        lag=measures.contour_lag(track, truth) if measures.mean_dice(alone, truth) >= TRACKED_DICE else None,
        dropouts=measures.dropouts_per_minute(track, truth, played.follows, fps=FPS),
        false_masks=tuple(measures.episodes_per_minute(wrong, fps=FPS, least_s=s) for s in LEAST_S),
        false_alarms=tuple(measures.episodes_per_minute(false_alarm, fps=FPS, least_s=s) for s in LEAST_S),
        delays=tuple(measures.alarm_delays(told, track, truth, played.follows, fps=FPS)),
        step_ms=spent * 1000 / len(track),
    )


def table(rows: dict[str, list[Row]]) -> list[str]:
    """Means over clips; the ratio to each frame by itself with the 95 % bootstrap interval over clips."""
    lines = [
        "| | unmatched change | ratio | motion-compensated 1 - IoU | ratio | Dice | Dice gained | contour lag, frames |"
        " dropouts/min | false regions/min: all, >= .5, 1, 2 s | false alarms/min: all, >= .5, 1, 2 s |"
        " first alarm, s (missed) | CPU ms/frame |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    base = next(iter(rows.values()))
    for name, measured in rows.items():
        delays = [d for r in measured for d in r.delays]
        told = [d for d in delays if d is not None]
        first = f"{np.mean(told):.2f} ({len(delays) - len(told)} of {len(delays)})" if told else f"- ({len(delays)})"
        lines.append(
            f"| {name} | {mean(measured, 'unmatched'):.4f} | {ratio(measured, base, 'unmatched')} "
            f"| {mean(measured, 'inconsistency'):.4f} | {ratio(measured, base, 'inconsistency')} "
            f"| {mean(measured, 'dice'):.4f} | {gain(measured, base)} | {lag(measured)} "
            f"| {mean(measured, 'dropouts'):.1f} | {rates(measured, 'false_masks')} "
            f"| {rates(measured, 'false_alarms')} | {first} | {mean(measured, 'step_ms'):.1f} |"
        )
    return lines


def mean(rows: Sequence[Row], what: str) -> float:
    return float(np.mean([getattr(r, what) for r in rows]))


def gain(rows: Sequence[Row], base: Sequence[Row]) -> str:
    """Dice more than each frame by itself, clip by clip, with the 95 % bootstrap interval."""
    if rows is base:
        return "-"
    gained = np.array([a.dice - b.dice for a, b in zip(rows, base, strict=True)])
    picks = np.random.default_rng(0).integers(0, len(gained), (2000, len(gained)))
    low, high = np.percentile(gained[picks].mean(1), [2.5, 97.5])
    return f"{gained.mean():+.4f} [{low:+.4f}, {high:+.4f}]"


def lag(rows: Sequence[Row]) -> str:
    known = [r.lag for r in rows if r.lag is not None]
    return f"{np.mean(known):+.2f} ({len(known)} clips)" if known else "-"


def rates(rows: Sequence[Row], what: str) -> str:
    return ", ".join(f"{r:.1f}" for r in np.mean([getattr(r, what) for r in rows], axis=0))


def ratio(rows: Sequence[Row], base: Sequence[Row], what: str) -> str:
    if rows is base:
        return "1"
    ours, theirs = (np.array([getattr(r, what) for r in x]) for x in (rows, base))
    picks = np.random.default_rng(0).integers(0, len(ours), (2000, len(ours)))
    low, high = np.percentile(ours[picks].mean(1) / theirs[picks].mean(1), [2.5, 97.5])
    return f"{ours.mean() / theirs.mean():.2f} [{low:.2f}, {high:.2f}]"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--part", choices=sorted(SEEDS), required=True)
    parser.add_argument("--model", default="order")
    parser.add_argument("--textured", type=int, default=10, help="clips of real stills")
    parser.add_argument("--procedural", type=int, default=3, help="procedural clips")
    parser.add_argument("--grid", action="store_true", help="the settings that the defaults were chosen from")
    parser.add_argument("--cache", type=Path, help="folder for probabilities, so that another run is quick")
    args = parser.parse_args()
    cv2.setNumThreads(1)
    if args.cache:
        args.cache = args.cache / args.part
        args.cache.mkdir(parents=True, exist_ok=True)
    predictor = load_predictor(args.model, threads=1)
    threshold = predictor.cut()
    settings = grid() if args.grid else variants()

    print(f"# Steadiness of {predictor.name}'s masks\n")
    for title, clips in (
        ("Real-texture clips", textured(args.data, args.part, args.textured, args.model)),
        ("Procedural clips", procedural(args.part, args.procedural)),
    ):
        rows: dict[str, list[Row]] = {name: [] for name in settings}
        for name, make in clips:
            played = play(name, make(), predictor.runner.predict, args.cache)
            for setting, config in settings.items():
                rows[setting].append(measure(played, config, threshold))
            print(f"{title}: {name}, Dice alone {rows['each frame by itself'][-1].dice:.3f}", file=sys.stderr)
        print(f"## {title} ({args.part}, {len(clips)} clips)\n")
        print("\n".join(table(rows)) + "\n")


if __name__ == "__main__":
    main()
