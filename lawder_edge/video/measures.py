"""How steady masks are, against exact masks and exact motion of clips drawn here.

A track is (T, H, W) bool, one mask a frame. `follows` (T) bool is false for a frame at another place than the one
before it, where nothing is compared. Rates are a minute of video.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from lawder_edge.errors import BadInput
from lawder_edge.evaluation.metrics import dice, iou
from lawder_edge.video.frames import Map

Track: TypeAlias = NDArray[np.bool_]
Flags: TypeAlias = NDArray[np.bool_]

# A polyp counts as seen from this share of the picture on: at its edge a few pixels are nothing to find.
SEEN_AREA = 0.01


def unmatched_change(track: Track, truth: Track, follows: Flags) -> float:
    """mean |(a_t - a_{t-1}) - (g_t - g_{t-1})| / mean g, with the areas a of the masks and g of the truth.

    What the area changes by beyond what the polyp's does, as a share of the polyp's mean area where it is seen.
    Raises BadInput where the truth is empty throughout.
    """
    _check(track, truth)
    a, g = (m.sum((1, 2)).astype(np.float64) for m in (track, truth))
    if not g.any():
        raise BadInput("unmatched change is a share of the polyp's area: the clip shows none")
    unmatched = np.abs(np.diff(a) - np.diff(g))[follows[1:]]
    return float(unmatched.mean() / g[g > 0].mean())


def motion_inconsistency(track: Track, motions: Sequence[tuple[Map, Map] | None]) -> float:
    """Mean of 1 - IoU of each mask and the one before it, moved as the scene moved.

    motions: per frame the map (x, y) of where its pixels stood in the frame before, None where it does not follow.
    What comes into view is not compared, nor frames where both are empty. Returns 0 where nothing is left.
    """
    apart = []
    for t in range(1, len(track)):
        motion = motions[t]
        if motion is None:
            continue
        x, y = motion
        carried = cv2.remap(track[t - 1].astype(np.float32), x, y, cv2.INTER_LINEAR) >= 0.5
        height, width = track.shape[1:]
        known = (x >= 0) & (y >= 0) & (x <= width - 1) & (y <= height - 1)
        now = track[t] & known
        if now.any() or carried.any():
            apart.append(1 - iou(now, carried))
    return float(np.mean(apart)) if apart else 0.0


def mean_dice(track: Track, truth: Track) -> float:
    """Mean Dice over the frames in which the polyp is seen."""
    _check(track, truth)
    return float(np.mean([dice(track[t], truth[t]) for t in np.flatnonzero(seen(truth))]))


def seen(truth: Track) -> Flags:
    """(T) bool: frames that show at least `SEEN_AREA` of polyp."""
    return np.asarray(truth.mean((1, 2)) >= SEEN_AREA)


def found(track: Track, truth: Track) -> Flags:
    """(T) bool: frames whose mask touches the polyp."""
    return np.asarray((track & truth).any((1, 2)))


def false_frames(track: Track, truth: Track) -> Flags:
    """(T) bool: frames with a region that touches no polyp."""
    _check(track, truth)
    false = np.zeros(len(track), bool)
    for t, mask in enumerate(track):
        count, labels = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
        touching = np.unique(labels[truth[t] & mask])
        false[t] = count - 1 > touching.size
    return false


def episodes(flags: Flags, *, follows: Flags | None = None) -> list[tuple[int, int]]:
    """Runs of true flags: first frame, and the one after the last. A cut ends a run where `follows` is given."""
    runs: list[tuple[int, int]] = []
    for t, flag in enumerate(flags):
        if not flag:
            continue
        goes_on = runs and runs[-1][1] == t and (follows is None or follows[t])
        if goes_on:
            runs[-1] = (runs[-1][0], t + 1)
        else:
            runs.append((t, t + 1))
    return runs


def episodes_per_minute(flags: Flags, *, fps: float, least_s: float = 0.0) -> float:
    """Runs of true flags that last at least `least_s` seconds, a minute."""
    lasting = [b - a for a, b in episodes(flags) if (b - a) / fps >= least_s - 1e-9]
    return len(lasting) * 60 * fps / len(flags)


def dropouts_per_minute(track: Track, truth: Track, follows: Flags, *, fps: float) -> float:
    """Times that a polyp which was found is lost while it is still seen, a minute of a seen polyp."""
    visible, hit = seen(truth), found(track, truth)
    lost = 0
    for begin, end in episodes(visible, follows=follows):
        inside = hit[begin:end]
        lost += int(np.count_nonzero(inside[:-1] & ~inside[1:]))
    return lost * 60 * fps / max(int(visible.sum()), 1)


def alarm_delays(alarms: Flags, track: Track, truth: Track, follows: Flags, *, fps: float) -> list[float | None]:
    """For each time that a polyp comes into view: seconds until an alarm whose mask touches it; None without one."""
    told = alarms & found(track, truth)
    delays: list[float | None] = []
    for begin, end in episodes(seen(truth), follows=follows):
        hits = np.flatnonzero(told[begin:end])
        delays.append(float(hits[0]) / fps if hits.size else None)
    return delays


def contour_lag(track: Track, truth: Track, *, longest: int = 6) -> float:
    """By how many frames the masks trail behind the truth: the lag at which their mean Dice with it is highest.

    Taken between frames by the parabola through the best lag and its neighbours; negative where masks lead. Only where
    the polyp is seen and found for 2 `longest` + 1 frames on end; 0 where it never is.
    """
    _check(track, truth)
    usable = seen(truth) & found(track, truth)
    middles = [t for t in range(longest, len(track) - longest) if usable[t - longest : t + longest + 1].all()]
    if not middles:
        return 0.0
    lags = range(-longest, longest + 1)
    scores = np.array([np.mean([dice(track[t], truth[t - lag]) for t in middles]) for lag in lags])
    best = int(scores.argmax())
    if best in (0, len(scores) - 1):
        return float(lags[best])
    left, middle, right = scores[best - 1 : best + 2]
    bend = left - 2 * middle + right
    return float(lags[best] + (0.5 * (left - right) / bend if bend < 0 else 0.0))


def _check(track: Track, truth: Track) -> None:
    if track.shape != truth.shape or track.ndim != 3 or not track.size:
        raise BadInput(f"masks {track.shape} and truth {truth.shape} cannot be compared; both must be (T, H, W)")
