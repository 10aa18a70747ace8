"""Procedural endoscopy phantom: images with exact polyp masks from a seed, without any patient's data.

A frame is a shaded surface seen from its own light source. A wall recedes towards an off-centre lumen and darkens with
the square of the distance; folds, mucosal bumps and a polyp are relief on it, shaded by their slopes; vessels, residue
and colour are its albedo; specular spots sit where the wet surface faces the light; a scope border cuts the view. It is
a stand-in for tests, demonstrations and golden frames. It is no substitute for real images: no accuracy measured on it
says anything about patients.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from lawder_edge.errors import BadInput

Map: TypeAlias = NDArray[np.float32]
Flags: TypeAlias = NDArray[np.bool_]

# Most images in public polyp sets show between 1 and 30 % polyp.
AREA_RANGE = (0.01, 0.3)
MAX_AREA = 0.5
MIN_SIDE_PX = 32

# Mucosa from pink over orange to a dim, brownish grey: linear albedo, RGB.
_MUCOSA = np.array([[0.86, 0.36, 0.28], [0.88, 0.43, 0.20], [0.82, 0.44, 0.37], [0.78, 0.30, 0.21], [0.68, 0.46, 0.33]])
# What a polyp's albedo is multiplied by: redder, paler, yellower, or hardly different from the wall.
_TINTS = np.array([[1.06, 0.74, 0.74], [1.10, 1.12, 1.16], [1.10, 1.06, 0.92], [1.05, 0.92, 0.94]])


@dataclass(frozen=True)
class PhantomFrame:
    """`image` is (H, W, 3) uint8 RGB, `mask` (H, W) uint8 with 1 where the polyp is seen and 0 elsewhere."""

    image: NDArray[np.uint8]
    mask: NDArray[np.uint8]


@dataclass(frozen=True)
class PhantomScene:
    """What a scope could look over, without scope, camera and specular spots.

    colour: (H, W, 3) float32 linear RGB, 0 to about 1.2. gleam: (H, W) float32, how straight the surface sends light
    back, 0 to about 1.1: where it is high, a wet film shows specular spots. mask: (H, W) uint8, 1 where the polyp is.
    """

    colour: Map
    gleam: Map
    mask: NDArray[np.uint8]


@dataclass(frozen=True)
class _Polyp:
    mask: Flags
    cover: Map  # the mask with an outline one pixel soft, as a lens draws it
    height: Map  # pixels above the wall
    shadow: Map  # what it takes from the light around it, 0 to 1


def make_frame(
    rng: np.random.Generator,
    *,
    size: tuple[int, int] = (256, 256),
    area: float | None = None,
    polyp: bool = True,
) -> PhantomFrame:
    """One frame of `size` (H, W). The same state of `rng` and the same arguments give the same bytes.

    `area` is the polyp's share of all pixels, met to the pixel; None draws it log-uniformly from `AREA_RANGE`. The same
    state of `rng` with `polyp=False` gives the same scene without the polyp, and a mask of zeros.

    Raises BadInput for a side below 32 px, an area outside (0, 0.5] or one that is less than a pixel.
    """
    height, width = size
    if min(size) < MIN_SIDE_PX:
        raise BadInput(f"a phantom of {height} x {width} px was asked for; each side needs {MIN_SIDE_PX} px or more")
    seeds = rng.integers(0, 2**63, size=6)
    shape_rng, wall_rng, polyp_rng, skin_rng, wet_rng, camera_rng = (np.random.default_rng(s) for s in seeds)
    low, high = np.log(AREA_RANGE)
    drawn = float(np.exp(polyp_rng.uniform(low, high)))
    pixels = round((drawn if area is None else area) * height * width)
    if area is not None and not (0 < area <= MAX_AREA and pixels >= 1):
        raise BadInput(f"area is {area} of {height} x {width} px; it must be a pixel or more and at most {MAX_AREA}")

    visible = scope_view(shape_rng, size)
    if pixels > 0.8 * visible.sum():
        # The border would leave no room for a polyp of this area.
        visible = np.ones(size, bool)
    light, relief = _wall(wall_rng, size)
    albedo = _mucosa(skin_rng, size)
    found = _polyp(polyp_rng, visible, light, pixels, within=visible) if polyp else None
    if found:
        albedo, light, relief = _with_polyp(polyp_rng, albedo, light, relief, found)
    colour, gleam = _shade(wet_rng, albedo, light, relief)
    image = _camera(camera_rng, _wet(wet_rng, colour, gleam), visible)
    mask = found.mask if found else np.zeros(size, bool)
    return PhantomFrame(image, mask.astype(np.uint8))


def make_scene(
    rng: np.random.Generator, *, size: tuple[int, int], area: float | None, within: Flags | None = None
) -> PhantomScene:
    """A scene of `size` (H, W) for a camera to move over. The same state of `rng` gives the same bytes.

    area: the polyp's share of all pixels, None for a scene without one. within: (H, W) bool, where its middle may lie;
    None for anywhere. Raises BadInput for a side below 32 px, or an area outside (0, 0.5] or of less than a pixel.
    """
    height, width = size
    if min(size) < MIN_SIDE_PX:
        raise BadInput(f"a scene of {height} x {width} px was asked for; each side needs {MIN_SIDE_PX} px or more")
    pixels = round((area or 0) * height * width)
    if area is not None and not (0 < area <= MAX_AREA and pixels >= 1):
        raise BadInput(f"area is {area} of {height} x {width} px; it must be a pixel or more and at most {MAX_AREA}")
    seeds = rng.integers(0, 2**63, size=4)
    wall_rng, polyp_rng, skin_rng, wet_rng = (np.random.default_rng(s) for s in seeds)
    light, relief = _wall(wall_rng, size)
    albedo = _mucosa(skin_rng, size)
    mask = np.zeros(size, bool)
    if pixels:
        everywhere = np.ones(size, bool)
        found = _polyp(polyp_rng, everywhere, light, pixels, within=everywhere if within is None else within)
        albedo, light, relief = _with_polyp(polyp_rng, albedo, light, relief, found)
        mask = found.mask
    colour, gleam = _shade(wet_rng, albedo, light, relief)
    return PhantomScene(colour.astype(np.float32), gleam.astype(np.float32), mask.astype(np.uint8))


def _axes(size: tuple[int, int]) -> tuple[Map, Map]:
    """x and y of each pixel from the middle, in half short sides: the same scene at any size."""
    height, width = size
    half = min(size) / 2
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    return (x - (width - 1) / 2) / half, (y - (height - 1) / 2) / half


def _noise(rng: np.random.Generator, size: tuple[int, int], cells: int) -> Map:
    """Smooth noise of unit variance or so, with `cells` cells on the short side whatever the size in pixels."""
    height, width = size
    grid = [max(2, round(cells * side / min(size))) + 1 for side in size]
    coarse = rng.standard_normal(grid, dtype=np.float32)
    return np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC))


def _ramp(x: Map, start: float, stop: float) -> Map:
    t = np.clip((x - start) / (stop - start), 0, 1)
    return np.asarray(t * t * (3 - 2 * t), dtype=np.float32)


def _mix(a: Map, b: Map, share_of_b: Map) -> Map:
    return np.asarray(a + (b - a) * share_of_b, dtype=np.float32)


def _blur(x: Map, sigma_px: float) -> Map:
    return np.asarray(cv2.GaussianBlur(x, (0, 0), max(sigma_px, 0.3), borderType=cv2.BORDER_REFLECT))


def scope_view(rng: np.random.Generator, size: tuple[int, int]) -> Flags:
    """What the scope shows: an octagon, a circle with its sides cut, or the whole frame; at times less a corner box.

    Returns: (H, W) bool.
    """
    x, y = _axes(size)
    x, y = x / np.abs(x).max(), y / np.abs(y).max()
    kind = rng.choice(["octagon", "circle", "full"], p=[0.6, 0.3, 0.1])
    margin = rng.uniform(0.82, 0.97) if rng.random() < 0.4 else 1.0
    cut = rng.uniform(1.35, 1.6)
    radius = rng.uniform(1.08, 1.25)
    box = rng.uniform(0.25, 0.42) if rng.random() < 0.2 else 0.0
    visible = np.maximum(np.abs(x), np.abs(y)) <= margin
    if kind == "octagon":
        visible &= np.abs(x) + np.abs(y) <= cut * margin
    elif kind == "circle":
        visible &= x * x + y * y <= (radius * margin) ** 2
    return np.asarray(visible & ~((x < 2 * box - 1) & (y > 1 - 2 * box)) if box else visible)


def _wall(rng: np.random.Generator, size: tuple[int, int]) -> tuple[Map, Map]:
    """Light that falls on the wall, 0 to about 1.5, and its relief in pixels.

    It is the inside of a tube that bends away: 1 / distance grows with the angle from the lumen's axis.
    """
    short = min(size)
    x, y = _axes(size)
    angle, reach = rng.uniform(0, 2 * np.pi), rng.uniform(0.15, 1.3)
    x, y = x - reach * np.cos(angle), y - reach * np.sin(angle)
    x = x + 0.16 * _noise(rng, size, 3) + 0.03 * _noise(rng, size, 8)
    y = y + 0.16 * _noise(rng, size, 3) + 0.03 * _noise(rng, size, 8)
    theta = np.arctan2(y, x)
    # Three bands of muscle run along the colon: its lumen is a rounded triangle.
    lobes = 1 + 0.14 * np.cos(3 * theta + rng.uniform(0, 6.3)) + 0.08 * np.cos(2 * theta + rng.uniform(0, 6.3))
    radius = cv2.magnitude(x, y * rng.uniform(0.8, 1.25)) * lobes
    opening = rng.uniform(0.12, 0.35)
    closeness = 0.8 * np.sqrt(radius * radius + 0.03) + 0.25 + 0.07 * _noise(rng, size, 3)
    closeness = np.maximum(closeness, 0.2) * (0.3 + 0.7 * _ramp(radius, 0.0, 2.2 * opening))

    # Folds stand at equal steps of depth, so at equal steps of log radius. Going outward each begins with a sharp lit
    # crest and falls off into the shadow under the next one.
    steps = np.log(radius + 0.12) * rng.uniform(1.6, 2.8) + rng.uniform(0, 1) + 0.16 * _noise(rng, size, 3)
    ring = np.floor(steps).astype(np.int32)
    fraction = steps - ring
    # No fold goes all the way round, and some are hardly there; a third of the frames show nearly smooth wall.
    each = rng.uniform(0.3, 1.0, 16).astype(np.float32)[ring % 16]
    strength = each * _ramp(_noise(rng, size, 3), -0.9, 0.7) * (rng.uniform(0.5, 1.0) if rng.random() < 0.67 else 0.12)
    crest, under = np.exp(-(((fraction - 0.1) / 0.16) ** 2)), _ramp(fraction, 0.0, 1.05)
    folds = _blur(1.05 + strength * (0.3 * crest - 0.62 * under), 0.005 * short)
    # A tone curve as scopes have it: near walls are not blown out. Relief stays outside it, or it would look flat.
    lit = closeness * closeness * rng.uniform(1.0, 1.7)
    light = 1.4 * lit / (lit + 0.7) * folds
    bumps = 4.0 * _noise(rng, size, 4) + 0.7 * _noise(rng, size, 10) + 0.13 * _noise(rng, size, 30)
    return light.astype(np.float32), (bumps * short / 256).astype(np.float32)


def _mucosa(rng: np.random.Generator, size: tuple[int, int]) -> Map:
    """Albedo (H, W, 3): a mucosa's tone, its slow and fine variation, vessels, sometimes yellow residue."""
    short = min(size)
    weights = rng.dirichlet(np.full(len(_MUCOSA), 0.35))
    tone = (weights @ _MUCOSA).astype(np.float32)
    slow, mottled, fine = _noise(rng, size, 3), _noise(rng, size, 14), _noise(rng, size, 60)
    albedo = tone * (1 + 0.03 * mottled + 0.025 * fine)[..., None]
    albedo = albedo * (1 + slow[..., None] * np.array([0.01, 0.06, 0.05], np.float32))
    vessels = _vessels(rng, size) * _ramp(_noise(rng, size, 3), -0.9, 0.6) * rng.uniform(0.2, 1.0)
    albedo = albedo * (1 - vessels[..., None] * np.array([0.2, 0.55, 0.45], np.float32))
    if rng.random() < 0.3:
        residue = 0.6 * _ramp(_noise(rng, size, 4) + 0.5 * _noise(rng, size, 16), 1.2, 2.2)[..., None]
        albedo = albedo * (1 - residue) + residue * np.array([0.70, 0.47, 0.12], np.float32)
    return np.asarray(_blur(albedo, 0.0015 * short), dtype=np.float32)


