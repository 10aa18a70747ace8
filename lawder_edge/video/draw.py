"""What is drawn on a frame: outline, tint, confidence, area, warnings and figures, in colour-blind safe colours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from lawder_edge.evaluation.metrics import dice
from lawder_edge.evaluation.overlay import PREDICTION, TRUTH, Colour
from lawder_edge.video.frames import Image, Segmented, Status

RESEARCH = "RESEARCH USE ONLY - NOT A MEDICAL DEVICE"
KEYS = (
    ("h", "figures"),
    ("k", "keys"),
    ("space", "pause"),
    ("+ -", "threshold"),
    ("b", "next model"),
    ("r", "record"),
    ("s", "screenshot"),
    ("q", "quit"),
)
_WHITE: Colour = (255, 255, 255)
# One pixel of outline for so many of the frame's shorter side, as on still images.
_SIDE_PER_LINE_PX = 128
# Okabe & Ito's vermilion, for what is wrong: told from the sky blue of "only here" and the yellow of a polyp.
_WRONG: Colour = (213, 94, 0)
_TINT = 0.25
_FONT = cv2.FONT_HERSHEY_SIMPLEX
# The height of a line of text: this share of the shorter side, within these pixels.
_LINE, _LEAST_LINE_PX, _LARGEST_LINE_PX = 1 / 22, 12, 40
# A Hershey capital is 21 px high at scale 1; a line leaves half of that between two.
_HERSHEY_PX = 33


@dataclass(frozen=True)
class Overlay:
    """What is drawn besides the mask. notes: warnings, a line each. status: None for no figures."""

    notes: tuple[str, ...] = ()
    status: Status | None = None
    threshold: float | None = None
    keys: bool = False
    recording: bool = False


def draw_mask(segmented: Segmented, *, base: Image | None = None) -> Image:
    """The frame with its mask tinted and outlined: thick where the polyp is confirmed, thin where it is not yet.

    base: another picture of the same frame to draw on, such as one with text made unreadable. Returns: a new
    (H, W, 3) uint8 RGB picture.
    """
    image = segmented.frame.image if base is None else base
    mask = segmented.mask
    if not mask.any():
        return np.array(image)
    left, top, width, height = cv2.boundingRect(mask)
    # With a margin, for the line; everything else of the frame is only copied.
    margin = max(4, round(min(mask.shape) / 64))
    rows = slice(max(0, top - margin), top + height + margin)
    columns = slice(max(0, left - margin), left + width + margin)
    out = np.array(image)
    inside = np.ascontiguousarray(mask[rows, columns])
    # A copy: of a mask that spans the frame the part is the frame itself, which is painted on below.
    part = np.array(image[rows, columns])
    part = _painted(part, cv2.addWeighted(part, 1 - _TINT, _plain(inside, PREDICTION), _TINT, 0), inside)
    # By growing and shrinking: a line drawn along the thousands of points of a 1080p outline takes 16 ms, this 2 ms.
    line = max(2, round(min(mask.shape) / _SIDE_PER_LINE_PX))
    halo = cv2.subtract(cv2.dilate(inside, np.ones((5, 5), np.uint8)), inside)
    # The frame's edge is no edge of the mask.
    kernel = np.ones((2 * line + 1, 2 * line + 1), np.uint8)
    edge = cv2.subtract(inside, cv2.erode(inside, kernel, borderType=cv2.BORDER_REPLICATE))
    part = _painted(part, np.zeros_like(part), halo)
    part = _painted(part, _plain(inside, PREDICTION if segmented.alarm else _WHITE), edge)
    out[rows, columns] = part
    return out


def finding(segmented: Segmented) -> str:
    """What was found, in words: how sure (mean probability inside the mask) and how large (share of the frame)."""
    if segmented.reason:
        return segmented.reason
    area = int(np.count_nonzero(segmented.mask))
    if not area:
        return "no polyp"
    sure = cv2.mean(segmented.probability, mask=segmented.mask)[0]
    return f"polyp{'' if segmented.alarm else '?'} {sure:.2f}  {100 * area / segmented.mask.size:.1f} %"


def add_labels(picture: Image, segmented: Segmented, overlay: Overlay, *, name: str = "") -> Image:
    """Draw words over a picture, in place: the finding, warnings, figures, keys and the research mark.

    picture: (H, W, 3) uint8 RGB from `draw_mask`. name: of the network, where several are shown. Returns: the same.
    """
    pen = _Pen(picture)
    colour = _WRONG if segmented.reason else PREDICTION if segmented.alarm else _WHITE
    pen.line(f"{name}: {finding(segmented)}" if name else finding(segmented), colour)
    for note in overlay.notes:
        pen.line(note, _WRONG)
    if overlay.status is not None:
        for line in _figures(segmented, overlay.status, overlay.threshold):
            pen.line(line, _WHITE)
    if overlay.keys:
        for key, what in KEYS:
            pen.line(f"{key:5s} {what}", _WHITE)
    if overlay.recording:
        side = picture.shape[1] - pen.height
        cv2.circle(picture, (side, pen.height), pen.height // 3, _WRONG, -1, cv2.LINE_AA)
    pen.last_line(RESEARCH)
    if segmented.alarm:
        _frame(picture, PREDICTION)
    return picture


def side_by_side(
    first: Segmented, second: Segmented, overlay: Overlay, names: Sequence[str], *, base: Image | None = None
) -> Image:
    """Two networks on one frame, and their difference: sky blue only in the first, vermilion only in the second.

    Both must be of the same frame. Returns: (H, 3 W, 3) uint8 RGB, each panel as large as the frame.
    """
    if first.frame.number != second.frame.number:
        raise ValueError(f"frames {first.frame.number} and {second.frame.number} cannot stand side by side")
    image = first.frame.image if base is None else base
    left = add_labels(draw_mask(first, base=base), first, overlay, name=names[0])
    right = add_labels(draw_mask(second, base=base), second, Overlay(), name=names[1])
    grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    between = np.asarray(grey // 2, np.uint8)
    a, b = first.mask != 0, second.mask != 0
    between[a & b] = between[a & b] // 2 + 90
    between[a & ~b] = TRUTH
    between[b & ~a] = _WRONG
    pen = _Pen(between)
    agreement = dice(a, b)
    pen.line(f"mask Dice {agreement:.3f}", _WHITE)
    pen.line(f"only {names[0]}", TRUTH)
    pen.line(f"only {names[1]}", _WRONG)
    pen.last_line(RESEARCH)
    return np.concatenate([left, right, between], axis=1)


def _plain(like: Image, colour: Colour) -> Image:
    """(h, w, 3) uint8 of one colour. Merged from planes: numpy takes twenty times as long to repeat three values."""
    return np.asarray(cv2.merge([np.full(like.shape, value, np.uint8) for value in colour]), np.uint8)


def _painted(picture: Image, paint: Any, where: Any) -> Image:
    """`paint` where `where` is not 0, else `picture`."""
    return np.asarray(cv2.copyTo(paint, where, picture), np.uint8)


def _figures(segmented: Segmented, status: Status, threshold: float | None) -> list[str]:
    lines = [
        f"frame {segmented.frame.number}  {status.fps:.1f} fps  dropped {status.dropped}",
        f"latency {status.latency_p50_ms:.0f} / {status.latency_p95_ms:.0f} / {status.latency_p99_ms:.0f} ms",
        f"pre {segmented.pre_ms:.1f}  net {segmented.infer_ms:.1f}  post {segmented.post_ms:.1f} ms",
        f"CPU {status.cpu_percent:.0f} %  {status.memory_mb:.0f} MB",
    ]
    if threshold is not None:
        lines.append(f"threshold {threshold:.2f}")
    return [*lines, *([status.source] if status.source else [])]


def _frame(picture: Image, colour: Colour) -> None:
    height, width = picture.shape[:2]
    line = max(3, min(height, width) // 100)
    cv2.rectangle(picture, (line // 2, line // 2), (width - 1 - line // 2, height - 1 - line // 2), colour, line)


class _Pen:
    """Writes lines of text on dark strips, from the upper left corner down."""

    def __init__(self, picture: Image) -> None:
        self._picture = picture
        self.height = int(min(max(min(picture.shape[:2]) * _LINE, _LEAST_LINE_PX), _LARGEST_LINE_PX))
        self._margin = self.height // 2
        self._y = self._margin

    def line(self, text: str, colour: Colour) -> None:
        self._write(text, colour, self._y)
        self._y += self.height

    def last_line(self, text: str) -> None:
        """At the lower edge."""
        self._write(text, _WHITE, self._picture.shape[0] - self._margin - self.height)

    def _write(self, text: str, colour: Colour, top: int) -> None:
        # Hershey's letters are ASCII.
        text = text.encode("ascii", "replace").decode()
        scale = self.height / _HERSHEY_PX
        room = self._picture.shape[1] - 2 * self._margin
        width = cv2.getTextSize(text, _FONT, scale, 1)[0][0]
        if width > room:
            scale *= room / width
            width = room
        thickness = max(1, round(1.6 * scale))
        bottom = top + self.height
        left = self._margin
        strip = self._picture[max(top, 0) : bottom, left - 2 : left + width + 4]
        strip //= 6
        base = top + round(0.75 * self.height)
        cv2.putText(self._picture, text, (left, base), _FONT, scale, colour, thickness, cv2.LINE_AA)
