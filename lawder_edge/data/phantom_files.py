"""Phantom frames as a dataset folder on disk: images/ and masks/, the layout that every reader here takes."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import numpy as np

from lawder_edge.data.phantom import make_frame
from lawder_edge.errors import BadInput, OutputExists
from lawder_edge.files import write_png


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

    Raises BadInput for `n` below 1 and as `make_frame` does; OutputExists where `out` stands and `overwrite` is false,
    or something else than phantom frames stands in it.
    """
    if n < 1:
        raise BadInput(f"a phantom dataset of {n} frames was asked for; it needs at least one")
    if out.exists() and not overwrite:
        raise OutputExists(f"{out} exists; name another folder, or pass --overwrite to replace it")
    if out.exists() and not all(p.is_dir() or p.name.startswith("phantom_") for p in (out, *out.rglob("*"))):
        raise OutputExists(f"{out} holds more than phantom frames, so it is not replaced; name another folder")
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    aside = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    try:
        partial.chmod(0o755)  # mkdtemp's 0700 would outlive the rename
        for folder in ("images", "masks"):
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
