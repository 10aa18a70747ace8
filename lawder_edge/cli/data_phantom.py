"""`lawder-edge data phantom`"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import tyro


def phantom(
    out: Path,
    n: Annotated[int, tyro.conf.arg(aliases=["-n"])] = 32,
    size: tuple[int, int] = (256, 256),
    seed: int = 0,
    polyp: bool = True,
    overwrite: bool = False,
) -> int:
    """Write procedural endoscopy frames with exact masks, to try everything without real data.

    Example: lawder-edge data phantom --out phantom -n 64

    Args:
        out: dataset folder to make: images/ and masks/.
        n: number of frames.
        size: height and width in pixels.
        seed: the same seed gives the same files.
        polyp: --no-polyp leaves it out of the same scenes: empty masks, to see what a model finds where nothing is.
        overwrite: replace an earlier phantom folder.
    """
    from lawder_edge.data.phantom_files import write_phantom_dataset

    write_phantom_dataset(out, n=n, size=size, seed=seed, polyp=polyp, overwrite=overwrite)
    print(f"{out}: {n} frames with {'' if polyp else 'empty '}masks, {size[1]}x{size[0]}")
    print(f"next: lawder-edge eval --model order --data {out}", file=sys.stderr)
    return 0