def _vessels(rng: np.random.Generator, size: tuple[int, int]) -> Map:
    """Branching vessels, 0 to 1: walks of a slowly turning heading, each with thinner walks growing out of it."""
    height, width = size
    short = min(size)
    canvas = np.zeros(size, np.uint8)
    step = 0.02 * short
    thickness = max(1, round(short / 200))

    def walk(start: NDArray[np.float64], heading: float, steps: int, depth: int) -> None:
        turns = heading + np.cumsum(rng.normal(0, 0.28, steps))
        path = start + np.cumsum(np.stack([np.cos(turns), np.sin(turns)], 1), 0) * step
        # cv2 takes points in sixteenths of a pixel here: vessels thinner than a pixel's step stay smooth.
        points = np.round(path * 16).astype(np.int32)[:, None]
        cv2.polylines(canvas, [points], False, 255 - 70 * depth, max(1, thickness - depth), cv2.LINE_AA, 4)
        if depth < 2:
            for at in rng.choice(steps - 1, size=3, replace=False):
                side = rng.choice([-1.0, 1.0]) * rng.uniform(0.5, 1.1)
                walk(path[at], turns[at] + side, int(rng.integers(6, 12)) + 4 * (1 - depth), depth + 1)

    for _ in range(int(rng.integers(5, 11))):
        walk(rng.uniform(0, (width, height)), rng.uniform(0, 2 * np.pi), int(rng.integers(14, 30)), 0)
    return _blur((canvas / 255).astype(np.float32), 0.003 * short)


