"""A frame in, its mask out: the network, steadiness, the mask at the frame's size; the resizes are `predict`'s."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from lawder_edge.bundle.processing import labels_to_size, prob_to_size, resize, taps, to_mask
from lawder_edge.bundle.runner import Runner
from lawder_edge.video.border import View
from lawder_edge.video.classes import ABOVE_HALF, lead, with_lead
from lawder_edge.video.frames import Frame, Image, Map, Segmented, Steadier
from lawder_edge.video.steadiness import OFF, Steady

# How far from the threshold a pixel is set whose mask the steadiness decided against its probability.
_DECIDED = 1e-3
# Probabilities are resized in steps of 1/65535: what is half a step below the threshold may be rounded to it.
_STEP = 1 / 65535


def unsteadied(threshold: Callable[[], float]) -> Steadier:
    """Every frame by itself. threshold: asked for at every frame."""
    return Steady(threshold, OFF)


class Segmenter:
    """One network with its steadiness.

    name: as it is shown. threshold: probability from which a pixel is polyp, unless a person asked for another; not
    used where the network gives masks, or has several classes, of which the most probable is taken.
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
        self._cut_missed = False
        self._steadier = steadier(lambda: self._cut_at)

    def warm_up(self, calls: int = 3) -> None:
        """Let the runtime do what it does once, on a grey picture."""
        grey = np.full((*self.runner.size, 3), 128, np.uint8)
        for _ in range(calls):
            self.runner.infer(self.runner.prepare(grey))

    def shrink(self, image: Image) -> Image:
        """image: (H, W, 3) uint8. Returns: (h, w, 3) uint8 at the network's size, by the one resize."""
        return np.asarray(resize(image, self.runner.size), np.uint8)

    def pass_over(self, frame: Frame) -> None:
        """A frame that gets no mask. A cut that it tells of is told with the next."""
        self._cut_missed |= frame.cut
        self._steadier.miss()

    def begin(self) -> None:
        """What was seen before is of another time: the network was not looked at."""
        self._cut_missed = False
        self._steadier.reset()

    def step(
        self, frame: Frame, view: View, small: Image, *, at_s: float, pre_ms: float, threshold: float | None
    ) -> Segmented:
        """frame: the whole. small: its `view` at the network's size, from `shrink`, which took `pre_ms`. at_s: when it
        was, on the clock of the steadiness.

        Raises what the runner raises.
        """
        started_s = time.perf_counter()
        # Luma is taken before the resize, and rounded, so it is not that of the small picture.
        tensor = self.runner.prepare(small if self.runner.channels == 3 else view.crop(frame.image))
        prepared_s = time.perf_counter()
        output = self.runner.infer(tensor)
        inferred_s = time.perf_counter()
        size = small.shape[0], small.shape[1]
        given_masks = self.runner.kind == "mask"
        classes: Map | None = None
        if given_masks:
            alone: Map = (self.runner.finish_labels(output, size) > 0).astype(np.float32)
        elif self.runner.classes > 1:
            classes = self.runner.finish_classes(output, size)
            alone = lead(classes)
        else:
            alone = self.runner.finish(output, size)
        if classes is not None:
            self._cut_at = ABOVE_HALF
        else:
            self._cut_at = self.threshold if threshold is None or given_masks else threshold
        seen = Frame(frame.number, at_s, small, cut=frame.cut or self._cut_missed)
        self._cut_missed = False
        probability, mask, alarm = self._steadier.step(seen, alone)
        full: Map = np.zeros(frame.image.shape[:2], np.float32)
        found: Image = np.zeros(frame.image.shape[:2], np.uint8)
        if given_masks:
            view.crop(found)[:] = labels_to_size(mask, view.size)
            view.crop(full)[:] = view.crop(found)
        else:
            decided = _decided(probability, mask, self._cut_at)
            box = _reach(decided, self._cut_at, view.size)
            if box is not None:
                view.crop(full)[box] = _enlarged(decided, classes, view.size, box)
                view.crop(found)[box] = to_mask(view.crop(full)[box], self._cut_at)
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


def _enlarged(decided: Map, classes: Map | None, size: tuple[int, int], box: tuple[slice, slice]) -> Map:
    """`box` of `decided` (h, w) at `size`. classes: (K, h, w) where there are several: each is enlarged by itself as in
    `predict`, since the largest of them does not become the largest of what they become.
    """
    if classes is None:
        return prob_to_size(decided, size, part=box)
    return lead(np.stack([prob_to_size(p, size, part=box) for p in with_lead(classes, decided)]))


def _reach(probability: Map, threshold: float, size: tuple[int, int]) -> tuple[slice, slice] | None:
    """The box, in (H, W) `size`, outside of which no pixel can reach the threshold: none of its samples does.

    probability: (h, w). A mask of a tenth of a 1080p frame is enlarged in 0.5 ms, the whole of it in 4.
    """
    near = probability >= np.float32(threshold - _STEP)
    rows, columns = (_reached(np.asarray(near.any(axis)), length) for axis, length in ((1, size[0]), (0, size[1])))
    return None if rows is None or columns is None else (rows, columns)


def _reached(near: NDArray[np.bool_], length: int) -> slice | None:
    """Of one axis resized to `length`: the outputs from the first to the last that has one of `near` among its taps."""
    reached = np.flatnonzero(near[taps(len(near), length)[0]].any(axis=1))
    return slice(int(reached[0]), int(reached[-1]) + 1) if reached.size else None


def _decided(probability: Map, mask: Image, threshold: float) -> Map:
    """A probability whose cut at `threshold` is the mask, to be enlarged: all are (h, w).

    Where the steadiness decided against the probability, it is set to just the other side: so the outline stays as
    smooth as the probability's, wherever the two agree.
    """
    cut = np.float32(threshold)
    on = mask != 0
    if np.array_equal(probability >= cut, on):
        return probability
    inside, outside = np.minimum(cut + np.float32(_DECIDED), 1), np.maximum(cut - np.float32(_DECIDED), 0)
    return np.where(on, np.maximum(probability, inside), np.minimum(probability, outside)).astype(np.float32)
