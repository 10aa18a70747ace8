"""A frame in, its mask out: pre-processing at video speed, the network, steadiness, the mask at the frame's size."""

from __future__ import annotations

import time
from collections.abc import Callable

import cv2
import numpy as np

from lawder_edge.bundle.runner import Runner
from lawder_edge.video.border import View
from lawder_edge.video.frames import Frame, Image, Map, Segmented, Steadier
from lawder_edge.video.steadiness import OFF, Steady

# How far from the threshold a pixel is set whose mask the steadiness decided against its probability.
_DECIDED = 1e-3


def unsteadied(threshold: Callable[[], float]) -> Steadier:
    """Every frame by itself. threshold: asked for at every frame."""
    return Steady(threshold, OFF)


class Segmenter:
    """One network with its steadiness.

    name: as it is shown. threshold: probability from which a pixel is polyp, unless a person asked for another.
    """

    def __init__(
        self,
        name: str,
        runner: Runner,
        *,
        threshold: float,
        steadier: Callable[[Callable[[], float]], Steadier] = unsteadied,
    ) -> None:
        """steadier: makes one that asks for the threshold of each frame."""
        self.name, self.runner, self.threshold = name, runner, threshold
        self._cut_at = threshold
        self._steadier = steadier(lambda: self._cut_at)

    def warm_up(self, calls: int = 3) -> None:
        """Let the runtime do what it does once, on a grey picture."""
        grey = np.full((*self.runner.size, 3), 128, np.uint8)
        for _ in range(calls):
            self.runner.infer(self.runner.prepare(grey))

    def step(
        self, frame: Frame, view: View, small: Image, *, at_s: float, pre_ms: float, threshold: float | None
    ) -> Segmented:
        """frame: the whole. small: its `view` at the network's size, from `shrink`, which took `pre_ms`. at_s: when it
        was, on the clock of the steadiness.

        Raises what the runner raises.
        """
        started_s = time.perf_counter()
        tensor = self.runner.prepare(small)
        prepared_s = time.perf_counter()
        output = self.runner.infer(tensor)
        inferred_s = time.perf_counter()
        size = small.shape[0], small.shape[1]
        if self.runner.kind == "mask":
            alone: Map = (self.runner.finish_labels(output, size) > 0).astype(np.float32)
        else:
            alone = self.runner.finish(output, size)
        self._cut_at = self.threshold if threshold is None or self.runner.kind == "mask" else threshold
        seen = Frame(frame.number, at_s, small, cut=frame.cut)
        probability, mask, alarm = self._steadier.step(seen, alone)
        full: Map = np.zeros(frame.image.shape[:2], np.float32)
        found: Image = np.zeros(frame.image.shape[:2], np.uint8)
        part = view.crop(full)
        cv2.resize(
            _decided(probability, mask, self._cut_at), (part.shape[1], part.shape[0]), dst=part,
            interpolation=cv2.INTER_LINEAR,
        )  # fmt: skip
        np.greater_equal(part, np.float32(self._cut_at), out=view.crop(found).view(np.bool_))
        ended_s = time.perf_counter()
        return Segmented(
            frame=frame,
            probability=full,
            mask=found,
            infer_ms=1000 * (inferred_s - prepared_s),
            pre_ms=pre_ms + 1000 * (prepared_s - started_s),
            post_ms=1000 * (ended_s - inferred_s),
            alarm=alarm,
        )


def shrink(image: Image, size: tuple[int, int]) -> Image:
    """A picture at the network's size, anti-aliased, within a millisecond or two from 1080p.

    Each axis is halved by averages while twice the size remains, then the rest is resized by OpenCV. The one resize of
    `bundle.processing` is exact on every machine and takes 15 to 90 ms here, more than the network; tests hold how far
    the two are apart. image: (H, W, 3) uint8. size: (h, w) in pixels. Returns: (h, w, 3) uint8.
    """
    height, width = size
    while image.shape[0] >= 2 * height or image.shape[1] >= 2 * width:
        down, across = 1 + (image.shape[0] >= 2 * height), 1 + (image.shape[1] >= 2 * width)
        half = image.shape[1] // across, image.shape[0] // down
        # Odd rows and columns are left out: bilinear samples then lie between two pixels, which is their average, and
        # take a thirtieth of the time of averages by a factor that is not whole.
        even = image[: down * half[1], : across * half[0]]
        image = np.asarray(cv2.resize(even, half, interpolation=cv2.INTER_LINEAR), np.uint8)
    if image.shape[:2] == size:
        return np.ascontiguousarray(image)
    # Of less than twice the size no pixel is passed over.
    return np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)


def _decided(probability: Map, mask: Image, threshold: float) -> Map:
    """A probability whose cut at `threshold` is the mask, to be enlarged: all are (h, w).

    Where the steadiness decided against the probability, it is set to just the other side: so the outline stays as
    smooth as the probability's, wherever the two agree.
    """
    cut = np.float32(threshold)
    on = mask != 0
    if np.array_equal(probability >= cut, on):
        return probability
    inside, outside = cut + np.float32(_DECIDED), cut - np.float32(_DECIDED)
    return np.where(on, np.maximum(probability, inside), np.minimum(probability, outside)).astype(np.float32)