def _polyp(rng: np.random.Generator, visible: Flags, light: Map, pixels: int, *, within: Flags) -> _Polyp:
    """A polyp of exactly `pixels` visible pixels: the sublevel set of a field that has its lobes, stalk and outline.

    Its middle lies `within`.
    """
    size = (visible.shape[0], visible.shape[1])
    radius = np.sqrt(pixels / np.pi)
    row, column = _place(rng, within, light, radius)
    y, x = np.mgrid[0 : size[0], 0 : size[1]].astype(np.float32)
    x, y = (x - column) / radius, (y - row) / radius
    kind = rng.choice(["dome", "flat", "lobed", "stalked"], p=[0.45, 0.15, 0.25, 0.15])
    centres = [(0.0, 0.0, 1.0)]
    turn = rng.uniform(0, 2 * np.pi)
    if kind == "lobed":
        spread = turn + np.arange(int(rng.integers(2, 4))) * 2.1 + rng.normal(0, 0.2)
        centres = [(0.5 * np.cos(a), 0.5 * np.sin(a), rng.uniform(0.6, 0.85)) for a in spread]
    elif kind == "stalked":
        centres = [(0.0, 0.0, 0.9)] + [(d * np.cos(turn), d * np.sin(turn), 0.42) for d in (0.75, 1.05, 1.35)]
    lobes = [_lobe(rng, x - cx, y - cy, r) for cx, cy, r in centres]
    # A smooth minimum joins the lobes without a seam.
    nearest = np.minimum.reduce(lobes)
    field = nearest - np.log(np.add.reduce([np.exp(7 * (nearest - lobe)) for lobe in lobes])) / 7
    shown = np.where(visible, field, np.inf)
    # Ties at the cut are broken by position, so that the area holds to the pixel.
    order = np.argpartition(shown.ravel(), pixels - 1)[:pixels]
    mask = np.zeros(size, bool)
    mask.ravel()[order] = True
    base, rim = float(field.min()), float(shown.ravel()[order].max())
    level = np.clip((field - base) / max(rim - base, 1e-6), 0, None).astype(np.float32)
    inside = np.clip(1 - level, 0, 1)
    tall = {"dome": rng.uniform(0.6, 1.0), "flat": rng.uniform(0.2, 0.35), "lobed": 0.8, "stalked": 0.9}[kind]
    dome = np.sqrt(inside * (2 - inside)) ** 1.4 if kind != "flat" else _ramp(inside, 0.0, 0.9)
    crowns = np.maximum.reduce([np.clip(1 - lobe * lobe, 0, 1) for lobe in lobes]) if kind == "lobed" else dome
    grain = _noise(rng, size, int(np.clip(min(size) / radius * 4, 8, 90)))
    height = tall * radius * (0.75 * dome + 0.25 * crowns) + 0.012 * radius * grain * _ramp(inside, 0, 0.3)
    height = _blur(np.where(mask, height, 0).astype(np.float32), 0.06 * radius)
    # The shadow falls away from the light, which stands above the camera.
    shift = np.array([[1, 0, 0.10 * radius], [0, 1, 0.16 * radius]], np.float32)
    drop = np.asarray(cv2.warpAffine(mask.astype(np.float32), shift, size[::-1]), dtype=np.float32)
    shadow = tall * _blur(drop, 0.13 * radius)
    cover = _blur(mask.astype(np.float32), 0.6)
    return _Polyp(mask, cover, height, shadow.astype(np.float32))


