"""Masks and overlays of image files. Reads and writes disk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lawder_edge.bundle.processing import to_mask
from lawder_edge.bundle.runner import Runner
from lawder_edge.data.images import read_image
from lawder_edge.data.layouts import IMAGE_SUFFIXES
from lawder_edge.errors import BadInput, OutputExists
from lawder_edge.evaluation.overlay import draw_overlay
from lawder_edge.files import write_png


@dataclass(frozen=True)
class PredictedFile:
    """What was written for one image. area_fraction: share of the frame that is foreground, in [0, 1]."""

    mask: Path
    overlay: Path | None
    area_fraction: float


def find_images(source: Path) -> list[Path]:
    """The file itself, or the images of a folder by name. Raises BadInput when there are none."""
    if source.is_file():
        return [source]
    if not source.is_dir():
        raise BadInput(f"{source}: no such file or folder. Give an image or a folder of images.")
    found = sorted(p for p in source.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES and not p.name.startswith("."))
    if not found:
        raise BadInput(f"{source}: no images in this folder (looked for {', '.join(sorted(IMAGE_SUFFIXES))}).")
    return found


def check_outputs(images: Sequence[Path], *, out: Path, overlay: bool = True, overwrite: bool = False) -> None:
    """Raises OutputExists where a file that `predict_file` would write stands already, BadInput where two images would
    be written to one file.
    """
    first: dict[str, Path] = {}
    for image in images:
        other = first.setdefault(image.stem, image)
        if other != image:
            raise BadInput(f"{other} and {image} would both be written to {image.stem}_mask.png. Rename one of them.")
        for path in _outputs(image, out, overlay=overlay):
            if path.exists() and not overwrite:
                raise OutputExists(f"{path} exists. Add --overwrite, or choose another --out.")


def predict_file(runner: Runner, image: Path, *, out: Path, threshold: float, overlay: bool = True) -> PredictedFile:
    """Write `out`/STEM_mask.png (size of the image) and STEM_overlay.png, over what stands there.

    The mask is 0 or 255 where the network knows one class, and the index of the class where it knows several.
    threshold: says nothing where the network gives masks, or knows several classes. Raises BadImage for a file that
    cannot be read.
    """
    paths = _outputs(image, out, overlay=overlay)
    frame = read_image(image)
    output = runner.infer(runner.prepare(frame))
    size = (frame.shape[0], frame.shape[1])
    if runner.kind != "mask" and runner.classes == 1:
        labels = to_mask(runner.finish(output, size), threshold).astype(np.uint8)
    else:
        labels = runner.finish_labels(output, size)
    mask = labels * np.uint8(255) if runner.classes == 1 else labels
    out.mkdir(parents=True, exist_ok=True)
    write_png(paths[0], mask)
    if overlay:
        write_png(paths[1], draw_overlay(frame, labels))
    return PredictedFile(paths[0], paths[1] if overlay else None, float((mask > 0).mean()))


def _outputs(image: Path, out: Path, *, overlay: bool) -> list[Path]:
    return [out / f"{image.stem}_{kind}.png" for kind in ("mask", *["overlay"] * overlay)]
