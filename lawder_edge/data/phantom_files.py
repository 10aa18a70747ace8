"""Phantom frames as a dataset folder on disk: images/ and masks/, the layout that every reader here takes."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from pathlib import Path

import numpy as np

from lawder_edge.data.phantom import make_frame
from lawder_edge.errors import BadInput, OutputExists
from lawder_edge.files import write_png

_FOLDERS = ("images", "masks")
_FRAME = re.compile(r"phantom_\d+_\d{4,}\.png")


def write_phantom_dataset(
    out: Path,
    *,
    n: int,
    size: tuple[int, int] = (256, 256),
    seed: int = 0,
    polyp: bool = True,
    overwrite: bool = False,
) -> Path:
    """Write `n` frames of `size` (H, W) as out/images/phantom_0_0000.png and out/masks/phantom_0_0000.png (0 or 255).

    The first number is the seed, so that an evaluation does not take frames of two seeds for the same.
    Without `polyp` they are the same scenes with nothing to find, and every mask is empty.
    Frame i depends on `seed`, `polyp` and i alone; frames are drawn one at a time, so memory does not grow with `n`.
    The folder appears under its name only when it is complete: a failure leaves none, or the old one. Returns `out`.

    Raises BadInput for `n` below 1, `seed` below 0 and as `make_frame` does; OutputExists where `out` stands and
    `overwrite` is false, or something that this function does not write stands in it.
    """
    if n < 1:
        raise BadInput(f"a phantom dataset of {n} frames was asked for; it needs at least one")
    if seed < 0:
        raise BadInput(f"seed of a phantom dataset: got {seed}; wanted 0 or above")
    if out.exists() and not overwrite:
        raise OutputExists(f"{out} exists; name another folder, or pass --overwrite to replace it")
    if out.exists() and (foreign := _foreign(out)) is not None:
        raise OutputExists(f"{foreign} is no phantom frame, so {out} is not replaced; name another folder")
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    aside = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    try:
        partial.chmod(0o755)  # mkdtemp's 0700 would outlive the rename
        for folder in _FOLDERS:
            (partial / folder).mkdir()
        for i in range(n):
            frame = make_frame(np.random.default_rng([seed, i]), size=size, polyp=polyp)
            name = f"phantom_{seed}_{i:04d}.png"
            write_png(partial / "images" / name, frame.image)
            write_png(partial / "masks" / name, frame.mask * np.uint8(255))
        if out.exists():
            os.replace(out, aside / "old")
        os.replace(partial, out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        shutil.rmtree(aside, ignore_errors=True)
    return out


def _foreign(out: Path) -> Path | None:
    """Something at or below `out` that `write_phantom_dataset` does not write; None where there is nothing."""
    if not out.is_dir():
        return out
    for entry in sorted(out.iterdir()):
        if entry.name not in _FOLDERS or not entry.is_dir():
            return entry
        for file in sorted(entry.iterdir()):
            if _FRAME.fullmatch(file.name) is None or not file.is_file():
                return file
    return None