def _lobe(rng: np.random.Generator, x: Map, y: Map, radius: float) -> Map:
    """Distance from a lobe's middle over its outline's radius there, which wavers by some 8 %."""
    theta = np.arctan2(y, x)
    turn, squeeze = rng.uniform(0, np.pi), rng.uniform(0.7, 1.0)
    u = (x * np.cos(turn) + y * np.sin(turn)) * np.sqrt(squeeze)
    v = (y * np.cos(turn) - x * np.sin(turn)) / np.sqrt(squeeze)
    turns = np.linspace(-np.pi, np.pi, 4097, dtype=np.float32)
    waves = [rng.normal(0, 0.11 / k) * np.cos(k * turns + rng.uniform(0, 2 * np.pi)) for k in range(2, 7)]
    # Looked up from a circle's worth of angles: five cosines of every pixel were a tenth of a frame's time.
    waver = np.add.reduce(waves)[((theta + np.float32(np.pi)) * np.float32(2048 / np.pi)).astype(np.int32)]
    return np.asarray(cv2.magnitude(u, v) / (radius * (1 + waver)), dtype=np.float32)


def _place(rng: np.random.Generator, visible: Flags, light: Map, radius: float) -> tuple[int, int]:
    """Row and column for a polyp's middle: lit wall, most of the polyp in view."""
    padded = np.pad(visible.astype(np.uint8), 1)
    room = cv2.distanceTransform(padded, cv2.DIST_L2, 3)[1:-1, 1:-1]
    lit = light >= 0.8 * light[visible].mean()
    fits = np.flatnonzero((room >= min(0.8 * radius, 0.9 * float(room.max()))) & lit)
    at = int(rng.choice(fits)) if fits.size else int(room.argmax())
    return at // visible.shape[1], at % visible.shape[1]


