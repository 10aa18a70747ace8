"""`lawder-edge data check` and `lawder-edge data phantom`"""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import Annotated, Literal

import tyro


def check(
    folder: Annotated[Path, tyro.conf.Positional],
    split: tuple[Path, ...] = (),
    classes: int = 1,
    near_duplicates: bool = True,
    format: Literal["table", "json"] = "table",
) -> int:
    """Tell what is wrong with a folder of images and masks before training does.

    Example: lawder-edge data check polyps --split train.txt test.txt

    Exit code 2 if anything would stop a training.

    Args:
        folder: dataset folder (images/ + masks/, or another known layout), or a folder of such folders.
        split: split files to check against the folder and for leaks between each other.
        classes: 1 for foreground or not; more for masks that hold class indices.
        near_duplicates: look for images that are almost the same.
        format: of the report.
    """
    from lawder_edge.cli.progress import progress
    from lawder_edge.data.check import check_folder

    with progress("reading") as report:
        found = check_folder(
            folder, num_classes=classes, splits=split, near_duplicates=near_duplicates, progress=report
        )
    if format == "json":
        print(json.dumps(dataclasses.asdict(found), default=str, indent=1))
    else:
        for dataset in found.datasets:
            sizes = ", ".join(f"{w}x{h}: {n}" for (h, w), n in dataset.sizes[:4])
            groups = f", {dataset.groups} sequences or patients" if dataset.groups else ""
            print(f"{dataset.name}: {dataset.images} images, {dataset.pairs} pairs{groups} (WxH {sizes})")
        for finding in found.findings:
            where = f"{finding.dataset}: " if finding.dataset else ""
            print(f"{finding.severity}: {where}{finding.message}")
        print(f"{found.severity}: {folder}")
    return 2 if found.severity == "error" else 0


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
