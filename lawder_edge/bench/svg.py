"""Charts as SVG text, for one page without outside resources. Pure functions, no plotting library."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 640, 380
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 16, 16, 44
# Told apart by people who see colours differently (Okabe and Ito 2008).
COLOURS = (
    *("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f7f7f", "#8c564b"),
    *("#111111", "#9a9a00", "#6a3d9a", "#e31a1c", "#1f8f8f", "#b15928", "#3f51b5", "#c51b8a"),
)
# Of a letter, on average, and of a line.
_LETTER, _LINE = 6.3, 12.0


@dataclass(frozen=True)
class Axis:
    """label: with the unit. low, high: ends, low < high, and above 0 where logarithmic."""

    label: str
    low: float
    high: float
    log: bool = False

    def place(self, value: float) -> float:
        """In [0, 1] from low to high; what lies outside is put on the edge."""
        a, b, v = (math.log(max(n, 1e-12)) if self.log else n for n in (self.low, self.high, value))
        return min(max((v - a) / (b - a), 0.0), 1.0)

    def ticks(self) -> tuple[float, ...]:
        """Round numbers between the ends."""
        if self.log:
            found = tuple(
                digit * 10.0**power
                for power in range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
                for digit in (1, 2, 5)
            )
        else:
            raw = (self.high - self.low) / 5
            size = 10.0 ** math.floor(math.log10(raw))
            step = next(m * size for m in (1, 2, 5, 10) if m * size >= raw)
            first = math.ceil(self.low / step - 1e-9)
            found = tuple((first + i) * step for i in range(8))
        return tuple(t for t in found if self.low * (1 - 1e-9) <= t <= self.high * (1 + 1e-9))


@dataclass(frozen=True)
class Line:
    """points: (x, y), at least two. dashed: for what is no measurement."""

    name: str
    points: tuple[tuple[float, float], ...]
    colour: str
    dashed: bool = False


@dataclass(frozen=True)
class Point:
    """One mark with its name beside it."""

    name: str
    x: float
    y: float
    colour: str


def axis(label: str, values: Sequence[float], *, log: bool = False, room: float = 0.08) -> Axis:
    """From the least to the largest of `values`, at least one, with `room` of it on both sides."""
    low, high = min(values), max(values)
    if log:
        factor = max((high / low) ** room, 1.15)
        return Axis(label, low / factor, high * factor, log=True)
    margin = (high - low) * room or max(abs(high) * room, 1e-3)
    return Axis(label, low - margin, high + margin)


def plot(x: Axis, y: Axis, *, lines: Sequence[Line] = (), points: Sequence[Point] = (), title: str) -> str:
    """A chart with named lines and points, as an `svg` element. title: what it shows, for people who do not see it."""

    def at(px: float, py: float) -> tuple[float, float]:
        return (
            _LEFT + x.place(px) * (WIDTH - _LEFT - _RIGHT),
            HEIGHT - _BOTTOM - y.place(py) * (HEIGHT - _TOP - _BOTTOM),
        )

    out = [_opening(title, HEIGHT)]
    bottom, right = HEIGHT - _BOTTOM, WIDTH - _RIGHT
    for tick in x.ticks():
        left, _ = at(tick, y.low)
        out.append(f'<line class="grid" x1="{left:.1f}" y1="{_TOP}" x2="{left:.1f}" y2="{bottom}"/>')
        out.append(f'<text x="{left:.1f}" y="{bottom + 16}" text-anchor="middle">{tick:g}</text>')
    for tick in y.ticks():
        _, top = at(x.low, tick)
        out.append(f'<line class="grid" x1="{_LEFT}" y1="{top:.1f}" x2="{right}" y2="{top:.1f}"/>')
        out.append(f'<text x="{_LEFT - 6}" y="{top + 4:.1f}" text-anchor="end">{tick:g}</text>')
    out.append(f'<text x="{(_LEFT + right) / 2}" y="{HEIGHT - 8}" text-anchor="middle">{escape(x.label)}</text>')
    middle = (_TOP + bottom) / 2
    out.append(f'<text transform="translate(14 {middle}) rotate(-90)" text-anchor="middle">{escape(y.label)}</text>')
    for line in lines:
        corners = " ".join(f"{a:.1f},{b:.1f}" for a, b in (at(*p) for p in line.points))
        dash = ' stroke-dasharray="5 4"' if line.dashed else ""
        out.append(
            f'<polyline points="{corners}" fill="none" stroke="{line.colour}" stroke-width="1.8"{dash}>'
            f"<title>{escape(line.name)}</title></polyline>"
        )
    marks = [at(point.x, point.y) for point in points]
    for point, (left, top), (text_left, text_top, anchor) in zip(points, marks, _beside(points, marks), strict=True):
        out.append(
            f'<line x1="{left:.1f}" y1="{top:.1f}" x2="{text_left:.1f}" y2="{text_top - 4:.1f}" '
            f'stroke="{point.colour}" stroke-width="0.7"/>'
            f'<circle cx="{left:.1f}" cy="{top:.1f}" r="5" fill="{point.colour}">'
            f"<title>{escape(point.name)}: {point.x:.4g}, {point.y:.4g}</title></circle>"
            f'<text x="{text_left:.1f}" y="{text_top:.1f}" text-anchor="{anchor}" fill="{point.colour}">'
            f"{escape(point.name)}</text>"
        )
    return "\n".join([*out, "</svg>"])


def _beside(points: Sequence[Point], marks: Sequence[tuple[float, float]]) -> list[tuple[float, float, str]]:
    """Where each point's name goes, (left, top, anchor): as near as no other name and no mark is covered."""
    found: list[tuple[float, float, str]] = []
    boxes: list[tuple[float, float, float, float]] = [(x - 5, y - 5, x + 5, y + 5) for x, y in marks]
    for point, (x, y) in zip(points, marks, strict=True):
        width = _LETTER * len(point.name)
        # Farther and farther away, to the right and to the left, below and above.
        for step in range(2 * HEIGHT // int(_LINE)):
            far = (step + 1) // 2 * (1 if step % 2 else -1) * _LINE
            sides = (("start", x + 10), ("end", x - 10)) if x + 10 + width < WIDTH else (("end", x - 10),)
            top = y + 4 + far
            free = [
                (anchor, left, box)
                for anchor, left in sides
                if not any(_overlap(box := _box(left, top, width, anchor), other) for other in boxes)
                and box[0] > _LEFT
                and _TOP < top < HEIGHT - _BOTTOM
            ]
            if free:
                break
        anchor, left, box = free[0] if free else ("start", x + 10, _box(x + 10, y + 4, width, "start"))
        boxes.append(box)
        found.append((left, top if free else y + 4, anchor))
    return found


def _box(left: float, top: float, width: float, anchor: str) -> tuple[float, float, float, float]:
    """Of a name whose line stands on `top`: left, top, right, bottom."""
    start = left if anchor == "start" else left - width
    return (start, top - _LINE + 2, start + width, top + 2)


def _overlap(a: tuple[float, float, float, float], b: tuple[float, float, float, float]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def bars(values: Sequence[tuple[str, float, str]], *, unit: str, title: str) -> str:
    """A horizontal bar for each (name, value from 0 on, colour), at least one, as an `svg` element."""
    row, name_width = 24, 220
    height = row * len(values) + 8
    most = max(value for _, value, _ in values) or 1.0
    out = [_opening(title, height)]
    for i, (name, value, colour) in enumerate(values):
        top, width = 4 + i * row, value / most * (WIDTH - name_width - 90)
        out.append(f'<text x="{name_width - 6}" y="{top + 15}" text-anchor="end">{escape(name)}</text>')
        out.append(f'<rect x="{name_width}" y="{top + 3}" width="{width:.1f}" height="{row - 8}" fill="{colour}"/>')
        out.append(f'<text x="{name_width + width + 6:.1f}" y="{top + 15}">{value:.4g} {escape(unit)}</text>')
    return "\n".join([*out, "</svg>"])


def panels(charts: Sequence[str], *, names: Sequence[tuple[str, str]], title: str, columns: int = 2) -> str:
    """Charts of `plot`, at least one, in rows of `columns`, with one legend (name, colour) below: a file of its own."""
    columns = min(columns, len(charts))
    width, rows = columns * WIDTH, -(-len(charts) // columns)
    entries: list[str] = []
    left, line = float(_LEFT), rows * HEIGHT + 18
    for name, colour in names:
        taken = 22 + _LETTER * len(name) + 16
        if left + taken > width and left > _LEFT:
            left, line = _LEFT, line + 20
        entries.append(f'<rect x="{left:.1f}" y="{line - 7}" width="16" height="4" fill="{colour}"/>')
        entries.append(f'<text x="{left + 22:.1f}" y="{line}">{escape(name)}</text>')
        left += taken
    placed = [
        f'<svg x="{i % columns * WIDTH}" y="{i // columns * HEIGHT}" width="{WIDTH}" height="{HEIGHT}">{chart}</svg>'
        for i, chart in enumerate(charts)
    ]
    # On white, as a page may be dark.
    ground = f'<rect width="{width}" height="{line + 12}" fill="#fff"/>'
    return "\n".join([_opening(title, line + 12, width), ground, *placed, *entries, "</svg>"])


def legend(names: Sequence[tuple[str, str]]) -> str:
    """(name, colour) of lines, as an HTML list."""
    items = "".join(f'<li><span style="background:{colour}"></span>{escape(name)}</li>' for name, colour in names)
    return f'<ul class="legend">{items}</ul>'


def _opening(title: str, height: float, width: float = WIDTH) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" font-family="sans-serif" '
        f'font-size="12" fill="#222"><style>.grid{{stroke:#ddd;stroke-width:1}}</style><title>{escape(title)}</title>'
    )