def _with_polyp(rng: np.random.Generator, albedo: Map, light: Map, relief: Map, polyp: _Polyp) -> tuple[Map, Map, Map]:
    """Albedo, light and relief of the wall with the polyp on it."""
    return _polyp_albedo(rng, albedo, polyp), _polyp_light(light, polyp), relief + polyp.height


def _polyp_albedo(rng: np.random.Generator, albedo: Map, polyp: _Polyp) -> Map:
    """The wall's tone with a tint, without its vessels, with a pit pattern."""
    size = (albedo.shape[0], albedo.shape[1])
    tint = _TINTS[rng.integers(len(_TINTS))] * rng.uniform(0.95, 1.05, 3)
    own = (albedo[polyp.mask].mean(0) * tint).astype(np.float32)
    pits = _noise(rng, size, int(rng.integers(35, 60)))
    blotches = _noise(rng, size, 12)
    spots = rng.uniform(0.02, 0.11) * pits + 0.05 * blotches
    textured = own * (1 + spots[..., None] * np.array([0.5, 1.0, 1.0], np.float32))
    return _mix(albedo, textured, polyp.cover[..., None])


def _polyp_light(light: Map, polyp: _Polyp) -> Map:
    """A polyp stands nearer to the camera than the wall: it is lit evenly, and takes light from the wall behind it."""
    lit = light[polyp.mask]
    even = 0.35 * lit.mean() + 0.65 * _blur(light, 0.3 * float(np.sqrt(polyp.mask.sum() / np.pi)))
    return _mix(light * (1 - 0.75 * polyp.shadow), 1.12 * even, polyp.cover)


def _shade(rng: np.random.Generator, albedo: Map, light: Map, relief: Map) -> tuple[Map, Map]:
    """Lambertian shading by the relief's slopes, and a tone curve.

    Returns: linear RGB (H, W, 3), and how straight the surface sends light back (H, W).
    """
    slope_x = cv2.Sobel(relief, cv2.CV_32F, 1, 0, ksize=3, scale=1 / 8)
    slope_y = cv2.Sobel(relief, cv2.CV_32F, 0, 1, ksize=3, scale=1 / 8)
    lx, ly = rng.uniform(-0.45, 0.1), rng.uniform(-0.6, -0.25)
    norm = np.sqrt(1 + slope_x * slope_x + slope_y * slope_y)
    facing = np.clip((1 - slope_x * lx - slope_y * ly) / (norm * np.sqrt(1 + lx * lx + ly * ly)), 0, None)
    # Tissue is translucent: light that enters one side of a bump leaves on the other, so no side is black.
    lit = light * (0.36 + 0.72 * facing * facing)
    # Light that comes back out of the depth has been reflected by red walls: blue and green fade first.
    colour = albedo * lit[..., None] ** np.array([0.9, 1.12, 1.2], np.float32)
    glare = _ramp(lit, 0.95, 1.3)[..., None]
    colour = colour + glare * 0.35 * np.array([1.0, 0.9, 0.75], np.float32)
    return colour, facing**4 * np.minimum(lit, 1.1)


def _wet(rng: np.random.Generator, colour: Map, gleam: Map) -> Map:
    """Linear RGB with a wet film: fine ripples on the relief send the light straight back in scattered small spots."""
    size = (gleam.shape[0], gleam.shape[1])
    short = min(size)
    ripple = _noise(rng, size, 30) + 0.8 * _noise(rng, size, 64)
    wet = _ramp(_noise(rng, size, 4), rng.uniform(-0.6, 0.6), 1.6)
    film = gleam * (0.6 + 0.4 * wet) + 0.2 * ripple * (0.35 + wet)
    threshold = rng.uniform(0.9, 1.15)
    spots = _blur(_ramp(film, threshold, threshold + 0.12), 0.002 * short)[..., None]
    return np.asarray(colour * (1 - spots) + 1.05 * spots, dtype=np.float32)


def _camera(rng: np.random.Generator, image: Map, visible: Flags) -> NDArray[np.uint8]:
    """uint8 RGB: lens blur, sharpening as processors do it, display gamma, sensor noise, the border."""
    short = min(visible.shape)
    soft = _blur(image, rng.uniform(0.0015, 0.004) * short)
    crisp = soft + rng.uniform(0.2, 0.9) * (soft - _blur(soft, 0.006 * short))
    shown = np.clip(crisp, 0, 1) ** np.float32(1 / 1.12)
    grain = rng.standard_normal((*visible.shape, 1), dtype=np.float32) * rng.uniform(0.003, 0.012)
    edge = _blur(visible.astype(np.float32), 0.002 * short)[..., None]
    black = rng.uniform(0, 0.05)
    out = (shown + grain) * edge + black * (1 - edge)
    return np.asarray(np.round(np.clip(out, 0, 1) * 255), dtype=np.uint8)
